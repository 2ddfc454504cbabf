//! C-14: the noise of soft tissue, median over the series.

use super::Measures;
use crate::exam::finding::{Finding, Level, Place};
use crate::exam::geometry::median;
use crate::procedure::catalogue::Hounsfield;

pub(super) fn check(slices: &[(Place, Measures)], head: bool, limits: &Hounsfield) -> Option<Finding> {
    let limit = if head { limits.noise_warn_head } else { limits.noise_warn_body };
    let noise = median(slices.iter().filter_map(|(_, m)| m.noise).collect()).filter(|n| *n > limit)?;
    let finding = Finding::new(
        "C-14",
        Level::Warn,
        format!("图像噪声 {noise:.0} HU，偏高，请核对剂量与重建核"),
        format!("a noise of {noise:.0} HU is high; check dose and kernel"),
    );
    Some(finding.measured(noise, limit, "HU"))
}
