//! G-15: text that somebody else has burned in. Our own mark is found at the pixels' door.

use super::{Exam, each_image};
use crate::dicom::coded::says_marked;
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    each_image(exam, &[], |_, image| {
        let stated = image.attributes.text(tags::BURNED_IN_ANNOTATION)? == "YES";
        (stated && !says_marked(image.attributes)).then(|| {
            Finding::new(
                "G-15",
                Level::Warn,
                "图像内已有烧录文字，请确认不含患者信息且不遮挡互认标识",
                "the image has text burned in by somebody else; make sure that it names no patient and leaves room for the mark",
            )
        })
    })
}
