//! a radiograph of one value, mostly of one value, mostly empty, or of nothing but noise.

use super::{FrameStatistics, empty};
use crate::exam::finding::{Finding, Level};
use crate::exam::quality::field::Field;
use crate::procedure::catalogue::Pixels;

pub(super) fn check(statistics: &FrameStatistics, field: Option<&Field>, limits: &Pixels) -> Option<Finding> {
    let s = statistics;
    if s.deviation <= f64::EPSILON || (s.deviation < limits.blank_share && s.entropy < limits.entropy_bits) {
        return Some(empty("X-06").measured(s.deviation, limits.blank_share, "of range"));
    }
    let field = field?;
    let faults = [
        (field.mode, limits.mode_share, field.mode > limits.mode_share, "of samples"),
        (field.empty_lines, limits.empty_lines, field.empty_lines > limits.empty_lines, "of lines"),
        (field.correlation, limits.noise_correlation, field.correlation < limits.noise_correlation, "of correlation"),
    ];
    let (measured, limit, _, unit) = faults.into_iter().find(|(_, _, is, _)| *is)?;
    Some(empty("X-06").measured(measured, limit, unit))
}

/// A large part of one value that is no end of the values, which another check tells.
pub(super) fn partly(field: &Field, limits: &Pixels) -> Option<Finding> {
    (field.mode > limits.mode_review).then(|| {
        let zh = "图像中有较大区域为单一灰度，请核对是否缺失";
        let en = "a large part of the image is of one value: look whether something is missing";
        Finding::new("X-06", Level::Review, zh, en).measured(field.mode, limits.mode_review, "of samples")
    })
}
