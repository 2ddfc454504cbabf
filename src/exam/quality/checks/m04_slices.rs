//! M-04: numbers of slices that are usual for an MR protocol.

use super::Exam;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::Plane;

pub(super) fn check(exam: &Exam<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (item, carrying) in exam.items() {
        let protocol = item.protocol.as_deref();
        let Some(usual) = exam.limits.slices.iter().find(|s| Some(s.protocol.as_str()) == protocol) else { continue };
        for series in carrying {
            let Some(stack) = series.facts.stack() else { continue };
            if usual.sagittal_only && stack.plane != Plane::Sagittal {
                continue;
            }
            #[expect(clippy::cast_precision_loss, reason = "numbers of slices are far below 2^52")]
            let (got, wanted) = (stack.slices.len() as f64, usual.least as f64);
            let level = match got {
                n if n < wanted * exam.limits.completeness.slices_reject_share => Level::Reject,
                n if n < wanted => Level::Warn,
                _ => continue,
            };
            let finding = Finding::new(
                "M-04",
                level,
                format!("序列仅 {got:.0} 层，该项目通常不少于 {wanted:.0} 层；请核对是否缺层，必要时补传"),
                format!("{got:.0} slices only; {wanted:.0} are usual for the item; check for missing ones and send them"),
            );
            findings.push(finding.in_series(series.uid).measured(got, wanted, "slices"));
        }
    }
    findings
}
