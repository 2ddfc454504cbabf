//! an image that is shown as a negative of itself: a CT or MR slice as MONOCHROME1, or a photometric interpretation that contradicts the
//! Presentation LUT Shape (PS3.3 C.8.11.3.1.2). Where neither is there to compare, nobody can tell.

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::facts::rule_modality;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    each_image(exam, &[], |series, image| {
        let photometric = image.attributes.text(tags::PHOTOMETRIC_INTERPRETATION)?;
        let shape = image.attributes.text(tags::PRESENTATION_LUT_SHAPE);
        let sectional = matches!(rule_modality(&series.facts.modality), "CT" | "MR");
        let is_negative = match (photometric, shape) {
            ("MONOCHROME1", Some("IDENTITY")) | ("MONOCHROME2", Some("INVERSE")) => true,
            ("MONOCHROME1", _) => sectional,
            _ => false,
        };
        is_negative.then(|| {
            Finding::new(
                "X-15",
                Level::Review,
                "光度解释（0028,0004）与该类图像不符，可能显示为负像，请核对",
                "Photometric Interpretation (0028,0004) does not fit the image: it may be shown as a negative; check it",
            )
        })
    })
}
