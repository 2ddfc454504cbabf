//! C-04: two slices of one acquisition, phase and kernel at one position.

use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Stack;
use crate::procedure::catalogue::Completeness;

pub(super) fn check(stack: &Stack, limits: &Completeness) -> Vec<Finding> {
    let limit = limits.duplicate_share * stack.step_mm;
    let told = stack.distances().filter(|(_, distance)| *distance < limit).map(|(after, distance)| {
        Finding::new(
            "C-04",
            Level::Warn,
            "两层位于同一位置，请核对是否重复",
            "two slices stand at the same position; check for duplicates",
        )
        .at(after)
        .measured(distance, limit, "mm")
    });
    told.collect()
}
