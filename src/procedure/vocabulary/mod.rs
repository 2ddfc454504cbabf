//! Words to concepts: what a description says about region, view, side, posture, contrast, sequence and purpose.
//!
//! From left to right, the longest term that begins at a letter wins and uses its letters up, so that 胸椎 is never also 胸 and "L-SPINE" is never "left". What no term
//! accounts for is reported, never skipped: a word that nobody knows may be the one that matters.

pub mod file;
pub mod fold;
pub mod words;

use file::{Agent, TermRow};
use fold::{Folded, Spelling};
use std::collections::{BTreeMap, BTreeSet};

pub use words::{Hit, Words};

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
    /// Between two examinations of one order.
    Separator,
    /// Says nothing about which examination it is.
    Silent,
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
            "separator.toml" => Axis::Separator,
            "silent.toml" => Axis::Silent,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    Word,
    SpineLetter,
}

#[derive(Debug, Clone)]
struct Term {
    axis: Axis,
    letters: Vec<char>,
    place: Place,
    means: Vec<String>,
    modality: Vec<String>,
}

/// What a coded value means, and for which modalities alone.
type Coded = (Vec<String>, Vec<String>);

/// What the vocabulary says of a concept, besides its words.
#[derive(Debug, Clone, Default)]
struct Nature {
    listed: bool,
    within: BTreeSet<String>,
    yields_to: BTreeSet<String>,
    partial: bool,
    umbrella: bool,
    special_in: BTreeSet<String>,
    overlaps: BTreeSet<String>,
    whole_order: bool,
    aside_in_brackets: bool,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// By first letter; longest first.
    terms: BTreeMap<char, Vec<Term>>,
    /// Coded values by axis.
    values: BTreeMap<(Axis, String), Vec<Coded>>,
    /// By `code_name`.
    codes: BTreeMap<String, Vec<(Axis, String)>>,
    known: BTreeSet<(Axis, String)>,
    concepts: BTreeMap<String, Nature>,
    agent: Agent,
    spelling: Spelling,
    /// Characters that name a part of the body, a vessel, an organ.
    anatomical: BTreeSet<char>,
    names: BTreeMap<String, String>,
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

    /// Whether a concept carries items at all (a region), or is a standard projection (a view).
    pub fn is_listed(&self, concept: &str) -> bool {
        self.concepts.get(concept).is_some_and(|c| c.listed)
    }

    /// Whether a concept is only a part of a listed one, so that a person must decide.
    pub fn is_partial(&self, concept: &str) -> bool {
        self.concepts.get(concept).is_some_and(|c| c.partial)
    }

    /// Whether a concept names no region by itself (脊柱, 四肢).
    pub fn is_umbrella(&self, concept: &str) -> bool {
        self.concepts.get(concept).is_some_and(|c| c.umbrella)
    }

    /// Whether a special word is one in this region: flexion is of the spine, but a bent knee is a usual one.
    pub fn is_special_in(&self, special: &str, region: &str) -> bool {
        let limits = self.concepts.get(special).map(|c| &c.special_in);
        limits.is_none_or(|l| l.is_empty() || l.contains(region) || l.iter().any(|outer| self.lies_within(region, outer)))
    }

    /// Whether a word is about everything that an order names, in whatever clause it stands: 体模, 外院, DXA.
    pub fn is_of_the_whole_order(&self, concept: &str) -> bool {
        self.concepts.get(concept).is_some_and(|c| c.whole_order)
    }

    /// Whether a region in brackets behind another one says what is looked for, not what is imaged: 盆腔平扫(直肠).
    fn is_aside_in_brackets(&self, concept: &str) -> bool {
        self.concepts.get(concept).is_some_and(|c| c.aside_in_brackets)
    }

    /// Whether a region lies over another one that is covered anyway (下腹 over 盆腔, N-17).
    pub fn overlaps(&self, region: &str, other: &str) -> bool {
        self.concepts.get(region).is_some_and(|c| c.overlaps.contains(other))
    }

