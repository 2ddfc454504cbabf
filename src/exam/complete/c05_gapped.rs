//! C-05: a CT stack whose slices leave gaps between them: a gapped protocol.

use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::{Plane, Stack};
use crate::procedure::catalogue::Completeness;

pub(super) fn check(stack: &Stack, limits: &Completeness) -> Option<Finding> {
    let step = stack.step_mm;
    let thickness = stack.thickness_mm.filter(|_| stack.plane == Plane::Axial && step > 0.0)?;
    let (warn, reject) = (thickness + limits.gap_mm, limits.gapped_factor * thickness);
    // Every second slice of a contiguous scan stands at just the double.
    let finding = if step > reject - limits.uneven_mm {
        let factor = limits.gapped_factor;
        Finding::new(
            "C-05",
            Level::Reject,
            format!("层距 {step:.1} mm 达到层厚 {thickness:.1} mm 的 {factor} 倍：间隔扫描或缺层，请补传或重建连续层面"),
            format!(
                "the step of {step:.1} mm is {factor} times the thickness of {thickness:.1} mm or more: a gapped scan, or slices are missing; send all of a contiguous one"
            ),
        )
        .measured(step, reject, "mm")
    } else if step > warn {
        Finding::new(
            "C-05",
            Level::Warn,
            format!("层距 {step:.1} mm 大于层厚 {thickness:.1} mm，层间有间隙，建议连续重建后重新发送"),
            format!(
                "the step of {step:.1} mm leaves gaps between slices of {thickness:.1} mm; send a contiguous reconstruction"
            ),
        )
        .measured(step, warn, "mm")
    } else {
        return None;
    };
    Some(finding)
}
