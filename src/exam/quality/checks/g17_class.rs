//! G-17: an object whose SOP class is of another modality than it says, or no acquisition at all: a secondary capture as a CT slice.

use super::{Exam, each_image};
use crate::dicom::{tags, uids};
use crate::exam::finding::{Finding, Level};

/// SOP classes of acquired images and the modality that makes them (PS3.3 table A.1-1).
const CLASSES: &[(&str, &str)] = &[
    (uids::CT_IMAGE_STORAGE, "CT"),
    (uids::ENHANCED_CT_IMAGE_STORAGE, "CT"),
    (uids::MR_IMAGE_STORAGE, "MR"),
    (uids::ENHANCED_MR_IMAGE_STORAGE, "MR"),
    (uids::ENHANCED_MR_COLOR_IMAGE_STORAGE, "MR"),
];

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    each_image(exam, &[], |series, image| {
        let class = image.attributes.text(tags::SOP_CLASS_UID)?;
        let modality = series.facts.modality.as_str();
        let made_by = CLASSES.iter().find(|(uid, _)| *uid == class).map(|(_, modality)| *modality);
        let captured = class == uids::SECONDARY_CAPTURE_IMAGE_STORAGE && matches!(modality, "CT" | "MR");
        (captured || made_by.is_some_and(|made_by| made_by != modality)).then(|| {
            let zh = format!("图像的 SOP 类与设备类型 {modality} 不符，可能是二次捕获或标错，请核对来源");
            let en =
                format!("its SOP class is not that of modality {modality}: a capture, or labelled wrong; check the source");
            Finding::new("G-17", Level::Review, zh, en)
        })
    })
}
