//! C-03: distances between slices that differ from the step, without a slice missing or standing twice.

use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Stack;
use crate::procedure::catalogue::Completeness;

pub(super) fn check(stack: &Stack, limits: &Completeness) -> Option<Finding> {
    let step = stack.step_mm;
    let known_otherwise = |d: f64| d > limits.gap_factor * step || d < limits.duplicate_share * step;
    let uneven = |d: f64| (d - step).abs() > limits.uneven_mm.max(limits.uneven_share * step);
    let count = stack.distances().filter(|(_, d)| !known_otherwise(*d) && uneven(*d)).count();
    (count > 0).then(|| {
        Finding::new(
            "C-03",
            Level::Warn,
            format!("有 {count} 处层距不均匀，请核对是否缺层或重复"),
            format!("the distance between slices is uneven in {count} places; check for missing or repeated slices"),
        )
    })
}
