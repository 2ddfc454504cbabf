//! Words to concepts: what a description says about region, view, side, posture, contrast, sequence and purpose.
//!
//! The longest term wins and uses its letters up, so that 胸椎 is never also 胸 and "L-SPINE" is never "left".

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a word can be about; one file each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names of the files under procedures/vocabulary")]
pub enum Axis {
    Anatomy,
    View,
    Position,
    Side,
    Contrast,
    Sequence,
    Role,
    Special,
    Population,
}

impl Axis {
    /// By file name.
    pub fn of_file(name: &str) -> Option<Axis> {
        Some(match name {
            "anatomy.toml" => Axis::Anatomy,
            "view.toml" => Axis::View,
            "position.toml" => Axis::Position,
            "side.toml" => Axis::Side,
            "contrast.toml" => Axis::Contrast,
            "sequence.toml" => Axis::Sequence,
            "role.toml" => Axis::Role,
            "special.toml" => Axis::Special,
            "population.toml" => Axis::Population,
            _ => return None,
        })
    }
}

/// A term that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The concepts it means.
    pub means: Vec<String>,
    /// The term, as in the vocabulary.
    pub term: String,
}

/// The content of a vocabulary file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default)]
    concept: Vec<ConceptRow>,
    #[serde(default)]
    term: Vec<TermRow>,
    agent: Option<Agent>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConceptRow {
    id: String,
    listed: bool,
    #[serde(default)]
    within: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TermRow {
    means: Vec<String>,
    #[serde(default)]
    modality: Vec<String>,
    #[serde(default)]
    any: Vec<String>,
    #[serde(default)]
    word: Vec<String>,
    #[serde(default)]
    value: Vec<String>,
    #[serde(default)]
    spine_letter: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Agent {
    none: Vec<String>,
    oral: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Anywhere,
    Word,
    SpineLetter,
}

#[derive(Debug, Clone)]
struct Term {
    letters: Vec<char>,
    place: Place,
    means: Vec<String>,
    modality: Vec<String>,
}

/// What a coded value means, and for which modalities alone.
type Coded = (Vec<String>, Vec<String>);

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// By axis, then by first letter; longest first.
    terms: BTreeMap<Axis, BTreeMap<char, Vec<Term>>>,
    /// Coded values by axis.
    values: BTreeMap<(Axis, String), Vec<Coded>>,
    known: BTreeSet<(Axis, String)>,
    listed: BTreeSet<String>,
    within: BTreeMap<String, BTreeSet<String>>,
    agent: Agent,
}

/// What Contrast/Bolus Agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentValue {
    /// Nothing is said.
    Silent,
    /// It says that none was given, or only by mouth.
    None,
    /// An intravascular agent.
    Given,
}

impl Vocabulary {
    /// Whether a concept is known on an axis.
    pub fn knows(&self, axis: Axis, concept: &str) -> bool {
        self.known.contains(&(axis, concept.to_string()))
    }

    /// Whether a body region carries items at all.
    pub fn is_listed(&self, concept: &str) -> bool {
        self.listed.contains(concept)
    }

    /// Whether `inner` lies within `outer`.
    pub fn lies_within(&self, inner: &str, outer: &str) -> bool {
        self.within.get(inner).is_some_and(|w| w.contains(outer))
    }

    /// The terms of an axis in a text, left to right. `modality` lets terms apply that are meant for it alone.
    pub fn scan(&self, axis: Axis, text: &str, modality: &str) -> Vec<Hit> {
        self.scan_with(axis, text, modality, false)
    }

    /// As [`Vocabulary::scan`], with single letters for parts of the spine ("C", "T", "L").
    pub fn scan_spine(&self, text: &str, modality: &str) -> Vec<Hit> {
        self.scan_with(Axis::Anatomy, text, modality, true)
    }

    fn scan_with(&self, axis: Axis, text: &str, modality: &str, spine: bool) -> Vec<Hit> {
        let letters = fold(text);
        let Some(by_first) = self.terms.get(&axis) else { return Vec::new() };
        let mut hits = Vec::new();
        let mut at = 0;
        while let Some(first) = letters.get(at) {
            let found = by_first.get(first).into_iter().flatten().find(|term| {
                (term.place != Place::SpineLetter || spine)
                    && (term.modality.is_empty() || term.modality.iter().any(|m| m == modality))
                    && letters.get(at..).is_some_and(|rest| rest.starts_with(&term.letters))
                    && (term.place == Place::Anywhere || stands_alone(&letters, at, term.letters.len()))
            });
            match found {
                Some(term) => {
                    hits.push(Hit { means: term.means.clone(), term: term.letters.iter().collect() });
                    at += term.letters.len();
                }
                None => at += 1,
            }
        }
        hits
    }

    /// The concepts of a coded value such as Body Part Examined or View Position.
    pub fn value(&self, axis: Axis, value: &str, modality: &str) -> Vec<String> {
        let key: String = fold(value).into_iter().collect();
        let rows = self.values.get(&(axis, key)).map(Vec::as_slice).unwrap_or_default();
        let special = rows.iter().find(|(_, m)| m.iter().any(|m| m == modality));
        let found = special.or_else(|| rows.iter().find(|(_, m)| m.is_empty()));
        match found {
            Some((means, _)) => means.clone(),
            None => self.scan(axis, value, modality).into_iter().flat_map(|hit| hit.means).collect(),
        }
    }

