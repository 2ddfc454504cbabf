//! C-16: a slice that does not fit between its neighbours, while these fit each other: moved by the patient, of another place, exchanged.
//!
//! Compared on coarse samplings, by correlation; the ends of a stack have one neighbour only and are not told. A slice that fits much better
//! between two others than where it stands is in the wrong place.

use crate::dicom::Uid;
use crate::exam::finding::{Finding, Level, Place};
use crate::exam::geometry::{Stack, median};
use crate::procedure::catalogue::Perception;
use std::collections::HashMap;

/// Samples along each side of a sampling.
const SIDE: usize = 48;

/// A coarse sampling of a slice: zero mean, unit length; none for a slice of one grey.
pub fn sampling(samples: &[i32], columns: usize) -> Option<Vec<f32>> {
    let rows = samples.len().checked_div(columns)?;
    if rows < SIDE || columns < SIDE {
        return None;
    }
    let at = |i: usize, length: usize| (2 * i + 1) * length / (2 * SIDE);
    let mut coarse: Vec<f64> = Vec::with_capacity(SIDE * SIDE);
    for y in 0..SIDE {
        for x in 0..SIDE {
            coarse.push(f64::from(*samples.get(at(y, rows) * columns + at(x, columns))?));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand samples")]
    let mean = coarse.iter().sum::<f64>() / coarse.len() as f64;
    let length = coarse.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "a share of one")]
    (length > 0.0).then(|| coarse.iter().map(|v| ((v - mean) / length) as f32).collect())
}

fn correlation(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// The slices of a stack that do not fit.
pub fn misfits(stack: &Stack, samplings: &HashMap<(Uid, u32), Vec<f32>>, limits: &Perception) -> Vec<Finding> {
    let mut findings = Vec::new();
    let slices: Vec<(Uid, u32)> = stack.slices.iter().cloned().zip(stack.frames.iter().copied()).collect();
    for (n, three) in slices.windows(3).enumerate() {
        let [before, here, after] = three else { continue };
        let (Some(a), Some(b), Some(c)) = (samplings.get(before), samplings.get(here), samplings.get(after)) else { continue };
        let across = correlation(a, c) - correlation(a, b).max(correlation(b, c));
        if across > limits.misfit_warn {
            let Some(place) = stack.place(n + 1) else { continue };
            findings.push(misfit(&place).measured(across, limits.misfit_warn, "of correlation"));
        }
    }
    let known: Vec<Option<&Vec<f32>>> = slices.iter().map(|key| samplings.get(key)).collect();
    // Beside a gap a slice fits less well than it would: that is the gap's fault.
    let far = |a: usize, b: usize| match (stack.along.get(a), stack.along.get(b)) {
        (Some(a), Some(b)) => b - a > 1.4 * stack.step_mm,
        _ => true,
    };
    for (n, gain) in elsewhere(&known, limits).into_iter().filter(|(n, _)| !far(n - 1, *n) && !far(*n, n + 1)) {
        let Some(place) = stack.place(n) else { continue };
        if !findings.iter().any(|f| f.instance.as_ref() == Some(&place.instance) && f.frame == place.frame) {
            findings.push(misfit(&place).measured(gain, limits.misfit_gain, "of a step's correlation"));
        }
    }
    findings
}

fn misfit(place: &Place) -> Finding {
    Finding::new(
        "C-16",
        Level::Warn,
        "该层与上下相邻层不连续，请核对是否运动、错位或层面互换",
        "this slice does not fit between its neighbours; check for motion or exchanged slices",
    )
    .at(place)
}

/// Slices that fit better between two others, and by how much, of what a step costs.
fn elsewhere(known: &[Option<&Vec<f32>>], limits: &Perception) -> Vec<(usize, f64)> {
    let fit = |a: usize, b: usize| Some(correlation(known.get(a).copied()??, known.get(b).copied()??));
    let steps = (1..known.len().saturating_sub(1)).filter_map(|n| Some(fit(n - 1, n)? - fit(n - 1, n + 1)?));
    // What one step costs: where slices are all alike nothing can be told.
    let Some(step) = median(steps.collect()).filter(|s| *s > 0.005) else { return Vec::new() };
    let gain = |n: usize| {
        let here = f64::midpoint(fit(n, n - 1)?, fit(n, n + 1)?);
        let gaps = (n.saturating_sub(limits.misfit_reach)..n.saturating_add(limits.misfit_reach).min(known.len()))
            .filter(|j| *j != n && j + 1 != n);
        let best = gaps.filter_map(|j| Some(f64::midpoint(fit(n, j)?, fit(n, j + 1)?))).fold(f64::NEG_INFINITY, f64::max);
        Some((best - here) / step)
    };
    let inner = 1..known.len().saturating_sub(1);
    inner.filter_map(|n| Some((n, gain(n)?))).filter(|(_, gain)| *gain > limits.misfit_gain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_too_small_or_of_one_grey_are_not_compared() {
        assert_eq!(sampling(&[], 0), None);
        assert_eq!(sampling(&[1; 30 * 30], 30), None);
        assert_eq!(sampling(&[7; 64 * 64], 64), None);
        let ramp: Vec<i32> = (0..64 * 64).collect();
        let own = sampling(&ramp, 64).unwrap();
        assert!((correlation(&own, &own) - 1.0).abs() < 1e-4);
    }
}
