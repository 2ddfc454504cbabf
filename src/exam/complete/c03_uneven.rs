//! C-03: distances between slices that differ from the step, without a slice missing or standing twice.

use crate::exam::finding::{Finding, Level, Place};
use crate::exam::geometry::Stack;
use crate::procedure::catalogue::Completeness;

pub(super) fn check(stack: &Stack, limits: &Completeness) -> Option<Finding> {
    let step = stack.step_mm;
    let known_otherwise = |d: f64| d > limits.gap_factor * step || d < limits.duplicate_share * step;
    let limit = limits.uneven_mm.max(limits.uneven_share * step);
    let off = |(at, d): (Place, f64)| (!known_otherwise(d) && (d - step).abs() > limit).then(|| (at, (d - step).abs()));
    let uneven: Vec<(Place, f64)> = stack.distances().filter_map(off).collect();
    let (count, worst) = (uneven.len(), uneven.iter().max_by(|a, b| a.1.total_cmp(&b.1)));
    worst.map(|(at, most)| {
        let finding = Finding::new(
            "C-03",
            Level::Warn,
            format!("有 {count} 处层距不均匀，请核对是否缺层或重复"),
            format!("the distance between slices is uneven in {count} places; check for missing or repeated slices"),
        );
        finding.at(at).measured(*most, limit, "mm")
    })
}