    /// Whether a text says a concept but for one character that is misspelt: a coded value that names the same may be believed.
    pub fn almost_says(&self, words: &Words, concept: &str) -> bool {
        let terms = self.terms.values().flatten().filter(|t| t.axis == Axis::Anatomy && t.letters.len() > 1);
        let mut own = terms.filter(|t| t.means == [concept] && t.letters.iter().all(|c| fold::is_han(*c)));
        own.any(|term| words.holds_misspelt(&term.letters, &self.anatomical))
    }

    /// Whether `inner` lies within `outer`.
    pub fn lies_within(&self, inner: &str, outer: &str) -> bool {
        self.concepts.get(inner).is_some_and(|c| c.within.contains(outer))
    }

    /// Whether an image that is said to show both shows `winner` (骨盆 beats 髋, N-13).
    pub fn yields_to(&self, loser: &str, winner: &str) -> bool {
        self.concepts.get(loser).is_some_and(|c| c.yields_to.contains(winner))
    }

    /// What a text says, axis by axis. `modality` (`DX`, `CT`, `MR` …) lets terms apply that are meant for it alone.
    pub fn read(&self, text: &str, modality: &str) -> Words {
        words::read(self, text, modality)
    }

    /// The concepts of a coded value such as Body Part Examined or View Position; as text, where the value is no defined one.
    pub fn value(&self, axis: Axis, value: &str, modality: &str) -> Vec<String> {
        let key = self.key(value);
        let rows = self.values.get(&(axis, key)).map(Vec::as_slice).unwrap_or_default();
        let special = rows.iter().find(|(_, m)| m.iter().any(|m| m == modality));
        let found = special.or_else(|| rows.iter().find(|(_, m)| m.is_empty()));
        match found {
            Some((means, _)) => means.clone(),
            None => self.read(value, modality).on(axis).flat_map(|hit| hit.means.clone()).collect(),
        }
    }

    /// The Chinese name of a concept; the concept itself where it has none.
    pub fn name<'a>(&'a self, concept: &'a str) -> &'a str {
        self.names.get(concept).map_or(concept, String::as_str)
    }

    /// Concepts that terms mean and that have no Chinese name.
    pub fn nameless(&self) -> Vec<&str> {
        let silent = ["nothing", "negates", "beside-plain", "next", "included", "question", "indication", "history"];
        let all: BTreeSet<&str> = self.known.iter().map(|(_, c)| c.as_str()).collect();
        all.into_iter().filter(|c| !silent.contains(c) && !self.names.contains_key(*c)).collect()
    }

    /// What a code means (PS3.16 context groups, LOINC, RadLex): the concepts, axis by axis.
    pub fn code(&self, scheme: &str, value: &str) -> &[(Axis, String)] {
        self.codes.get(&code_name(scheme, value)).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a value of Contrast/Bolus Agent means.
    pub fn agent(&self, value: &str) -> AgentValue {
        let value = self.key(value);
        if value.is_empty() {
            return AgentValue::Silent;
        }
        let holds = |t: &String| value.contains(t.as_str());
        let intravenous = self.agent.vessel.iter().any(|t| self.read_word(&value, t));
        if self.agent.none.contains(&value) || (self.agent.oral.iter().any(holds) && !intravenous) {
            return AgentValue::None;
        }
        AgentValue::Given
    }

    /// Whether a route of administration (PS3.16 CID 11) is one into a vessel; none when it is not known.
    pub fn route(&self, value: &str) -> Option<bool> {
        let value = self.key(value);
        if self.agent.vessel.iter().any(|t| self.read_word(&value, t)) {
            return Some(true);
        }
        self.agent.other_route.iter().any(|t| value.contains(t.as_str())).then_some(false)
    }

    fn read_word(&self, text: &str, word: &str) -> bool {
        let folded = Folded { letters: text.chars().collect(), borders: vec![false; text.chars().count()] };
        let letters: Vec<char> = word.chars().collect();
        (0..folded.letters.len()).any(|at| {
            let here = folded.letters.get(at..).is_some_and(|rest| rest.starts_with(&letters));
            here && (word.chars().any(fold::is_han) || (folded.border(at, 9) && folded.border(at + letters.len(), 9)))
        })
    }

    /// The folded form of a coded value, as one string.
    fn key(&self, value: &str) -> String {
        let text: String = self.spelling.letters(value).into_iter().collect();
        text.trim().to_string()
    }
}

/// Scheme and value as one word, whichever of its names the scheme goes by: `LN 24648-8`.
pub fn code_name(scheme: &str, value: &str) -> String {
    format!("{} {}", scheme_name(scheme), value.trim().to_uppercase())
}

/// One name for the schemes that have had several (PS3.16 table 8-1).
fn scheme_name(scheme: &str) -> &str {
    match scheme.trim() {
        "SNM3" | "99SDM" | "SNOMED-RT" => "SRT",
        "2.16.840.1.113883.6.96" => "SCT",
        "LOINC" | "2.16.840.1.113883.6.1" => "LN",
        "RADLEX" | "RPID" | "2.16.840.1.113883.6.256" => "RADLEX",
        other => other,
    }
}

/// The syllables of a term of two to six Chinese characters; none for others.
fn sound_of(term: &str) -> Option<Vec<&'static str>> {
    use pinyin::ToPinyin;
    let syllables: Vec<&'static str> = term.to_pinyin().flatten().map(pinyin::Pinyin::plain).collect();
    (syllables.len() == term.chars().count() && (2..=6).contains(&syllables.len())).then_some(syllables)
}

