//! G-17: an image that calls itself one of a phantom, made to control the device (PS3.3 C.7.6.1, Quality Control Image).

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    each_image(exam, &[], |_, image| {
        let stated = image.attributes.text(tags::QUALITY_CONTROL_IMAGE)?;
        let zh = "图像标明为质量控制图像（0028,0300），不是患者检查，请核对";
        let en = "the image calls itself one of quality control (0028,0300), not of a patient; check it";
        (stated == "YES").then(|| Finding::new("G-17", Level::Review, zh, en))
    })
}
