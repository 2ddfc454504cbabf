//! Code sequence items (PS3.3 8.8), as we write them.

use super::dataset::{DataSet, Value};
use super::{Attributes, VR, tags};

/// Scheme of our own codes.
pub const OWN_SCHEME: &str = "99HUTONG";

/// The derivation code of marked copies (互认标识).
pub const MARKED: &str = "HR-MARK";

/// The purpose, in Contributing Equipment, of objects that were carried over to marked copies with other references.
pub const CARRIED: &str = "HR-CARRIED";

/// Manufacturer in Contributing Equipment.
pub const OWN_NAME: &str = "Hutong";

/// What Contributing Equipment of marked copies did.
pub const ADDED: &str = "Added the mutual recognition mark";

/// How Derivation Description of marked copies names the mark.
pub const DESCRIBED: &str = "mutual recognition mark";

/// Whether an object says that it is a marked copy, or was carried over to such, by us or another node. It is said in three places: an archive
/// that compresses anew replaces the derivation code, and what takes names out may take any of them.
pub fn says_marked(attributes: &Attributes) -> bool {
    let ours = |item: &Attributes, value: &str| {
        item.text(tags::CODE_VALUE) == Some(value) && item.text(tags::CODING_SCHEME_DESIGNATOR) == Some(OWN_SCHEME)
    };
    let added = |equipment: &Attributes| {
        equipment.text(tags::MANUFACTURER) == Some(OWN_NAME) && equipment.text(tags::CONTRIBUTION_DESCRIPTION) == Some(ADDED)
    };
    let carried = |equipment: &Attributes| {
        equipment.items(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE).iter().any(|item| ours(item, CARRIED))
    };
    let described = attributes.texts(tags::DERIVATION_DESCRIPTION).concat();
    attributes.items(tags::DERIVATION_CODE_SEQUENCE).iter().any(|item| ours(item, MARKED))
        || attributes.items(tags::CONTRIBUTING_EQUIPMENT_SEQUENCE).iter().any(|e| added(e) || carried(e))
        || [" burned in", " as an overlay"].iter().any(|how| described.contains(&format!("{DESCRIBED}{how}")))
}

/// A code of a scheme with its meaning.
pub fn code(value: &str, scheme: &str, meaning: &str) -> DataSet {
    let mut item = DataSet::default();
    item.put_text(tags::CODE_VALUE, VR::SH, value);
    item.put_text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
    item.put_text(tags::CODE_MEANING, VR::LO, meaning);
    item
}

/// A sequence of one item.
pub fn one(item: DataSet) -> Value {
    Value::Items(vec![item])
}
