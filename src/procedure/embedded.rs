//! The procedures as they are in the source tree, so that the program runs from a single file.

/// Path inside `procedures/` and text of each file.
pub const FILES: &[(&str, &str)] = &[
    ("yubei-2023/region.toml", include_str!("../../procedures/yubei-2023/region.toml")),
    ("yubei-2023/items.toml", include_str!("../../procedures/yubei-2023/items.toml")),
    ("fujian-2021/region.toml", include_str!("../../procedures/fujian-2021/region.toml")),
    ("vocabulary/anatomy.toml", include_str!("../../procedures/vocabulary/anatomy.toml")),
    ("vocabulary/view.toml", include_str!("../../procedures/vocabulary/view.toml")),
    ("vocabulary/position.toml", include_str!("../../procedures/vocabulary/position.toml")),
    ("vocabulary/side.toml", include_str!("../../procedures/vocabulary/side.toml")),
    ("vocabulary/contrast.toml", include_str!("../../procedures/vocabulary/contrast.toml")),
    ("vocabulary/sequence.toml", include_str!("../../procedures/vocabulary/sequence.toml")),
    ("vocabulary/role.toml", include_str!("../../procedures/vocabulary/role.toml")),
    ("vocabulary/special.toml", include_str!("../../procedures/vocabulary/special.toml")),
    ("vocabulary/population.toml", include_str!("../../procedures/vocabulary/population.toml")),
    ("vocabulary/names.toml", include_str!("../../procedures/vocabulary/names.toml")),
    ("vocabulary/separator.toml", include_str!("../../procedures/vocabulary/separator.toml")),
    ("vocabulary/silent.toml", include_str!("../../procedures/vocabulary/silent.toml")),
    ("vocabulary/spelling.toml", include_str!("../../procedures/vocabulary/spelling.toml")),
    ("protocols.toml", include_str!("../../procedures/protocols.toml")),
    ("quality.toml", include_str!("../../procedures/quality.toml")),
];
