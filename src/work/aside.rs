//! What takes no part in judging a study, because the study holds what it should be judged by: marked copies that somebody sent back,
//! localizers inside a series of slices, raw radiographs beside those for presentation. What there is nothing else beside of stays.

use crate::dicom::{coded, tags, uids};
use crate::exam::finding::{Finding, Level};
use crate::index::InstanceRow;
use crate::report::Contents;

/// One reason.
struct Aside {
    /// The finding's code.
    code: &'static str,
    /// What it is of an image.
    is: fn(&InstanceRow) -> bool,
    /// What must be beside it: of the same series, or of the study.
    beside: fn(&InstanceRow) -> bool,
    within_series: bool,
    zh: &'static str,
    en: &'static str,
}

const REASONS: &[Aside] = &[
    Aside {
        code: "COPIES_RETURNED",
        is: |row| coded::says_marked(&row.attributes),
        beside: |row| !coded::says_marked(&row.attributes),
        within_series: false,
        zh: "幅图像是已标注的副本，不参与判定",
        en: "images are marked copies that came back; they are set aside",
    },
    Aside {
        code: "LOCALIZERS_ASIDE",
        is: is_localizer,
        beside: |row| row.attributes.has(tags::ROWS) && !is_localizer(row),
        within_series: true,
        zh: "幅定位像与断层图像同在一个序列，不参与判定，也不标注",
        en: "localizers stand in a series of other images; they are set aside and not marked",
    },
    Aside {
        code: "RAW_ASIDE",
        is: is_raw,
        beside: |row| row.attributes.text(tags::PRESENTATION_INTENT_TYPE) == Some("FOR PRESENTATION") && !is_raw(row),
        within_series: false,
        zh: "幅处理前图像（FOR PROCESSING）不参与判定，也不标注",
        en: "images are FOR PROCESSING beside those FOR PRESENTATION; they are set aside and not marked",
    },
];

fn is_localizer(row: &InstanceRow) -> bool {
    row.attributes.texts(tags::IMAGE_TYPE).iter().any(|t| t.trim() == "LOCALIZER")
}

/// By what it says, or by its class where it says nothing (PS3.3 C.8.11.1.1.1).
fn is_raw(row: &InstanceRow) -> bool {
    match row.attributes.text(tags::PRESENTATION_INTENT_TYPE) {
        Some(intent) => intent == "FOR PROCESSING",
        None => row.sop_class == uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    }
}

/// What is left to judge, and what was set aside.
pub(super) fn set_aside(mut originals: Contents) -> (Contents, Vec<Finding>) {
    let mut findings = Vec::new();
    for reason in REASONS {
        let in_study = originals.iter().flat_map(|(_, rows)| rows).any(reason.beside);
        let mut count = 0;
        for (_, rows) in &mut originals {
            let beside = if reason.within_series { rows.iter().any(reason.beside) } else { in_study };
            let before = rows.len();
            rows.retain(|row| !beside || !(reason.is)(row));
            count += before - rows.len();
        }
        originals.retain(|(_, rows)| !rows.is_empty());
        if count > 0 {
            let (zh, en) = (format!("{count} {}", reason.zh), format!("{count} {}", reason.en));
            findings.push(Finding::new(reason.code, Level::Info, zh, en));
        }
    }
    (originals, findings)
}
