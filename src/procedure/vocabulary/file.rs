//! The shape of the files under `procedures/vocabulary`.

use serde::Deserialize;
use std::collections::BTreeMap;

/// A file of words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default)]
    pub(super) concept: Vec<ConceptRow>,
    #[serde(default)]
    pub(super) term: Vec<TermRow>,
    pub(super) agent: Option<Agent>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConceptRow {
    pub id: String,
    pub listed: bool,
    #[serde(default)]
    pub within: Vec<String>,
    #[serde(default)]
    pub yields_to: Vec<String>,
    #[serde(default)]
    pub partial: bool,
    #[serde(default)]
    pub umbrella: bool,
    #[serde(default)]
    pub special_in: Vec<String>,
    #[serde(default)]
    pub overlaps: Vec<String>,
    #[serde(default)]
    pub whole_order: bool,
    #[serde(default)]
    pub aside_in_brackets: bool,
}

/// Words and codes of the same meaning.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TermRow {
    pub means: Vec<String>,
    #[serde(default)]
    pub modality: Vec<String>,
    #[serde(default)]
    pub any: Vec<String>,
    #[serde(default)]
    pub word: Vec<String>,
    #[serde(default)]
    pub value: Vec<String>,
    #[serde(default)]
    pub code: Vec<String>,
    #[serde(default)]
    pub spine_letter: Vec<String>,
}

/// Values of Contrast/Bolus Agent and Route.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub none: Vec<String>,
    pub oral: Vec<String>,
    pub vessel: Vec<String>,
    pub other_route: Vec<String>,
}

/// `spelling.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpellingFile {
    pub(super) alike: Vec<String>,
    pub(super) glue: Vec<String>,
    pub(super) side_letters: String,
    pub(super) anatomical: String,
}

/// `names.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamesFile {
    pub(super) names: BTreeMap<String, String>,
}
