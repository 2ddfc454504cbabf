//! G-11: the stated age is one that people reach, and agrees with birth date and study date.

use super::g12_dates::days as days_since;
use crate::dicom::{Attributes, tags};
use crate::exam::facts::{age_months, age_of_string, date};
use crate::exam::finding::{Finding, Level};

/// Nobody is known to have lived longer (122 years are documented), months.
const OLDEST: u32 = 125 * 12;

pub(super) fn check(study: &Attributes) -> Option<Finding> {
    let warn = |zh: &str, en: &str| Finding::new("G-11", Level::Warn, zh, en);
    let by_dates = study.text(tags::PATIENT_BIRTH_DATE).and_then(|_| age_months(study));
    if let Some(computed) = by_dates.filter(|months| *months > OLDEST) {
        let finding =
            warn("按出生日期，年龄超出可能范围，请核对", "by the birth date the patient is older than people get; check it");
        return Some(finding.measured(f64::from(computed), f64::from(OLDEST), "months"));
    }
    let text = study.text(tags::PATIENT_AGE)?;
    let Some(stated) = age_of_string(text) else {
        let zh = "年龄格式不符（应为三位数字加 D、W、M 或 Y），请在源系统更正";
        return Some(warn(zh, "Patient's Age (0010,1010) is not three digits with D, W, M or Y; correct it at the source"));
    };
    if stated > OLDEST {
        let finding = warn("年龄超出可能范围，请核对", "Patient's Age is more than people reach; check it");
        return Some(finding.measured(f64::from(stated), f64::from(OLDEST), "months"));
    }
    let computed = by_dates?;
    if let Some((days, tolerance)) = days_stated(text) {
        let born = |tag| study.text(tag).and_then(date).map(days_since);
        let lived = born(tags::STUDY_DATE)? - born(tags::PATIENT_BIRTH_DATE)?;
        return ((lived - days).abs() > tolerance).then(|| {
            let zh = "年龄与出生日期、检查日期不符，请在源系统核对更正";
            let en = "Patient's Age does not agree with birth date and study date; correct what is wrong at the source";
            #[expect(clippy::cast_precision_loss, reason = "days of a life")]
            warn(zh, en).measured(days as f64, lived as f64, "days")
        });
    }
    // An age in years is one of completed years, or rounded: a year to either side of what it covers. Months: a month.
    let (below, above) = if text.ends_with('Y') { (12, 12 + 11) } else { (1, 1) };
    (!(stated.saturating_sub(below)..=stated + above).contains(&computed)).then(|| {
        let zh = "年龄与出生日期、检查日期不符，请在源系统核对更正";
        let finding =
            warn(zh, "Patient's Age does not agree with birth date and study date; correct what is wrong at the source");
        finding.measured(f64::from(stated), f64::from(computed), "months")
    })
}

/// An age in days or weeks, in days, and what it may be off by: a week, and a week is not counted to its end.
fn days_stated(text: &str) -> Option<(i64, i64)> {
    let (number, unit) = text.trim().split_at_checked(3)?;
    let number: i64 = number.parse().ok()?;
    match unit {
        "D" => Some((number, 7)),
        "W" => Some((number * 7, 7 + 6)),
        _ => None,
    }
}
