//! What the words of a study and its series say, axis by axis.

use super::Evidence;
use crate::dicom::charset::repair_mojibake;
use crate::exam::facts::{SeriesFacts, StudyFacts};
use crate::procedure::vocabulary::AgentValue;
use crate::procedure::{Axis, Side, Vocabulary};
use std::collections::BTreeSet;

/// Concepts and where they were read.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The concepts.
    pub concepts: BTreeSet<String>,
    /// Where from.
    pub evidence: Vec<Evidence>,
}

impl Said {
    /// Whether a concept was said.
    pub fn has(&self, concept: &str) -> bool {
        self.concepts.contains(concept)
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.concepts.is_empty()
    }

    /// Adds what a text says.
    pub fn text(mut self, words: &Vocabulary, axis: Axis, from: &str, text: &str, modality: &str) -> Said {
        let repaired = repair_mojibake(text);
        for hit in words.scan(axis, repaired.as_deref().unwrap_or(text), modality) {
            self.add(from, &hit.term, hit.means);
        }
        self
    }

    /// Adds what a coded value says.
    pub fn value(mut self, words: &Vocabulary, axis: Axis, from: &str, value: &str, modality: &str) -> Said {
        if !value.is_empty() {
            self.add(from, value, words.value(axis, value, modality));
        }
        self
    }

    fn add(&mut self, from: &str, text: &str, means: Vec<String>) {
        if !means.is_empty() {
            self.evidence.push(Evidence { from: from.into(), text: text.into(), means: means.join("+") });
            self.concepts.extend(means);
        }
    }

    /// This, or the other when this is empty.
    #[must_use]
    pub fn or(self, other: impl FnOnce() -> Said) -> Said {
        if self.is_empty() { other() } else { self }
    }

    /// Leaves general regions out where a specific one within them was said.
    #[must_use]
    pub fn most_specific(mut self, words: &Vocabulary) -> Said {
        let all = self.concepts.clone();
        self.concepts.retain(|outer| !all.iter().any(|inner| words.lies_within(inner, outer)));
        self
    }
}

/// What the study's own text says on an axis.
pub fn of_study(words: &Vocabulary, axis: Axis, study: &StudyFacts, modality: &str) -> Said {
    Said::default().text(words, axis, "Study Description", &study.text, modality)
}

/// What a series' own text says on an axis: its description, else its protocol.
pub fn of_series(words: &Vocabulary, axis: Axis, series: &SeriesFacts) -> Said {
    let modality = &series.modality;
    Said::default()
        .text(words, axis, "Series Description", &series.description, modality)
        .or(|| Said::default().text(words, axis, "Protocol Name", &series.protocol, modality))
}

/// The body region of a series, with `extra` text of one of its images; and whether series and study contradict each other.
pub fn region_of(words: &Vocabulary, study: &StudyFacts, series: &SeriesFacts, extra: &str) -> (Said, bool) {
    let modality = if series.modality == "DR" { "DX" } else { &series.modality };
    let whole = of_study(words, Axis::Anatomy, study, modality).most_specific(words);
    let own = Said::default()
        .text(words, Axis::Anatomy, "Anatomic Region Sequence", extra, modality)
        .text(words, Axis::Anatomy, "Series Description", &series.description, modality)
        .or(|| Said::default().text(words, Axis::Anatomy, "Protocol Name", &series.protocol, modality))
        .most_specific(words);
    let own = if own.is_empty() && whole.concepts.len() > 1 { spine_letter(words, &whole, series) } else { own };
    let body_part = || Said::default().value(words, Axis::Anatomy, "Body Part Examined", &series.body_part, modality);
    if own.is_empty() {
        let said = whole.or(body_part).most_specific(words);
        return (said, false);
    }
    if whole.is_empty() {
        return (own, false);
    }
    let related = |a: &String, b: &String| a == b || words.lies_within(a, b) || words.lies_within(b, a);
    let meets = own.concepts.iter().any(|a| whole.concepts.iter().any(|b| related(a, b)));
    // A general word in the series takes the specific meaning of the study: "Head" in a sinus study.
    let mut joined = own.clone();
    let narrower: Vec<String> = whole
        .concepts
        .iter()
        .filter(|inner| own.concepts.iter().any(|outer| words.lies_within(inner, outer)))
        .cloned()
        .collect();
    if !narrower.is_empty() {
        joined.concepts.extend(narrower);
        joined.evidence.extend(whole.evidence.clone());
        joined = joined.most_specific(words);
    }
    (joined, !meets)
}

