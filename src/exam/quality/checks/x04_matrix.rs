//! matrix and pitch of a radiograph.

use super::{Exam, Image, Series, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};
use crate::procedure::catalogue::Resolution;

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.resolution;
    // A chest is larger than a limb, and its matrix with it.
    let chest = |series: &Series<'_>| {
        let own = exam.recognised.iter().filter(|r| r.series.contains(series.uid));
        own.filter_map(|r| exam.region?.item(r.item)).any(|i| i.region.iter().any(|r| r == "chest"))
    };
    let scale = each_image(exam, &["DX"], |_, image| no_scale(image, limits));
    let size = each_image(exam, &["DX"], |series, image| {
        let side_warn = if chest(series) { limits.dr_chest_side_warn } else { limits.dr_side_warn };
        let size = |tag| image.attributes.float(tag);
        let side = size(tags::ROWS)?.min(size(tags::COLUMNS)?);
        let pitch = pitch(image);
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
    });
    scale.into_iter().chain(size).collect()
}

/// mm; 0 where none is stated.
fn pitch(image: &Image<'_>) -> f64 {
    let spacing = |tag| image.attributes.floats(tag).into_iter().reduce(f64::max);
    spacing(tags::IMAGER_PIXEL_SPACING).or_else(|| spacing(tags::PIXEL_SPACING)).unwrap_or(0.0)
}

/// Without a spacing nothing can be measured on the image, and far too small a one is a mistake of units.
fn no_scale(image: &Image<'_>, limits: &Resolution) -> Option<Finding> {
    let pitch = pitch(image);
    let level = if pitch > 0.0 { Level::Review } else { Level::Warn };
    let zh = "像素间距缺失或不合理，无法在图像上测量，请由来源补正";
    let en = "Imager Pixel Spacing (0018,1164) is missing or no spacing of a detector: nothing can be measured; mend it at the source";
    (pitch < limits.dr_pitch_least).then(|| Finding::new("X-04", level, zh, en).measured(pitch, limits.dr_pitch_least, "mm"))
}
