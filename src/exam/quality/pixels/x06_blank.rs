//! a radiograph of one value, mostly of one value, mostly empty, or of nothing but noise.

use super::{FrameStatistics, empty};
use crate::exam::finding::Finding;
use crate::exam::quality::field::Field;
use crate::procedure::catalogue::Pixels;

pub(super) fn check(statistics: &FrameStatistics, field: Option<&Field>, limits: &Pixels) -> Option<Finding> {
    let s = statistics;
    if s.deviation <= f64::EPSILON || (s.deviation < limits.blank_share && s.entropy < limits.entropy_bits) {
        return Some(empty("X-06").measured(s.deviation, limits.blank_share, "of range"));
    }
    let field = field?;
    let (measured, limit, _, unit) = [
        (field.mode, limits.mode_share, field.mode > limits.mode_share, "of samples"),
        (field.empty_lines, limits.empty_lines, field.empty_lines > limits.empty_lines, "of lines"),
        (field.correlation, limits.noise_correlation, field.correlation < limits.noise_correlation, "of correlation"),
    ]
    .into_iter()
    .find(|(_, _, is, _)| *is)?;
    Some(empty("X-06").measured(measured, limit, unit))
}
