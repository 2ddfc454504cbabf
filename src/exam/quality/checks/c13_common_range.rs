//! C-13: plain and enhanced phase of an item cover the same range.

use super::Exam;
use crate::exam::facts::SeriesFacts;
use crate::exam::finding::{Finding, Level};
use crate::procedure::Contrast;

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let least = exam.limits.completeness.common_range_share;
    let mut findings = Vec::new();
    for (one, item, carrying) in exam.found() {
        let both = item.contrast == Some(Contrast::PlainAndEnhanced) && item.modality.iter().any(|m| m == "CT");
        let longest = |enhanced: bool| {
            let phase = carrying.iter().map(|s| s.facts).filter(|s| one.enhanced.contains(&s.uid) == enhanced);
            phase.filter_map(SeriesFacts::ends).max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)))
        };
        let (true, Some(plain), Some(contrast)) = (both, longest(false), longest(true)) else { continue };
        let common = (plain.1.min(contrast.1) - plain.0.max(contrast.0)).max(0.0);
        let share = common / (plain.1 - plain.0).max(contrast.1 - contrast.0).max(1.0);
        if share < least {
            let finding = Finding::new(
                "C-13",
                Level::Reject,
                format!("平扫与增强的共同范围仅 {:.0}%，请补充缺少的范围", share * 100.0),
                format!("plain and enhanced phase share only {:.0} % of their range; the rest is missing", share * 100.0),
            );
            findings.push(finding.measured(share, least, "of range"));
        }
    }
    findings
}
