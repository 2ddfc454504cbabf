//! C-10: the field that pixel spacing and matrix amount to is one that a scanner has, and the one that the header names: what is measured in a
//! picture of a wrong spacing is wrong by as much.

use super::{Exam, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.resolution;
    each_image(exam, &["CT", "MR"], |series, image| {
        let attributes = image.attributes;
        let own = attributes.floats(tags::PIXEL_SPACING);
        // Enhanced objects state it for their frames.
        let of_frames = || series.facts.stack()?.spacing.split('/').map(|s| s.parse().ok()).collect::<Option<Vec<f64>>>();
        let spacing = if own.len() == 2 { own } else { of_frames()? };
        let [down, across] = spacing.as_slice() else { return None };
        let field = (down * attributes.float(tags::ROWS)?).max(across * attributes.float(tags::COLUMNS)?);
        if !(limits.field_least_mm..=limits.field_most_mm).contains(&field) {
            let limit = if field < limits.field_least_mm { limits.field_least_mm } else { limits.field_most_mm };
            let zh = format!("按像素间距图像视野为 {field:.0} mm，不合理，请核对像素间距后重新发送");
            let en = format!(
                "by its pixel spacing the field is {field:.0} mm, which no scanner has; check Pixel Spacing and send it again"
            );
            return Some(Finding::new("C-10", Level::Reject, zh, en).measured(field, limit, "mm"));
        }
        let stated = attributes.float(tags::RECONSTRUCTION_DIAMETER).filter(|d| *d > 0.0)?;
        let off = (field / stated).max(stated / field);
        (off > limits.field_factor).then(|| {
            let zh = format!("按像素间距视野为 {field:.0} mm，标注的重建视野为 {stated:.0} mm，请核对像素间距");
            let en = format!(
                "by its pixel spacing the field is {field:.0} mm, by Reconstruction Diameter (0018,1100) {stated:.0} mm; check which is right"
            );
            Finding::new("C-10", Level::Review, zh, en).measured(off, limits.field_factor, "times")
        })
    })
}
