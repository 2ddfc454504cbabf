//! C-11: without rescale values a CT has no Hounsfield units (PS3.3 C.8.2.1.1).

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    each_image(exam, &["CT"], |_, image| {
        let number = |tag| image.attributes.float(tag);
        match (number(tags::RESCALE_SLOPE), number(tags::RESCALE_INTERCEPT)) {
            (Some(slope), Some(_)) if slope != 0.0 => None,
            _ => Some(Finding::new(
                "C-11",
                Level::Reject,
                "缺少重缩放斜率或截距，无法得到 CT 值，请由来源补正",
                "Rescale Slope or Intercept is missing or zero: there are no CT numbers; mend it at the source",
            )),
        }
    })
}
