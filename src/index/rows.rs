//! What the index holds.

use crate::dicom::stamp::Kind;
use crate::dicom::{Attributes, Uid};
use crate::exam::alike::Said;
pub use crate::exam::lifecycle::State;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One stored instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRow {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Instance UID.
    pub sop_instance: Uid,
    /// SOP Class UID.
    pub sop_class: String,
    /// Transfer syntax it is stored in.
    pub transfer_syntax: String,
    /// SHA-256 of the data set, hexadecimal.
    pub sha256: String,
    /// Bytes of the data set.
    pub length: u64,
    /// When it came, milliseconds since 1970 UTC.
    pub received_ms: i64,
    /// AE title (or other name) of the sender.
    pub sender: String,
    /// Received, or marked here.
    pub kind: Kind,
    /// Where its pixels start in the data set.
    pub pixels_at: Option<u64>,
    /// Instance-level attributes.
    pub attributes: Attributes,
}

impl InstanceRow {
    /// Whether it came from outside.
    pub fn is_original(&self) -> bool {
        self.kind == Kind::Original
    }

    /// Whether it is a marked copy of this node.
    pub fn is_marked(&self) -> bool {
        matches!(self.kind, Kind::Marked { .. })
    }
}

/// One series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesRow {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// Series-level attributes, from the instance that came first.
    pub attributes: Attributes,
    /// Which instance the attributes are from: when it came, and its UID.
    pub from: (i64, Uid),
    /// Instances in it.
    pub instances: u32,
    /// It holds marked copies.
    pub marked: bool,
    /// What its objects say of what they should say alike.
    pub said: Said,
}

/// One study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyRow {
    /// Study Instance UID.
    pub study: Uid,
    /// Patient- and study-level attributes, from the instance that came first.
    pub attributes: Attributes,
    /// Which instance the attributes are from: when it came, and its UID.
    pub from: (i64, Uid),
    /// Sender of that instance.
    pub sender: String,
    /// Modalities of original series.
    pub modalities: BTreeSet<String>,
    /// Original series and instances.
    pub originals: (u32, u32),
    /// Marked series and instances.
    pub marked: (u32, u32),
    /// Series and instances of quality reports.
    pub reports: (u32, u32),
    /// Counts the original instances that came; a verdict belongs to one revision.
    pub revision: u64,
    /// What its originals say of what they should say alike.
    pub said: Said,
    /// Where it is in its life.
    pub state: State,
    /// The marked copies that the present verdict recognises; what the exchange may see while the state is Ready.
    pub recognised: Recognised,
    /// SOP classes of the originals.
    pub classes: BTreeSet<String>,
    /// Every Study Description of the originals: they should be one.
    pub descriptions: BTreeSet<String>,
    /// Sender and Institution Name of every original: who produced the study.
    pub sources: BTreeSet<(String, String)>,
}

/// The marked copies that a verdict recognises.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recognised {
    /// Marked series, with the copies of it that are recognised; an empty set means all.
    pub series: BTreeMap<Uid, BTreeSet<Uid>>,
    /// Number of copies.
    pub instances: u32,
    /// Their modalities.
    pub modalities: BTreeSet<String>,
}

impl Recognised {
    /// Whether an instance is one of them. What is no marked copy of ours never is, whatever series it claims.
    pub fn shows(&self, row: &InstanceRow) -> bool {
        let copies = self.series.get(&row.series).filter(|_| row.is_marked());
        copies.is_some_and(|copies| copies.is_empty() || copies.contains(&row.sop_instance))
    }

    /// Whether something that these show is not shown by others. `replaced` tells of a copy whose successor they show: what refers to images
    /// gets another name when other images come.
    pub fn leaves_out(&self, others: &Recognised, replaced: impl Fn(&Uid) -> bool) -> bool {
        self.series.iter().any(|(series, shown)| match others.series.get(series) {
            Some(now) if now.is_empty() => false,
            now => {
                let kept = |copy: &Uid| now.is_some_and(|now| now.contains(copy)) || replaced(copy);
                shown.is_empty() || !shown.iter().all(kept)
            }
        })
    }
}

#[cfg(test)]
mod recognised_tests {
    use super::*;

    #[test]
    fn what_was_shown_and_is_not_any_more_is_left_out() {
        let uid = |name: &str| Uid::derived(&[name]);
        let of = |series: &[(&str, &[&str])]| Recognised {
            series: series.iter().map(|(s, copies)| (uid(s), copies.iter().map(|c| uid(c)).collect())).collect(),
            ..Recognised::default()
        };
        let whole = of(&[("s", &[])]);
        let (two, one) = (of(&[("s", &["a", "b"])]), of(&[("s", &["a"])]));
        for (before, after, left_out) in [
            (&whole, &whole, false),
            (&whole, &two, true),
            (&two, &one, true),
            (&one, &two, false),
            (&one, &whole, false),
            (&one, &of(&[]), true),
            (&of(&[]), &one, false),
            (&one, &of(&[("t", &["a"])]), true),
        ] {
            assert_eq!(before.leaves_out(after, |_| false), left_out, "{before:?} {after:?}");
        }
        let renamed = of(&[("s", &["c"])]);
        assert!(one.leaves_out(&renamed, |_| false) && !one.leaves_out(&renamed, |copy| *copy == uid("a")));
    }
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JobKind {
    /// Classify, check, judge.
    Assess,
    /// Write the marked copies.
    Render,
}

/// A job row; unique by kind and study, for one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What.
    pub kind: JobKind,
    /// For which study.
    pub study: Uid,
    /// For which revision of it.
    pub revision: u64,
    /// Not before, milliseconds since 1970 UTC.
    pub due_ms: i64,
    /// Failed attempts so far.
    pub attempts: u32,
}

/// Totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Studies.
    pub studies: u64,
    /// Instances received.
    pub originals: u64,
    /// Marked copies.
    pub marked: u64,
    /// Quality reports.
    pub reports: u64,
    /// Bytes of all data sets.
    pub bytes: u64,
}

impl Counts {
    /// The instances of a kind.
    pub(super) fn of(&mut self, kind: &Kind) -> &mut u64 {
        match kind {
            Kind::Original => &mut self.originals,
            Kind::Marked { .. } => &mut self.marked,
            Kind::Report { .. } => &mut self.reports,
        }
    }
}
