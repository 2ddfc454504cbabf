//! a plateau at an end of the values, inside of the anatomy; of radiographs and of slices.

use crate::exam::finding::{Finding, Level};
use crate::exam::quality::field::Field;
use crate::procedure::catalogue::Pixels;

/// Judges one frame.
pub fn check(field: &Field, limits: &Pixels) -> Option<Finding> {
    let worst = field.plateau.0.max(field.plateau.1);
    let shutter = if field.plateau.0 > field.plateau.1 { field.corners.0 } else { field.corners.1 };
    let (level, limit) = match worst {
        // A shutter in the shade of the anatomy's other end looks the same: a person tells them apart.
        w if w > limits.clipped_reject && shutter => (Level::Review, limits.clipped_reject),
        w if w > limits.clipped_reject => (Level::Reject, limits.clipped_reject),
        w if w > limits.clipped_warn => (Level::Warn, limits.clipped_warn),
        _ => return None,
    };
    let finding = Finding::new(
        "X-07",
        level,
        "图像饱和（截断）像素过多，请核对曝光与处理后重新发送",
        "too many clipped samples; check exposure and processing, and send it again",
    );
    Some(finding.measured(worst, limit, "of samples"))
}
