//! What takes no part in judging a study, because the study holds what it should be judged by: marked copies that somebody sent back,
//! localizers inside a series of slices, raw radiographs beside those for presentation. What there is nothing else beside of stays.

use crate::dicom::image::is_for_processing;
use crate::dicom::{Uid, coded, tags};
use crate::exam::finding::{Finding, Level};
use crate::index::InstanceRow;
use crate::report::Contents;
use std::collections::BTreeSet;

/// One reason.
struct Aside {
    /// The finding's code.
    code: &'static str,
    /// What it is of an image.
    is: fn(&InstanceRow) -> bool,
    /// What must be beside an image that is so: in its series, or in the study.
    beside: fn(&InstanceRow, &InstanceRow) -> bool,
    within_series: bool,
    zh: &'static str,
    en: &'static str,
}

const REASONS: &[Aside] = &[
    Aside {
        code: "COPIES_RETURNED",
        is: |row| coded::says_marked(&row.attributes),
        beside: |_, other| !coded::says_marked(&other.attributes),
        within_series: false,
        zh: "幅图像是已标注的副本，不参与判定",
        en: "images are marked copies that came back; they are set aside",
    },
    Aside {
        code: "LOCALIZERS_ASIDE",
        is: is_localizer,
        beside: |_, other| other.attributes.has(tags::ROWS) && !is_localizer(other),
        within_series: true,
        zh: "幅定位像与断层图像同在一个序列，不参与判定，也不标注",
        en: "localizers stand in a series of other images; they are set aside and not marked",
    },
    Aside {
        code: "RAW_ASIDE",
        is: is_raw,
        beside: |row, other| {
            let is_shown = other.attributes.text(tags::PRESENTATION_INTENT_TYPE) == Some("FOR PRESENTATION");
            // Of the same view: the raw image of a view that nobody can look at is a fault.
            let view = |row: &InstanceRow| {
                [tags::VIEW_POSITION, tags::IMAGE_LATERALITY].map(|t| row.attributes.text(t).map(str::to_string))
            };
            is_shown && view(row) == view(other)
        },
        within_series: false,
        zh: "幅处理前图像（FOR PROCESSING）不参与判定，也不标注",
        en: "images are FOR PROCESSING beside those FOR PRESENTATION; they are set aside and not marked",
    },
];

fn is_localizer(row: &InstanceRow) -> bool {
    row.attributes.texts(tags::IMAGE_TYPE).iter().any(|t| t.trim() == "LOCALIZER")
}

fn is_raw(row: &InstanceRow) -> bool {
    is_for_processing(&row.sop_class, row.attributes.text(tags::PRESENTATION_INTENT_TYPE))
}

/// What is left to judge, and what was set aside.
pub(super) fn set_aside(mut originals: Contents) -> (Contents, Vec<Finding>) {
    let mut findings = Vec::new();
    for reason in REASONS {
        let beside = |row: &InstanceRow, rows: &[InstanceRow]| {
            if reason.within_series {
                return rows.iter().any(|other| (reason.beside)(row, other));
            }
            originals.iter().flat_map(|(_, rows)| rows).any(|other| (reason.beside)(row, other))
        };
        let found = originals.iter().flat_map(|(_, rows)| {
            rows.iter().filter(|row| (reason.is)(row) && beside(row, rows)).map(|row| row.sop_instance.clone())
        });
        let aside: BTreeSet<Uid> = found.collect();
        let count = aside.len();
        originals.iter_mut().for_each(|(_, rows)| rows.retain(|row| !aside.contains(&row.sop_instance)));
        originals.retain(|(_, rows)| !rows.is_empty());
        if count > 0 {
            let (zh, en) = (format!("{count} {}", reason.zh), format!("{count} {}", reason.en));
            findings.push(Finding::new(reason.code, Level::Info, zh, en));
        }
    }
    (originals, findings)
}
