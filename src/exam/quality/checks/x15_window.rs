//! a radiograph without a window and without a lookup table looks as the viewer likes.

use super::{Exam, Image, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    each_image(exam, &["DX"], |_, image| {
        let shown = image.attributes.has(tags::WINDOW_CENTER) || image.attributes.has(tags::VOILUT_SEQUENCE);
        let zh = "未提供窗宽窗位或查找表，不同工作站显示可能不一致，请在设备上设置";
        let en = "neither window nor lookup table is given: workstations may show it differently; set one on the device";
        (!shown).then(|| Finding::new("X-15", Level::Warn, zh, en))
    })
    .into_iter()
    .chain(each_image(exam, &[], |_, image| narrow(image)))
    .collect()
}

/// A window of no width shows nothing but black and white (PS3.3 C.11.2.1.2: at least 1, more than 0 where it is linear exact).
fn narrow(image: &Image<'_>) -> Option<Finding> {
    let width = image.attributes.floats(tags::WINDOW_WIDTH).into_iter().find(|w| w.is_nan() || *w <= 0.0)?;
    let zh = "窗宽不大于 0，图像只能显示为黑白，请由来源补正";
    let en = "Window Width (0028,1051) is not over 0: the image is shown in black and white only; mend it at the source";
    Some(Finding::new("X-15", Level::Warn, zh, en).measured(width, 0.0, "of values"))
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
