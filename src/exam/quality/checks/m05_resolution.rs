//! M-05: matrix and in-plane spacing of an MR slice; finer for joints and the sella.

use super::{Exam, Series, each_image};
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let limits = &exam.limits.resolution;
    let items = exam.items();
    let fine = |series: &Series<'_>| {
        let carried = items.iter().filter(|(_, carrying)| carrying.iter().any(|s| s.uid == series.uid));
        carried.filter_map(|(item, _)| item.protocol.as_ref()).any(|p| limits.mr_fine_protocols.contains(p))
    };
    each_image(exam, &["MR"], |series, image| {
        let (rows, columns) = (image.attributes.float(tags::ROWS)?, image.attributes.float(tags::COLUMNS)?);
        let spacing = image.attributes.floats(tags::PIXEL_SPACING).into_iter().fold(0.0, f64::max);
        let widest = if fine(series) { limits.mr_fine_spacing_warn } else { limits.mr_spacing_warn };
        let (measured, limit, unit) = if rows.min(columns) < limits.mr_phase_side_warn {
            (rows.min(columns), limits.mr_phase_side_warn, "pixels")
        } else if rows.max(columns) < limits.mr_side_warn {
            (rows.max(columns), limits.mr_side_warn, "pixels")
        } else if spacing > widest {
            (spacing, widest, "mm")
        } else {
            return None;
        };
        let finding = Finding::new(
            "M-05",
            Level::Warn,
            format!("层面内分辨率偏低（{measured:.2} {unit}，通常 {limit:.1}），请核对扫描参数或提供原始图像"),
            format!(
                "the in-plane resolution is low ({measured:.2} {unit}, {limit:.1} is usual); check the protocol or send the original images"
            ),
        );
        Some(finding.measured(measured, limit, unit))
    })
}
