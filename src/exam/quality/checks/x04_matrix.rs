//! matrix and pitch of a radiograph.

use super::{Exam, Series, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.resolution;
    // A chest is larger than a limb, and its matrix with it.
    let chest = |series: &Series<'_>| {
        let own = exam.recognised.iter().filter(|r| r.series.contains(series.uid));
        own.filter_map(|r| exam.region?.item(r.item)).any(|i| i.region.iter().any(|r| r == "chest"))
    };
    each_image(exam, &["DX"], |series, image| {
        let side_warn = if chest(series) { limits.dr_chest_side_warn } else { limits.dr_side_warn };
        let size = |tag| image.attributes.float(tag);
        let side = size(tags::ROWS)?.min(size(tags::COLUMNS)?);
        let spacing = |tag| image.attributes.floats(tag).into_iter().reduce(f64::max);
        let pitch = spacing(tags::IMAGER_PIXEL_SPACING).or_else(|| spacing(tags::PIXEL_SPACING)).unwrap_or(0.0);
        let (level, measured, limit, unit) = if side < limits.dr_side_reject {
            (Level::Reject, side, limits.dr_side_reject, "pixels")
        } else if pitch > limits.dr_pitch_reject {
            (Level::Reject, pitch, limits.dr_pitch_reject, "mm")
        } else if side < side_warn {
            (Level::Warn, side, side_warn, "pixels")
        } else if pitch > limits.dr_pitch_warn {
            (Level::Warn, pitch, limits.dr_pitch_warn, "mm")
        } else {
            return None;
        };
        let finding = Finding::new(
            "X-04",
            level,
            format!("图像分辨率偏低（{measured:.2} {unit}），请提供原始分辨率图像"),
            format!("the resolution is low ({measured:.2} {unit}); provide the image at its full size"),
        );
        Some(finding.measured(measured, limit, unit))
    })
}