/// A term of Latin and Chinese letters as it is typed with a blank between the two ("Y 位"); none for others.
fn spaced(letters: &[char]) -> Option<Vec<char>> {
    let mut found = Vec::new();
    for (i, c) in letters.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| letters.get(i)).copied().unwrap_or(' ');
        let meet = (before.is_ascii_alphanumeric() && fold::is_han(*c)) || (fold::is_han(before) && c.is_ascii_alphanumeric());
        if meet {
            found.push(' ');
        }
        found.push(*c);
    }
    (found.len() > letters.len()).then_some(found)
}

/// Collects the files.
#[derive(Default)]
pub struct VocabularyBuilder {
    words: Vocabulary,
    twice: Vec<String>,
    rows: Vec<(Axis, TermRow)>,
}

impl VocabularyBuilder {
    /// Adds a file of words.
    ///
    /// # Errors
    /// A region or view is used that has no `[[concept]]`, or a code is not `SCHEME VALUE`.
    pub fn add(&mut self, axis: Axis, file: file::File) -> Result<(), String> {
        for concept in file.concept {
            self.words.known.insert((axis, concept.id.clone()));
            let nature = Nature {
                listed: concept.listed,
                within: concept.within.into_iter().collect(),
                yields_to: concept.yields_to.into_iter().collect(),
                partial: concept.partial,
                umbrella: concept.umbrella,
                special_in: concept.special_in.into_iter().collect(),
                overlaps: concept.overlaps.into_iter().collect(),
                whole_order: concept.whole_order,
                aside_in_brackets: concept.aside_in_brackets,
            };
            self.words.concepts.insert(concept.id, nature);
        }
        if let Some(agent) = file.agent {
            self.words.agent = agent;
        }
        for row in file.term {
            for concept in &row.means {
                let key = (axis, concept.clone());
                if axis == Axis::Anatomy && !self.words.known.contains(&key) {
                    return Err(format!("`{concept}` is used by a term and is no [[concept]]"));
                }
                self.words.known.insert(key);
            }
            if let Some(wrong) = row.code.iter().find(|c| c.split_once(' ').is_none()) {
                return Err(format!("`{wrong}` is no code: write scheme, blank, value"));
            }
            self.rows.push((axis, row));
        }
        Ok(())
    }

    /// Adds the file of names.
    pub fn names(&mut self, file: file::NamesFile) {
        self.words.names = file.names;
    }

    /// Adds the file of spellings.
    pub fn spelling(&mut self, file: file::SpellingFile) {
        for pair in &file.alike {
            let mut letters = pair.chars();
            if let (Some(variant), Some(own)) = (letters.next(), letters.next()) {
                self.words.spelling.alike.insert(variant, own);
            }
        }
        self.words.spelling.glue = file.glue.iter().map(|g| g.to_lowercase().chars().collect()).collect();
        self.words.spelling.side_letters = file.side_letters.chars().collect();
        self.words.anatomical = file.anatomical.chars().filter(|c| !c.is_whitespace()).collect();
    }

