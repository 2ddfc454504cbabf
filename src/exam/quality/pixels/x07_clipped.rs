//! a plateau at an end of the values, inside of the anatomy; of radiographs and of slices.

use crate::exam::finding::{Finding, Level};
use crate::exam::quality::field::Field;
use crate::procedure::catalogue::Pixels;

/// A radiograph of the trunk of which most is at the dark end: direct exposure is not so much beside it, but what was cut off below is.
pub fn below(field: &Field, limb: bool, limits: &Pixels) -> Option<Finding> {
    (!limb && field.around > limits.around_review).then(|| {
        let zh = format!("图像 {:.0}% 处于最暗值，可能被截断，请核对曝光与处理", field.around * 100.0);
        let en = format!(
            "{:.0} % of the image is at its dark end: it may be cut off; check exposure and processing",
            field.around * 100.0
        );
        Finding::new("X-07", Level::Review, zh, en).measured(field.around, limits.around_review, "of samples")
    })
}

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
