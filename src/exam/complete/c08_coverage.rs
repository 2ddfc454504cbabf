//! C-08: the range that the longest series of an item covers; less is usual for children.

use crate::exam::classify::Recognised;
use crate::exam::facts::StudyFacts;
use crate::exam::finding::{Finding, Level};
use crate::procedure::Item;
use crate::procedure::catalogue::Completeness;

pub(super) fn check(study: &StudyFacts, one: &Recognised, item: &Item, limits: &Completeness) -> Option<Finding> {
    let wanted = item.coverage_mm?;
    let child =
        study.age_months.and_then(|age| limits.child_coverage.iter().find(|c| age < c.under_months)).map_or(1.0, |c| c.factor);
    let wanted = wanted * child;
    let series = study.series.iter().filter(|s| one.series.contains(&s.uid));
    let longest = series.filter_map(|s| s.coverage_mm().map(|mm| (mm, &s.uid))).max_by(|a, b| a.0.total_cmp(&b.0))?;
    let level = match longest.0 {
        c if c < wanted * limits.coverage_reject_share => Level::Reject,
        c if c < wanted => Level::Warn,
        _ => return None,
    };
    let finding = Finding::new(
        "C-08",
        level,
        format!("扫描范围 {:.0} mm，项目建议不少于 {wanted:.0} mm，请补充范围或说明", longest.0),
        format!("{:.0} mm are covered, {wanted:.0} mm are usual for the item; complete the range or say why", longest.0),
    );
    Some(finding.in_series(longest.1).measured(longest.0, wanted, "mm"))
}
