//! C-10: matrix of a CT slice.

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.resolution;
    each_image(exam, &["CT"], |_, image| {
        let side = image.attributes.float(tags::ROWS)?.min(image.attributes.float(tags::COLUMNS)?);
        let (level, limit) = match side {
            s if s < limits.ct_side_reject => (Level::Reject, limits.ct_side_reject),
            s if s < limits.ct_side_warn => (Level::Warn, limits.ct_side_warn),
            _ => return None,
        };
        let finding = Finding::new(
            "C-10",
            level,
            format!("CT 矩阵仅 {side:.0}，请提供原始重建图像"),
            format!("a CT matrix of {side:.0} only; provide the original reconstruction"),
        );
        Some(finding.measured(side, limit, "pixels"))
    })
}
