//! How marked copies are written.

use serde::Deserialize;

/// `[mark]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mark {
    /// What marked copies are written in.
    pub transfer_syntax: CopySyntax,
}

/// Transfer syntaxes of marked copies. Samples that one of the compressed ones cannot hold are written without compression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub enum CopySyntax {
    /// 1.2.840.10008.1.2.1, without compression: every viewer reads it at once.
    #[default]
    ExplicitVrLe,
    /// 1.2.840.10008.1.2.4.80.
    JpegLs,
    /// 1.2.840.10008.1.2.4.90.
    #[serde(rename = "jpeg-2000")]
    #[value(name = "jpeg-2000")]
    Jpeg2000,
    /// 1.2.840.10008.1.2.4.201.
    Htj2k,
    /// 1.2.840.10008.1.2.5.
    Rle,
}

impl CopySyntax {
    /// Its UID.
    pub fn uid(self) -> &'static str {
        match self {
            CopySyntax::ExplicitVrLe => "1.2.840.10008.1.2.1",
            CopySyntax::JpegLs => "1.2.840.10008.1.2.4.80",
            CopySyntax::Jpeg2000 => "1.2.840.10008.1.2.4.90",
            CopySyntax::Htj2k => "1.2.840.10008.1.2.4.201",
            CopySyntax::Rle => "1.2.840.10008.1.2.5",
        }
    }
}
