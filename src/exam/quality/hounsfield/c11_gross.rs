//! C-11: numbers that no body has, in any slice: a wrong rescale value, a wrong sign, exchanged bytes; a slice that all of it lies higher or
//! lower than its neighbours. Looked for on a coarse sampling of every slice, where the other checks measure some of a series.

use crate::exam::finding::{Finding, Level, Place};
use crate::procedure::catalogue::Hounsfield;

/// What a slice amounts to; shares are of the samples inside the reconstruction circle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gross {
    /// Far below air.
    pub below: f64,
    /// Denser than all but hard bone.
    pub dense: f64,
    /// Mean, HU; what no body has counts as the nearest that one has.
    pub mean: f64,
}

/// One row and column in so many.
const STEP: usize = 4;
/// What lies higher does not make a slice lie higher, HU.
const HIGHEST: f64 = 1500.0;
/// Of the radius of the reconstruction circle: outside of it anything may stand.
const INSIDE: f64 = 0.9;

/// Of a slice; `padding` is what stands for no value. None where too little is inside.
#[expect(clippy::cast_precision_loss, reason = "counts and coordinates of pixels")]
pub fn of(
    samples: &[i32],
    columns: usize,
    (slope, intercept): (f64, f64),
    padding: Option<i64>,
    limits: &Hounsfield,
) -> Option<Gross> {
    let rows = samples.len().checked_div(columns)?;
    let radius = INSIDE * columns.min(rows) as f64 / 2.0;
    let (mut all, mut below, mut dense, mut sum) = (0u32, 0u32, 0u32, 0.0);
    for (y, line) in samples.chunks_exact(columns).enumerate().step_by(STEP) {
        let from_middle = y as f64 - rows as f64 / 2.0;
        let half = (radius * radius - from_middle * from_middle).max(0.0).sqrt();
        for (x, stored) in line.iter().enumerate().step_by(STEP) {
            if (x as f64 - columns as f64 / 2.0).abs() > half || Some(i64::from(*stored)) == padding {
                continue;
            }
            let value = f64::from(*stored) * slope + intercept;
            all += 1;
            below += u32::from(value < limits.below_hu);
            dense += u32::from(value > limits.dense_hu);
            sum += value.max(limits.below_hu).min(HIGHEST);
        }
    }
    let share = |n: u32| f64::from(n) / f64::from(all);
    (all >= 100).then(|| Gross { below: share(below), dense: share(dense), mean: sum / f64::from(all) })
}

/// Of the frames of a series, each with its instance: most are impossible, or some.
pub fn of_series(slices: &[(Place, Gross)], limits: &Hounsfield) -> Option<Finding> {
    let worst = |g: &Gross| (g.below / limits.below_share).max(g.dense / limits.dense_share);
    let impossible: Vec<&(Place, Gross)> = slices.iter().filter(|(_, g)| worst(g) > 1.0).collect();
    let (uid, first) = impossible.first()?;
    let number = impossible.len();
    let most = 2 * number > slices.len();
    let finding = Finding::new(
        "C-11",
        if most { Level::Reject } else { Level::Review },
        format!(
            "{number} 层的 CT 值不可能来自人体（过低 {:.0}%，过高 {:.0}%），请核对重缩放值、符号位与字节序后重新发送",
            first.below * 100.0,
            first.dense * 100.0
        ),
        format!(
            "{number} slices hold CT numbers that no body has ({:.0} % below air, {:.0} % as dense as hard bone); check rescale values, sign and byte order, and send them again",
            first.below * 100.0,
            first.dense * 100.0
        ),
    );
    let (measured, limit) = if first.below / limits.below_share > first.dense / limits.dense_share {
        (first.below, limits.below_share)
    } else {
        (first.dense, limits.dense_share)
    };
    Some(finding.at(uid).measured(measured, limit, "of slice"))
}

/// Slices of a stack, in its order, that lie higher or lower than both neighbours while these agree.
pub fn shifted(slices: &[(Place, Gross)], limits: &Hounsfield) -> Vec<Finding> {
    let mut findings = Vec::new();
    for three in slices.windows(3) {
        let [(_, before), (uid, here), (_, after)] = three else { continue };
        let away = here.mean - (before.mean + after.mean) / 2.0;
        if away.abs() > limits.odd_slice && (before.mean - after.mean).abs() < limits.odd_slice / 2.0 {
            let finding = Finding::new(
                "C-11",
                Level::Review,
                format!(
                    "该层 CT 值整体比相邻层{} {:.0} HU，请核对重缩放值后重新发送",
                    if away > 0.0 { "高" } else { "低" },
                    away.abs()
                ),
                format!(
                    "the slice as a whole lies {:.0} HU {} its neighbours; check its rescale values and send it again",
                    away.abs(),
                    if away > 0.0 { "above" } else { "below" }
                ),
            );
            findings.push(finding.at(uid).measured(away.abs(), limits.odd_slice, "HU"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LIMITS, disc};
    use super::*;
    use crate::dicom::Uid;

    fn gross(tissue: f64, units: (f64, f64)) -> Gross {
        of(&disc(180.0, tissue, 5.0), 512, units, None, &LIMITS).unwrap()
    }

    #[test]
    fn numbers_that_no_body_has_are_told_and_those_of_a_body_are_not() {
        let uid = |n: usize| Place::from(&Uid::derived(&[&n.to_string()]));
        let level = |wrong: (f64, f64), number: usize| {
            let slices: Vec<_> =
                (0..9).map(|n| (uid(n), gross(40.0, if n < number { wrong } else { (1.0, -1024.0) }))).collect();
            of_series(&slices, &LIMITS).map(|f| f.level)
        };
        assert_eq!(level((1.0, -1024.0), 9), None);
        for wrong in [(1.0, -2048.0), (1.0, 0.0), (2.0, -1024.0 * 2.0), (4.0, -1024.0 * 4.0), (-1.0, 5000.0)] {
            assert_eq!((level(wrong, 9), level(wrong, 1)), (Some(Level::Reject), Some(Level::Review)), "{wrong:?}");
        }
    }

    #[test]
    fn a_slice_that_lies_apart_from_both_neighbours_is_named() {
        let uid = |n: usize| Place::from(&Uid::derived(&[&n.to_string()]));
        for shift in [300.0, -300.0] {
            let slices: Vec<_> =
                (0..7).map(|n| (uid(n), gross(40.0, (1.0, if n == 4 { shift } else { 0.0 } - 1024.0)))).collect();
            let found: Vec<_> = shifted(&slices, &LIMITS).into_iter().map(|f| f.instance).collect();
            assert_eq!(found, [Some(uid(4).instance)], "{shift}");
        }
        let growing: Vec<_> = (0..7).map(|n| (uid(n), gross(40.0 + 60.0 * n as f64, (1.0, -1024.0)))).collect();
        assert!(shifted(&growing, &LIMITS).is_empty());
    }

    #[test]
    fn what_stands_for_no_value_is_left_out() {
        let mut samples = disc(180.0, 40.0, 5.0);
        samples.iter_mut().step_by(3).for_each(|s| *s = -5000);
        let of = |padding| of(&samples, 512, (1.0, -1024.0), padding, &LIMITS).unwrap().below;
        assert!(of(None) > 0.3 && of(Some(-5000)) == 0.0);
        assert_eq!(super::of(&[], 0, (1.0, 0.0), None, &LIMITS), None);
    }
}
