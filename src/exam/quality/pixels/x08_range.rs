//! a radiograph that uses hardly any of its range of values.

use super::FrameStatistics;
use crate::exam::finding::{Finding, Level};
use crate::procedure::catalogue::Pixels;

pub(super) fn check(statistics: &FrameStatistics, limits: &Pixels) -> Option<Finding> {
    let spread = statistics.spread;
    let (level, limit) = match spread {
        s if s < limits.range_reject => (Level::Reject, limits.range_reject),
        s if s < limits.range_warn => (Level::Warn, limits.range_warn),
        _ => return None,
    };
    let finding = Finding::new(
        "X-08",
        level,
        "图像灰度动态范围过小，请核对曝光与处理",
        "the grey values use hardly any of their range; check exposure and processing",
    );
    Some(finding.measured(spread, limit, "of range"))
}
