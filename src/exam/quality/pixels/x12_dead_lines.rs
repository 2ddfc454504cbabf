//! rows and columns of a radiograph that stand out over their whole length: a fault on any device.

use crate::exam::facts::rule_modality;
use crate::exam::finding::{Finding, Level};
use crate::exam::quality::perception::Perceived;

/// Judges the frames of a series.
pub fn check(modality: &str, frames: &[Perceived]) -> Option<Finding> {
    let lines = frames.iter().map(|f| f.dead_lines).max().filter(|n| *n > 0 && rule_modality(modality) == "DX")?;
    let finding = Finding::new(
        "X-12",
        Level::Warn,
        format!("有 {lines} 条坏线（整行或整列异常），请检查探测器"),
        format!("{lines} rows or columns stand out over their whole length; check the detector"),
    );
    #[expect(clippy::cast_precision_loss, reason = "a count of lines")]
    Some(finding.measured(lines as f64, 0.0, "lines"))
}