    /// The vocabulary: longest terms first, and of equal ones those of a modality first. Beside it, terms that stand twice with
    /// different meanings.
    pub fn build(mut self) -> (Vocabulary, Vec<String>) {
        let rows = std::mem::take(&mut self.rows);
        for (axis, row) in &rows {
            self.add_row(*axis, row);
        }
        self.add_pinyin(&rows);
        for terms in self.words.terms.values_mut() {
            terms.sort_by_key(|t| (std::cmp::Reverse(t.letters.len()), t.modality.is_empty()));
        }
        let agent = std::mem::take(&mut self.words.agent);
        let fold = |list: Vec<String>| list.iter().map(|t| self.words.key(t)).collect();
        self.words.agent = Agent {
            none: fold(agent.none),
            oral: fold(agent.oral),
            vessel: fold(agent.vessel),
            other_route: fold(agent.other_route),
        };
        (self.words, self.twice)
    }

    /// Chinese terms as they are typed without an input method: 颅脑 as `lunao` and `lu nao`. Where two terms of an axis sound alike and
    /// mean different things, or a word of the vocabulary is spelt so, the sound counts for neither.
    fn add_pinyin(&mut self, rows: &[(Axis, TermRow)]) {
        let mut sounds: BTreeMap<(Axis, Vec<char>), BTreeSet<Coded>> = BTreeMap::new();
        for (axis, row) in rows {
            for term in row.any.iter().filter_map(|t| sound_of(t)) {
                for glue in ["", " "] {
                    let letters: Vec<char> = term.join(glue).chars().collect();
                    sounds.entry((*axis, letters)).or_default().insert((row.means.clone(), row.modality.clone()));
                }
            }
        }
        for ((axis, letters), meanings) in sounds {
            let apart: BTreeSet<&Vec<String>> = meanings.iter().map(|(means, _)| means).collect();
            let spelt = self.words.spelling.knows(&letters);
            let Some(first) = letters.first().copied().filter(|_| !spelt && letters.len() >= 5) else { continue };
            if apart.len() > 1 && !meanings.iter().all(|(_, modality)| !modality.is_empty()) {
                continue;
            }
            self.words.spelling.learn(&letters, false);
            for (means, modality) in meanings {
                let term = Term { axis, letters: letters.clone(), place: Place::Word, means, modality };
                self.words.terms.entry(first).or_default().push(term);
            }
        }
    }

    fn add_row(&mut self, axis: Axis, row: &TermRow) {
        for (list, place) in [(&row.any, Place::Anywhere), (&row.word, Place::Word), (&row.spine_letter, Place::SpineLetter)] {
            for text in list {
                // Terms are taken as they are written: only texts have their words cut.
                let letters = self.words.spelling.letters(text);
                let spaced = spaced(&letters).filter(|_| place == Place::Anywhere);
                for letters in std::iter::once(letters).chain(spaced) {
                    let Some(first) = letters.first().copied() else { continue };
                    if place == Place::Word {
                        self.words.spelling.learn(&letters, axis == Axis::Anatomy);
                    }
                    let term = Term { axis, letters, place, means: row.means.clone(), modality: row.modality.clone() };
                    let terms = self.words.terms.entry(first).or_default();
                    let same = |t: &&Term| t.axis == axis && t.letters == term.letters && t.modality == term.modality;
                    if let Some(other) = terms.iter().find(same).filter(|t| t.place == place && t.means != term.means) {
                        self.twice.push(format!("`{text}` means both {} and {}", other.means.join("+"), term.means.join("+")));
                    }
                    terms.push(term);
                }
            }
        }
        for text in &row.value {
            let letters = self.words.spelling.letters(text);
            self.words.spelling.learn(&letters, false);
            let key = (axis, letters.into_iter().collect::<String>().trim().to_string());
            self.words.values.entry(key).or_default().push((row.means.clone(), row.modality.clone()));
        }
        for code in &row.code {
            if let Some((scheme, value)) = code.split_once(' ') {
                let key = code_name(scheme, value);
                let meanings = row.means.iter().map(|m| (axis, m.clone()));
                self.words.codes.entry(key).or_default().extend(meanings);
            }
        }
    }
}
