//! M-03: what lies between the slices of an MR stack and is not seen, over their thickness.

use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Stack;
use crate::procedure::catalogue::Completeness;

pub(super) fn check(stack: &Stack, limits: &Completeness) -> Option<Finding> {
    let thickness = stack.thickness_mm.filter(|_| stack.step_mm > 0.0)?;
    let gap = (stack.step_mm - thickness) / thickness;
    let (level, limit) = match gap {
        // Every second slice of a contiguous stack leaves a gap of just one thickness.
        g if g > limits.mr_gap_reject - limits.uneven_mm / thickness => (Level::Reject, limits.mr_gap_reject),
        g if g > limits.mr_gap_warn + 0.01 => (Level::Warn, limits.mr_gap_warn),
        _ => return None,
    };
    let finding = Finding::new(
        "M-03",
        level,
        format!("层间隔为层厚的 {:.0}%（层距 {:.1} mm，层厚 {thickness:.1} mm），请核对是否缺层", gap * 100.0, stack.step_mm),
        format!(
            "the gap is {:.0} % of the thickness (step {:.1} mm, thickness {thickness:.1} mm); check for missing slices",
            gap * 100.0,
            stack.step_mm
        ),
    );
    Some(finding.measured(gap, limit, "of thickness"))
}
