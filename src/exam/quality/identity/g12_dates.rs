//! G-12: dates are dates, in an order that can be, and near each other.

use super::Input;
use crate::dicom::tags;
use crate::exam::facts::date;
use crate::exam::finding::{Finding, Level};
use crate::procedure::catalogue::Identity;

pub(super) fn check(input: &Input<'_>, limits: &Identity) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(text) = input.study.text(tags::STUDY_DATE) else { return findings };
    let Some(exam) = date(text) else {
        findings.push(Finding::new(
            "G-12",
            Level::Reject,
            "检查日期不是有效日期，请更正后重新发送",
            "Study Date (0008,0020) is no valid date; correct it and send again",
        ));
        return findings;
    };
    let today = date(input.today);
    let in_future = |d: (i64, i64, i64)| today.is_some_and(|t| days(d) > days(t) + limits.future_days);
    if in_future(exam) {
        findings.push(Finding::new(
            "G-12",
            Level::Reject,
            "检查日期在未来，请核对设备时钟",
            "Study Date lies in the future; check the device's clock",
        ));
    } else if input.dates.iter().filter_map(|d| date(d)).any(in_future) {
        findings.push(Finding::new(
            "G-12",
            Level::Reject,
            "序列、采集或内容日期在未来，请核对设备时钟并更正后重新发送",
            "Series, Acquisition or Content Date lies in the future; check the device's clock, correct and send again",
        ));
    }
    if input.dates.iter().any(|d| date(d).is_none()) {
        findings.push(Finding::new(
            "G-12",
            Level::Warn,
            "序列、采集或内容日期不是有效日期，请更正后重新发送",
            "Series, Acquisition or Content Date is no valid date; correct it and send again",
        ));
    }
    if exam.0 < i64::from(limits.earliest_year) {
        findings.push(Finding::new(
            "G-12",
            Level::Warn,
            "检查日期过早，请核对设备时钟",
            "Study Date is implausibly early; check the device's clock",
        ));
    }
    let farthest = input.dates.iter().filter_map(|d| date(d)).map(|d| (days(d) - days(exam)).abs()).max().unwrap_or(0);
    if farthest > limits.apart_days {
        let zh = format!("序列、采集或内容日期与检查日期相差 {farthest} 天，请核对");
        let en = format!("Series, Acquisition or Content Date lies {farthest} days from Study Date; check them");
        #[expect(clippy::cast_precision_loss, reason = "days")]
        findings.push(Finding::new("G-12", Level::Warn, zh, en).measured(farthest as f64, limits.apart_days as f64, "days"));
    }
    match input.study.text(tags::PATIENT_BIRTH_DATE).map(date) {
        Some(Some(birth)) if birth > exam => {
            findings.push(Finding::new(
                "G-12",
                Level::Reject,
                "出生日期晚于检查日期，请在源系统更正后重新发送",
                "the patient was born after the study date; correct the wrong date at the source and send again",
            ));
        }
        Some(None) => findings.push(Finding::new(
            "G-12",
            Level::Warn,
            "出生日期不是有效日期，请在源系统更正",
            "Patient's Birth Date is no valid date; correct it at the source",
        )),
        _ => {}
    }
    findings
}

/// Days since the first of March of the year 0 (Gregorian calendar): the leap day ends a year that begins in March.
pub(super) fn days((year, month, day): (i64, i64, i64)) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day - 1
}

#[cfg(test)]
mod tests {
    use super::days;

    #[test]
    fn a_day_follows_the_other_at_every_end_of_a_month() {
        for (before, after) in [
            ((2026, 2, 28), (2026, 3, 1)),
            ((2024, 2, 29), (2024, 3, 1)),
            ((2026, 4, 30), (2026, 5, 1)),
            ((2026, 12, 31), (2027, 1, 1)),
            ((2000, 2, 29), (2000, 3, 1)),
        ] {
            assert_eq!(days(after) - days(before), 1, "{before:?}");
        }
        assert_eq!(days((2024, 3, 1)) - days((2024, 2, 28)), 2);
    }
}
