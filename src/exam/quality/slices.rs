//! What the pixels of CT slices say of their series, in Hounsfield units: calibration (C-11), noise (C-14), metal (C-15), a body cut off
//! by the field of view (C-17). Measured slice by slice in one pass, judged by the median over the series: one odd slice is no fault.

use crate::dicom::Uid;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::median;
use crate::procedure::catalogue::Hounsfield;

/// A slice in Hounsfield units.
pub struct Slice<'a> {
    /// Stored values, row by row.
    pub samples: &'a [i32],
    /// Columns.
    pub columns: usize,
    /// Rescale Slope.
    pub slope: f64,
    /// Rescale Intercept.
    pub intercept: f64,
}

/// What one slice amounts to; each is missing where the slice has too little of what it is measured in.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measures {
    /// The most frequent value between -1150 and -800, HU: air.
    pub air: Option<f64>,
    /// The most frequent value between -200 and 200, HU: soft tissue.
    pub soft_tissue: Option<f64>,
    /// The most frequent value between -700 and -250, HU, where many samples have it: nothing in a body is so.
    pub between: Option<f64>,
    /// The most frequent standard deviation of blocks of soft tissue, HU.
    pub noise: Option<f64>,
    /// Share of the reconstruction circle's rim that is body, 0 to 1.
    pub rim: Option<f64>,
    /// Share of the slice that is denser than bone: metal.
    pub metal: f64,
}

/// Above this a sample is metal, HU.
const METAL: f64 = 3000.0;

/// Side of the blocks that noise is measured in, pixels.
const BLOCK: usize = 9;
/// Blocks of soft tissue below which noise is not told.
const LEAST_BLOCKS: usize = 40;
/// Samples below which a peak is not told, as a share of the slice.
const LEAST_SHARE: f64 = 0.01;
/// The same where nothing is expected.
const MUCH: f64 = 0.05;
/// Above this a sample of the rim is body, HU.
const BODY: f64 = -300.0;

impl Slice<'_> {
    /// Measures the slice.
    pub fn measure(&self) -> Measures {
        let rows = self.samples.len().checked_div(self.columns).unwrap_or(0);
        Measures {
            air: self.peak(-1150.0, -800.0, LEAST_SHARE),
            soft_tissue: self.peak(-200.0, 200.0, LEAST_SHARE),
            between: self.peak(-700.0, -250.0, MUCH),
            noise: self.noise(rows),
            rim: self.rim(rows),
            metal: self.metal(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    fn metal(&self) -> f64 {
        let dense = self.samples.iter().filter(|s| self.hounsfield(**s) > METAL).count();
        dense as f64 / self.samples.len().max(1) as f64
    }

    fn hounsfield(&self, stored: i32) -> f64 {
        f64::from(stored) * self.slope + self.intercept
    }

    /// The middle of the fullest bin of 10 HU in a range.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "bins of a bounded range"
    )]
    fn peak(&self, low: f64, high: f64, least: f64) -> Option<f64> {
        const BIN: f64 = 10.0;
        let mut bins = vec![0usize; ((high - low) / BIN) as usize + 1];
        for value in self.samples.iter().map(|s| self.hounsfield(*s)).filter(|v| (low..high).contains(v)) {
            if let Some(bin) = bins.get_mut(((value - low) / BIN) as usize) {
                *bin += 1;
            }
        }
        let (at, fullest) = bins.iter().enumerate().max_by_key(|(_, n)| **n)?;
        (*fullest as f64 >= least * self.samples.len() as f64).then_some(low + (at as f64 + 0.5) * BIN)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "bins of a bounded range"
    )]
    fn noise(&self, rows: usize) -> Option<f64> {
        const BIN: f64 = 0.5;
        let mut bins = vec![0usize; 200];
        let mut blocks = 0;
        for y in (0..rows.saturating_sub(BLOCK)).step_by(BLOCK) {
            for x in (0..self.columns.saturating_sub(BLOCK)).step_by(BLOCK) {
                let (mut sum, mut squares) = (0.0, 0.0);
                for row in y..y + BLOCK {
                    let start = row * self.columns + x;
                    for stored in self.samples.get(start..start + BLOCK).unwrap_or_default() {
                        let value = self.hounsfield(*stored);
                        sum += value;
                        squares += value * value;
                    }
                }
                let count = (BLOCK * BLOCK) as f64;
                let mean = sum / count;
                if !(-50.0..150.0).contains(&mean) {
                    continue;
                }
                blocks += 1;
                let deviation = (squares / count - mean * mean).max(0.0).sqrt();
                if let Some(bin) = bins.get_mut((deviation / BIN) as usize) {
                    *bin += 1;
                }
            }
        }
        let (at, _) = bins.iter().enumerate().max_by_key(|(_, n)| **n)?;
        (blocks >= LEAST_BLOCKS).then_some((at as f64 + 0.5) * BIN)
    }

    /// Samples on a circle just inside the largest one that fits.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "points within the slice"
    )]
    fn rim(&self, rows: usize) -> Option<f64> {
        const POINTS: usize = 720;
        let radius = self.columns.min(rows) as f64 / 2.0 - 3.0;
        if radius < 64.0 {
            return None;
        }
        let centre = (self.columns as f64 / 2.0, rows as f64 / 2.0);
        let body = |n: &usize| {
            let angle = *n as f64 / POINTS as f64 * std::f64::consts::TAU;
            let (x, y) = (centre.0 + radius * angle.cos(), centre.1 + radius * angle.sin());
            let at = y as usize * self.columns + x as usize;
            self.samples.get(at).is_some_and(|s| self.hounsfield(*s) > BODY)
        };
        Some((0..POINTS).filter(body).count() as f64 / POINTS as f64)
    }
}

