//! a radiograph without a window and without a lookup table looks as the viewer likes.

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    each_image(exam, &["DX"], |_, image| {
        let shown = image.attributes.has(tags::WINDOW_CENTER) || image.attributes.has(tags::VOILUT_SEQUENCE);
        (!shown).then(|| {
            Finding::new(
                "X-15",
                Level::Warn,
                "未提供窗宽窗位或查找表，不同工作站显示可能不一致",
                "neither window nor lookup table is given: workstations may show it differently",
            )
        })
    })
}

/// A radiograph or slice in colour is a picture of one; no check looks into it.
pub fn in_colour() -> Finding {
    Finding::new(
        "X-15",
        Level::Review,
        "彩色图像，无法核对像素质量，请人工确认是否为原始采集",
        "an image in colour: its pixels are not checked; decide by hand whether it is an acquisition",
    )
}
