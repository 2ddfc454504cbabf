//! rows and columns of a radiograph that stand out over their whole length: a fault on any device.

use crate::exam::facts::rule_modality;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::median;
use crate::exam::quality::perception::Perceived;

/// Share of a line's samples that must stand out.
const WHOLE_LINE: f64 = 0.8;
/// A band of dead lines is at most one part in so many of the frame.
const THIN: usize = 20;

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

/// How many lines of `length` samples stand out from both neighbours, to one side, nearly everywhere: that differ from both neighbours by more than samples usually do.
#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
pub fn lines(count: usize, length: usize, at: &dyn Fn(usize, usize) -> f64) -> usize {
    let step = (length / 128).max(1);
    let along: Vec<usize> = (0..length).step_by(step).collect();
    let differences = |line: usize| along.iter().map(move |a| (at(line, *a) - at(line - 1, *a)).abs());
    let usual = median((1..count).step_by((count / 32).max(1)).flat_map(differences).collect()).unwrap_or(0.0).max(1.0);
    let outstanding = |line: &usize| {
        let offs = along.iter().map(|a| {
            let own = at(*line, *a);
            (own - at(line - 1, *a), own - at(line + 1, *a))
        });
        let (mut over, mut under) = (0usize, 0usize);
        for (before, after) in offs {
            over += usize::from(before > 4.0 * usual && after > 4.0 * usual);
            under += usize::from(before < -4.0 * usual && after < -4.0 * usual);
        }
        over.max(under) as f64 >= WHOLE_LINE * along.len().max(1) as f64
    };
    let single = (1..count.saturating_sub(1)).filter(outstanding).count();
    single.max(constant_lines(count, &along, at))
}

/// Lines of one value inside of the frame, in bands that are too thin to be the gap between two exposures.
fn constant_lines(count: usize, along: &[usize], at: &dyn Fn(usize, usize) -> f64) -> usize {
    let constant = |line: usize| {
        let mut values = along.iter().map(|a| at(line, *a));
        let first = values.next();
        first.is_some() && values.all(|v| Some(v) == first)
    };
    let (mut found, mut band) = (0, 0);
    let mut before_any = true;
    for line in 0..count {
        if constant(line) {
            band += 1;
            continue;
        }
        if band > 0 && !before_any && band <= (count / THIN).max(1) {
            found += band;
        }
        (band, before_any) = (0, false);
    }
    found
}