/// Judges the slices of one series, each with its instance; `head` has a lower limit of noise.
pub fn judge(slices: &[(Uid, Measures)], head: bool, limits: &Hounsfield) -> Vec<Finding> {
    let odd = odd_slices(slices, limits);
    let slices: Vec<Measures> = slices.iter().map(|(_, m)| *m).collect();
    let middle = |of: fn(&Measures) -> Option<f64>| median(slices.iter().filter_map(of).collect());
    let mut findings: Vec<Finding> = odd.into_iter().collect();
    let mut off = |value: Option<f64>, low: f64, high: f64, zh: &str, en: &str| {
        let Some(value) = value.filter(|v| !(low..=high).contains(v)) else { return };
        let finding = Finding::new(
            "C-11",
            Level::Warn,
            format!("{zh}的 CT 值为 {value:.0} HU，请核对设备校准或重缩放值"),
            format!("{en} measures {value:.0} HU; check calibration and rescale values"),
        );
        findings.push(finding.measured(value, if value < low { low } else { high }, "HU"));
    };
    off(middle(|m| m.air), -1000.0 - limits.air_tolerance, -1000.0 + limits.air_tolerance, "空气", "air");
    off(middle(|m| m.soft_tissue), limits.soft_low, limits.soft_high, "软组织", "soft tissue");
    let limit = if head { limits.noise_warn_head } else { limits.noise_warn_body };
    if let Some(noise) = middle(|m| m.noise).filter(|n| *n > limit) {
        let finding = Finding::new(
            "C-14",
            Level::Warn,
            format!("图像噪声 {noise:.0} HU，偏高，请核对剂量与重建核"),
            format!("a noise of {noise:.0} HU is high; check dose and kernel"),
        );
        findings.push(finding.measured(noise, limit, "HU"));
    }
    let metal = slices.iter().map(|m| m.metal).fold(0.0, f64::max);
    if metal > limits.metal_warn {
        let finding = Finding::new(
            "C-15",
            Level::Warn,
            format!("图像内有金属（{:.2}% 的像素高于 3000 HU），请核对伪影", metal * 100.0),
            format!("metal in the image ({:.2} % of a slice over 3000 HU); check artefacts", metal * 100.0),
        );
        findings.push(finding.measured(metal, limits.metal_warn, "of slice"));
    }
    if let Some(rim) = middle(|m| m.rim).filter(|r| *r > limits.rim_warn) {
        let finding = Finding::new(
            "C-17",
            Level::Warn,
            format!("体部超出重建视野（边缘 {:.0}% 为体部），请扩大重建视野", rim * 100.0),
            format!("the body is cut off by the field of view ({:.0} % of its rim); reconstruct a larger one", rim * 100.0),
        );
        findings.push(finding.measured(rim, limits.rim_warn, "of rim"));
    }
    findings
}

