//! M-05: matrix and in-plane spacing of an MR slice.

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.resolution;
    each_image(exam, &["MR"], |_, image| {
        let side = image.attributes.float(tags::ROWS)?.min(image.attributes.float(tags::COLUMNS)?);
        let spacing = image.attributes.floats(tags::PIXEL_SPACING).into_iter().fold(0.0, f64::max);
        let (measured, limit, unit) = if side < limits.mr_side_warn {
            (side, limits.mr_side_warn, "pixels")
        } else if spacing > limits.mr_spacing_warn {
            (spacing, limits.mr_spacing_warn, "mm")
        } else {
            return None;
        };
        let finding = Finding::new(
            "M-05",
            Level::Warn,
            format!("层面内分辨率偏低（{measured:.2} {unit}）"),
            format!("the in-plane resolution is low ({measured:.2} {unit})"),
        );
        Some(finding.measured(measured, limit, unit))
    })
}