/// "C", "T" and "L" name a part of the spine when the study names several.
fn spine_letter(words: &Vocabulary, whole: &Said, series: &SeriesFacts) -> Said {
    let mut said = Said::default();
    for hit in words.scan_spine(&series.description, &series.modality) {
        let meant: Vec<String> = hit.means.into_iter().filter(|m| whole.has(m)).collect();
        said.add("Series Description", &hit.term, meant);
    }
    // One letter only: "T2 SAG C" holds no other that stands alone.
    if said.concepts.len() == 1 { said } else { Said::default() }
}

/// Sides that header and words give, or that they contradict each other.
pub fn side_of(
    words: &Vocabulary,
    study: &StudyFacts,
    series: &SeriesFacts,
    image_laterality: &str,
) -> Result<Option<Side>, Vec<Evidence>> {
    let modality = &series.modality;
    let header = [("Image Laterality", image_laterality), ("Laterality", series.laterality.as_str())];
    let mut evidence = Vec::new();
    let mut sides = Vec::new();
    for (from, value) in header {
        if let Some(side) = header_side(value) {
            evidence.push(Evidence { from: from.into(), text: value.into(), means: format!("{side:?}").to_lowercase() });
            sides.push(side);
        }
    }
    for said in [of_series(words, Axis::Side, series), of_study(words, Axis::Side, study, modality)] {
        if let Some(side) = one_side(&said) {
            evidence.extend(said.evidence);
            sides.push(side);
        }
    }
    let single: BTreeSet<Side> = sides.iter().copied().filter(|s| *s != Side::Both).collect();
    match (single.len(), sides.first()) {
        (0, first) => Ok(first.copied()),
        // The image's own side is narrower than "both" in the study's text; the other way round is a contradiction.
        (1, Some(Side::Both)) => Err(evidence),
        (1, _) => Ok(single.first().copied()),
        _ => Err(evidence),
    }
}

fn header_side(value: &str) -> Option<Side> {
    match value.trim() {
        "L" => Some(Side::Left),
        "R" => Some(Side::Right),
        "B" => Some(Side::Both),
        _ => None,
    }
}

fn one_side(said: &Said) -> Option<Side> {
    match (said.has("left"), said.has("right"), said.has("both")) {
        (_, _, true) | (true, true, _) => Some(Side::Both),
        (true, false, _) => Some(Side::Left),
        (false, true, _) => Some(Side::Right),
        _ => None,
    }
}

/// Whether a series shows intravascular contrast, or contradicts itself about it.
pub fn enhanced(words: &Vocabulary, series: &SeriesFacts) -> Result<bool, Vec<Evidence>> {
    let said = of_series(words, Axis::Contrast, series);
    let sequence = of_series(words, Axis::Sequence, series).has("enhanced-t1");
    let values: Vec<AgentValue> = series.agents.iter().map(|a| words.agent(a)).collect();
    let given = values.contains(&AgentValue::Given);
    let denied = !given && values.contains(&AgentValue::None);
    let (plain, contrast) = (said.has("plain"), said.has("enhanced") || sequence);
    let agent = || {
        series.agents.iter().map(|a| Evidence { from: "Contrast/Bolus Agent".into(), text: a.clone(), means: "agent".into() })
    };
    if (denied && contrast && !plain) || (given && plain && !contrast) {
        return Err(said.evidence.into_iter().chain(agent()).collect());
    }
    Ok(given || (contrast && !plain))
}

/// Whether a series is an acquisition for diagnosis, not a localizer, reformat, calibration or report.
pub fn is_diagnostic(words: &Vocabulary, series: &SeriesFacts) -> bool {
    let coded = |value: &str| series.image_type.iter().any(|t| t == value);
    let reformat =
        coded("DERIVED") && (coded("SECONDARY") || ["MIP", "MPR", "VOLREN", "PROJECTION IMAGE"].iter().any(|t| coded(t)));
    let said = Said::default().text(words, Axis::Role, "Series Description", &series.description, &series.modality);
    !coded("LOCALIZER") && !reformat && said.is_empty()
}
