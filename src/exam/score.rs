//! How well the classification does on a labelled set: exact matches, marks that would be wrong, precision and recall by item.

use super::classify::{Classification, classify};
use super::labelled::Case;
use crate::procedure::{Procedures, Region};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Counts of one item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ItemScore {
    /// Rows where it was expected.
    pub expected: usize,
    /// Rows where it was given.
    pub got: usize,
    /// Rows where it was expected and given.
    pub both: usize,
    /// `both / got`; 1 when it was never given.
    pub precision: f64,
    /// `both / expected`; 1 when it was never expected.
    pub recall: f64,
}

/// A row that did not come out as labelled.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Miss {
    /// The case.
    pub case_id: String,
    /// Items it should be.
    pub expected: BTreeSet<u32>,
    /// Items it was taken for.
    pub got: BTreeSet<u32>,
    /// The reason that was given; `OK` when there were items.
    pub reason_code: String,
    /// The reason of the label.
    pub expected_reason_code: String,
    /// An item was given that the label does not have.
    pub false_mark: bool,
}

/// The score of a set.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Score {
    /// Rows.
    pub rows: usize,
    /// Rows whose items are exactly the labelled ones.
    pub exact: usize,
    /// Rows with an item that the label does not have: each would be a wrong mark.
    pub false_marks: usize,
    /// Rows labelled `none` among them.
    pub false_marks_on_none: usize,
    /// Rows labelled `none`.
    pub none_rows: usize,
    /// Rows labelled `none` that came out as none for the labelled reason.
    pub reasons_exact: usize,
    /// By item number.
    pub per_item: BTreeMap<u32, ItemScore>,
    /// Exact rows and all rows by tag.
    pub per_tag: BTreeMap<String, (usize, usize)>,
    /// Rows by what was expected and what was given, both as text.
    pub confusion: BTreeMap<String, BTreeMap<String, usize>>,
    /// Rows that missed.
    pub misses: Vec<Miss>,
}

/// `1|13`, or `none`.
pub fn items_text(items: &BTreeSet<u32>) -> String {
    let text: Vec<String> = items.iter().map(u32::to_string).collect();
    if text.is_empty() { "none".into() } else { text.join("|") }
}

/// The items of a classification.
pub fn items_of(found: &Classification) -> BTreeSet<u32> {
    found.recognised.iter().map(|r| r.item).collect()
}

/// The reason code of a classification; `OK` when there are items.
pub fn reason_of(found: &Classification) -> String {
    match found.reason() {
        _ if !found.recognised.is_empty() => "OK".into(),
        Some(reason) => reason.code(),
        None => String::new(),
    }
}

/// Classifies every case and compares.
pub fn score(cases: &[Case], region: &Region, procedures: &Procedures) -> Score {
    let mut score = Score { rows: cases.len(), ..Score::default() };
    for case in cases {
        let found = classify(region, procedures, &case.study);
        let got = items_of(&found);
        let exact = got == case.expected;
        let false_mark = !got.is_subset(&case.expected);
        score.exact += usize::from(exact);
        score.false_marks += usize::from(false_mark);
        if case.expected.is_empty() {
            score.none_rows += 1;
            score.false_marks_on_none += usize::from(false_mark);
            score.reasons_exact += usize::from(exact && found.refused.iter().any(|r| r.reason.code() == case.reason));
        }
        for item in case.expected.union(&got) {
            let count = score.per_item.entry(*item).or_default();
            count.expected += usize::from(case.expected.contains(item));
            count.got += usize::from(got.contains(item));
            count.both += usize::from(case.expected.contains(item) && got.contains(item));
        }
        for tag in &case.tags {
            let count = score.per_tag.entry(tag.clone()).or_default();
            *count = (count.0 + usize::from(exact), count.1 + 1);
        }
        let (row, column) = (items_text(&case.expected), items_text(&got));
        *score.confusion.entry(row).or_default().entry(column).or_default() += 1;
        if !exact {
            score.misses.push(Miss {
                case_id: case.id.clone(),
                expected: case.expected.clone(),
                got,
                reason_code: reason_of(&found),
                expected_reason_code: case.reason.clone(),
                false_mark,
            });
        }
    }
    for count in score.per_item.values_mut() {
        count.precision = ratio(count.both, count.got);
        count.recall = ratio(count.both, count.expected);
    }
    score
}

/// A share; 1 of nothing.
#[expect(clippy::cast_precision_loss, reason = "numbers of rows are far below 2^52")]
pub fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
