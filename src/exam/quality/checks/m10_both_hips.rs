//! M-10: an item of both sides needs a field that holds both, or a series for each.

use super::Exam;
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};
use crate::procedure::Side;
use std::collections::BTreeSet;

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let least = exam.limits.resolution.both_sides_field_mm;
    let mut findings = Vec::new();
    for (item, carrying) in exam.items() {
        if item.side != Some(Side::Both) {
            continue;
        }
        let sides: BTreeSet<&str> =
            carrying.iter().map(|s| s.facts.laterality.trim()).filter(|l| matches!(*l, "L" | "R")).collect();
        let field = |s: &&super::Series<'_>| {
            let first = s.images.first()?;
            let spacing = first.attributes.floats(tags::PIXEL_SPACING);
            Some(first.attributes.float(tags::COLUMNS)? * spacing.get(1)?)
        };
        let widest = carrying.iter().copied().filter_map(|s| field(&s)).fold(0.0, f64::max);
        if sides.len() < 2 && widest > 0.0 && widest < least {
            let finding = Finding::new(
                "M-10",
                Level::Warn,
                format!("视野仅 {widest:.0} mm，可能未包括双侧，请核对或补充另一侧"),
                format!("a field of {widest:.0} mm may not hold both sides; check it, or send the other side"),
            );
            findings.push(finding.measured(widest, least, "mm"));
        }
    }
    findings
}
