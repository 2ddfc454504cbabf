//! an image for processing is none to look at (PS3.3 C.8.11.1.1.1). One beside images for presentation never gets here.

use super::{Exam, each_image};
use crate::dicom::image::is_for_processing;
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    each_image(exam, &["DX"], |_, image| {
        let class = image.attributes.text(tags::SOP_CLASS_UID).unwrap_or("");
        let raw = is_for_processing(class, image.attributes.text(tags::PRESENTATION_INTENT_TYPE));
        raw.then(|| {
            Finding::new(
                "X-14",
                Level::Reject,
                "图像为处理前数据（FOR PROCESSING），请发送供显示的图像（FOR PRESENTATION）",
                "the image is FOR PROCESSING; send the one FOR PRESENTATION",
            )
        })
    })
}
