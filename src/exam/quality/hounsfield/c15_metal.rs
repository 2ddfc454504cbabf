//! C-15: metal, in the slice that has most of it.

use super::Measures;
use crate::exam::finding::{Finding, Level, Place};
use crate::procedure::catalogue::Hounsfield;

pub(super) fn check(slices: &[(Place, Measures)], limits: &Hounsfield) -> Option<Finding> {
    let metal = slices.iter().map(|(_, m)| m.metal).fold(0.0, f64::max);
    (metal > limits.metal_warn).then(|| {
        let finding = Finding::new(
            "C-15",
            Level::Warn,
            format!("图像内有金属（{:.2}% 的像素高于 3000 HU），请核对伪影", metal * 100.0),
            format!("metal in the image ({:.2} % of a slice over 3000 HU); check artefacts", metal * 100.0),
        );
        finding.measured(metal, limits.metal_warn, "of slice")
    })
}
