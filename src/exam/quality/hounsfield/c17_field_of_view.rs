//! C-17: a body cut off by the field of view.

use super::Measures;
use crate::exam::finding::{Finding, Level, Place};
use crate::exam::geometry::median;
use crate::procedure::catalogue::Hounsfield;

pub(super) fn check(slices: &[(Place, Measures)], limits: &Hounsfield) -> Option<Finding> {
    let rim = median(slices.iter().filter_map(|(_, m)| m.rim).collect()).filter(|r| *r > limits.rim_warn)?;
    let finding = Finding::new(
        "C-17",
        Level::Warn,
        format!("体部超出重建视野（边缘 {:.0}% 为体部），请扩大重建视野", rim * 100.0),
        format!("the body is cut off by the field of view ({:.0} % of its rim); reconstruct a larger one", rim * 100.0),
    );
    Some(finding.measured(rim, limits.rim_warn, "of rim"))
}
