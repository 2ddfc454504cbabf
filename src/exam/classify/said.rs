//! Concepts that attributes name, with the evidence.

use super::Evidence;
use crate::procedure::vocabulary::Hit;
use crate::procedure::{Axis, Vocabulary};
use std::collections::BTreeSet;

/// Concepts and where they were read.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
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

    /// What some terms of a text say.
    pub fn of<'a>(from: &str, hits: impl IntoIterator<Item = &'a Hit>) -> Said {
        let mut said = Said::default();
        for hit in hits {
            said.add(from, &hit.term, &hit.means);
        }
        said
    }

    /// What a coded value says.
    pub fn value(mut self, words: &Vocabulary, axis: Axis, from: &str, value: &str, modality: &str) -> Said {
        if !value.trim().is_empty() {
            self.add(from, value, &words.value(axis, value, modality));
        }
        self
    }

    /// Adds concepts.
    pub fn add(&mut self, from: &str, text: &str, means: &[String]) {
        if !means.is_empty() {
            self.evidence.push(Evidence::new(from, text.trim(), &means.join("+")));
            self.concepts.extend(means.iter().cloned());
        }
    }

    /// Both.
    #[must_use]
    pub fn and(mut self, other: Said) -> Said {
        self.concepts.extend(other.concepts);
        self.evidence.extend(other.evidence);
        self
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
        self.concepts.retain(|one| !all.iter().any(|inner| words.lies_within(inner, one)));
        self
    }

    /// Leaves out what yields to another region that one radiograph is said to show (骨盆 beats 髋, N-13).
    #[must_use]
    pub fn winners(mut self, words: &Vocabulary, modality: &str) -> Said {
        let all = self.concepts.clone();
        self.concepts.retain(|one| modality != "DX" || !all.iter().any(|winner| words.yields_to(one, winner)));
        self
    }
}