/// C-11: slices whose numbers fit neither air nor soft tissue, or not those of the others: a wrong rescale value, or none in Hounsfield units.
fn odd_slices(slices: &[(Uid, Measures)], limits: &Hounsfield) -> Option<Finding> {
    let usual = |of: fn(&Measures) -> Option<f64>| median(slices.iter().filter_map(|(_, m)| of(m)).collect());
    let (air, soft) = (usual(|m| m.air), usual(|m| m.soft_tissue));
    let far = |own: Option<f64>, usual: Option<f64>| own.zip(usual).is_some_and(|(a, b)| (a - b).abs() > limits.odd_slice);
    let is_odd = |m: &Measures| {
        if m.between.is_some() {
            return true;
        }
        // The top of a head is mostly air: only what fits nothing at all is odd.
        let neither = m.soft_tissue.is_none() && m.air.is_none();
        neither || far(m.air, air) || far(m.soft_tissue, soft)
    };
    let odd: Vec<&Uid> = slices.iter().filter(|(_, m)| is_odd(m)).map(|(uid, _)| uid).collect();
    let first = odd.first()?;
    let finding = Finding::new(
        "C-11",
        Level::Warn,
        format!("{} 层的 CT 值与空气、软组织或其他层面不符，请核对重缩放值", odd.len()),
        format!(
            "the CT numbers of {} slices fit neither air nor soft tissue, or not the other slices; check rescale values",
            odd.len()
        ),
    );
    Some(finding.at(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Hounsfield = Hounsfield {
        air_tolerance: 60.0,
        soft_low: -50.0,
        soft_high: 90.0,
        noise_warn_head: 8.0,
        noise_warn_body: 25.0,
        rim_warn: 0.05,
        metal_warn: 0.001,
        odd_slice: 100.0,
    };

    /// A disc of soft tissue in air, with some noise.
    fn disc(radius: f64, tissue: f64, noise: f64) -> Vec<i32> {
        let mut seed = 7u32;
        (0..512 * 512)
            .map(|i| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let random = f64::from(seed >> 8) / f64::from(1u32 << 24) - 0.5;
                let (x, y) = (f64::from(i % 512) - 256.0, f64::from(i / 512) - 256.0);
                let value = if x.hypot(y) < radius { tissue } else { -1000.0 };
                // A uniform distribution of this width has that standard deviation.
                (value + random * noise * 12f64.sqrt() + 1024.0).round() as i32
            })
            .collect()
    }

    fn checks(samples: &[i32], slope: f64, head: bool) -> Vec<String> {
        let slice = Slice { samples, columns: 512, slope, intercept: -1024.0 };
        judge(&[(Uid::derived(&["slice"]), slice.measure())], head, &LIMITS).into_iter().map(|f| f.check).collect()
    }

    #[test]
    fn each_fault_is_found_and_a_good_slice_has_none() {
        let good = disc(180.0, 40.0, 4.0);
        assert_eq!(checks(&good, 1.0, true), Vec::<String>::new());
        assert_eq!(checks(&disc(180.0, 40.0, 12.0), 1.0, true), ["C-14"]);
        assert_eq!(checks(&disc(180.0, 40.0, 12.0), 1.0, false), Vec::<String>::new());
        assert_eq!(checks(&disc(180.0, 140.0, 4.0), 1.0, false), ["C-11"]);
        assert_eq!(checks(&disc(300.0, 40.0, 4.0), 1.0, false), ["C-17"]);
        let mut screwed = good;
        (0..40).for_each(|y| screwed[(230 + y) * 512 + 250..(230 + y) * 512 + 260].fill(5000));
        assert_eq!(checks(&screwed, 1.0, true), ["C-15"]);
    }

    #[test]
    fn a_slice_with_other_rescale_values_than_the_rest_is_named() {
        let samples = disc(180.0, 40.0, 4.0);
        let of = |n: u32, intercept: f64| {
            let slice = Slice { samples: &samples, columns: 512, slope: 1.0, intercept };
            (Uid::derived(&[&n.to_string()]), slice.measure())
        };
        let mut slices: Vec<_> = (0..9).map(|n| of(n, -1024.0)).collect();
        assert_eq!(judge(&slices, false, &LIMITS), vec![]);
        for intercept in [-1900.0, -524.0, -1024.0 + 120.0, 5000.0] {
            slices[4] = of(4, intercept);
            let found = judge(&slices, false, &LIMITS);
            assert_eq!(found.first().and_then(|f| f.instance.clone()), Some(slices[4].0.clone()), "{intercept}");
        }
        let all: Vec<_> = (0..9).map(|n| of(n, -524.0)).collect();
        assert!(judge(&all, false, &LIMITS).iter().any(|f| f.check == "C-11"));
    }

    #[test]
    fn noise_is_measured_as_it_was_made() {
        for noise in [5.0, 10.0, 20.0] {
            let samples = disc(200.0, 40.0, noise);
            let measured = Slice { samples: &samples, columns: 512, slope: 1.0, intercept: -1024.0 }.measure().noise.unwrap();
            assert!((measured - noise).abs() < 0.1 * noise, "{noise} {measured}");
        }
    }

    #[test]
    fn slices_too_small_or_empty_measure_nothing() {
        for (samples, columns) in [(vec![], 0), (vec![0; 64], 8), (vec![0; 10], 0)] {
            let slice = Slice { samples: &samples, columns, slope: 1.0, intercept: 0.0 };
            assert_eq!((slice.measure().noise, slice.measure().rim), (None, None));
        }
    }
}