    /// What a value of Contrast/Bolus Agent means.
    pub fn agent(&self, value: &str) -> AgentValue {
        let value: String = fold(value.trim()).into_iter().collect();
        if value.is_empty() {
            return AgentValue::Silent;
        }
        let same = |t: &String| fold(t).into_iter().collect::<String>() == value;
        let holds = |t: &String| value.contains(&fold(t).into_iter().collect::<String>());
        if self.agent.none.iter().any(same) || (self.agent.oral.iter().any(holds) && !value.contains("iv")) {
            return AgentValue::None;
        }
        AgentValue::Given
    }
}

/// Lower case, full-width forms made narrow, underscores and carets as blanks, so that one spelling of a term is enough.
pub fn fold(text: &str) -> Vec<char> {
    text.chars()
        .map(|c| match c {
            '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
            '\u{3000}' | '_' | '^' => ' ',
            c => c,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// Latin letters and digits run on; Chinese ones do not.
fn runs_on(c: char) -> bool {
    c.is_alphanumeric() && !('\u{2E80}'..='\u{9FFF}').contains(&c)
}

fn stands_alone(letters: &[char], at: usize, length: usize) -> bool {
    let before = at.checked_sub(1).and_then(|i| letters.get(i)).copied();
    let after = letters.get(at + length).copied();
    let first = letters.get(at).copied();
    let last = letters.get(at + length - 1).copied();
    let joins = |a: Option<char>, b: Option<char>| matches!((a, b), (Some(a), Some(b)) if runs_on(a) && runs_on(b));
    !joins(before, first) && !joins(last, after)
}

/// Collects the files.
#[derive(Default)]
pub struct VocabularyBuilder(Vocabulary);

impl VocabularyBuilder {
    /// Adds a file.
    ///
    /// # Errors
    /// A region is used that has no `[[concept]]`.
    pub fn add(&mut self, axis: Axis, file: File) -> Result<(), String> {
        for concept in file.concept {
            self.0.known.insert((axis, concept.id.clone()));
            if concept.listed {
                self.0.listed.insert(concept.id.clone());
            }
            self.0.within.insert(concept.id, concept.within.into_iter().collect());
        }
        if let Some(agent) = file.agent {
            self.0.agent = agent;
        }
        for row in file.term {
            for concept in &row.means {
                let key = (axis, concept.clone());
                if axis == Axis::Anatomy && !self.0.known.contains(&key) {
                    return Err(format!("`{concept}` is used by a term and is no [[concept]]"));
                }
                self.0.known.insert(key);
            }
            self.add_row(axis, row);
        }
        Ok(())
    }

    fn add_row(&mut self, axis: Axis, row: TermRow) {
        for (list, place) in [(&row.any, Place::Anywhere), (&row.word, Place::Word), (&row.spine_letter, Place::SpineLetter)] {
            for text in list {
                let letters = fold(text);
                let Some(first) = letters.first().copied() else { continue };
                let term = Term { letters, place: place.clone(), means: row.means.clone(), modality: row.modality.clone() };
                self.0.terms.entry(axis).or_default().entry(first).or_default().push(term);
            }
        }
        for text in &row.value {
            let key = (axis, fold(text).into_iter().collect());
            self.0.values.entry(key).or_default().push((row.means.clone(), row.modality.clone()));
        }
    }

    /// The vocabulary: longest terms first, and of equal ones those of a modality first.
    pub fn build(mut self) -> Vocabulary {
        for terms in self.0.terms.values_mut().flat_map(BTreeMap::values_mut) {
            terms.sort_by_key(|t| (std::cmp::Reverse(t.letters.len()), t.modality.is_empty()));
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procedure::{embedded::FILES, load};

    fn regions(text: &str, modality: &str) -> Vec<String> {
        let words = load(FILES).map_err(|e| format!("{e:?}")).unwrap().vocabulary;
        words.scan(Axis::Anatomy, text, modality).into_iter().flat_map(|h| h.means).collect()
    }

    #[test]
    fn a_longer_word_hides_the_shorter_one_inside_it() {
        assert_eq!(regions("胸椎正侧位", "DX"), ["thoracic-spine"]);
        assert_eq!(regions("L-SPINE AP", "DX"), ["lumbar-spine"]);
        assert_eq!(regions("胸部正位、左膝关节正侧位", "DX"), ["chest", "knee"]);
        assert_eq!(regions("handgelenk", "DX"), ["wrist"]);
        assert_eq!(regions("鼻咽部", "CT"), ["nasopharynx"]);
    }

    #[test]
    fn abdomen_means_the_upper_abdomen_in_ct_only() {
        assert_eq!(regions("腹部CT", "CT"), ["upper-abdomen"]);
        assert_eq!(regions("腹部平片", "DX"), ["abdomen"]);
    }

    #[test]
    fn oral_agents_and_null_words_are_no_contrast() {
        let words = load(FILES).map_err(|e| format!("{e:?}")).unwrap().vocabulary;
        for none in ["NONE", "无", "Oral", "water"] {
            assert_eq!(words.agent(none), AgentValue::None, "{none}");
        }
        assert_eq!(words.agent("碘海醇"), AgentValue::Given);
        assert_eq!(words.agent(" "), AgentValue::Silent);
    }
}
