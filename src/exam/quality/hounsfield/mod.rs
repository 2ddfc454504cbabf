//! What the pixels of CT slices say of their series, in Hounsfield units: C-11, C-14, C-15, C-17, one small file each.
//!
//! Measured slice by slice, judged by the median over the series: one odd slice is no fault. What no body has is looked for in every slice.

pub mod c11_gross;
mod c11_numbers;
mod c14_noise;
mod c15_metal;
mod c17_field_of_view;

use crate::exam::finding::{Finding, Place};
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

/// Side of the blocks that noise is measured in, pixels.
const BLOCK: usize = 9;
/// Blocks of soft tissue below which noise is not told.
const LEAST_BLOCKS: usize = 40;
/// Samples below which a peak is not told, as a share of the slice.
const LEAST_SHARE: f64 = 0.01;
/// The same where nothing is expected.
const MUCH: f64 = 0.05;

/// How often values occur, of one row in [`ROWS`].
struct Histogram {
    /// By [`BIN`] from [`LOWEST`].
    bins: Vec<u32>,
    /// Samples that are metal.
    metal: u32,
    /// All samples that were counted.
    all: u32,
}

/// Width of a bin, HU.
const BIN: f64 = 10.0;
/// Where the bins begin, HU.
const LOWEST: f64 = -1150.0;
/// Up to 200 HU.
const BINS: usize = 135;
/// One row in so many is counted: a share of the slice is told as well.
const ROWS: usize = 3;

impl Slice<'_> {
    /// Measures the slice.
    pub fn measure(&self, limits: &Hounsfield) -> Measures {
        let rows = self.samples.len().checked_div(self.columns).unwrap_or(0);
        let histogram = self.histogram(limits.metal_hu);
        Measures {
            air: histogram.peak(-1150.0, -800.0, LEAST_SHARE),
            soft_tissue: histogram.peak(-200.0, 200.0, LEAST_SHARE),
            between: histogram.peak(-700.0, -250.0, MUCH),
            noise: self.noise(rows),
            rim: self.rim(rows, limits.rim_hu),
            metal: f64::from(histogram.metal) / f64::from(histogram.all.max(1)),
        }
    }

    fn hounsfield(&self, stored: i32) -> f64 {
        f64::from(stored) * self.slope + self.intercept
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float is cut to the range of the integer")]
    fn histogram(&self, metal_hu: f64) -> Histogram {
        let mut histogram = Histogram { bins: vec![0; BINS], metal: 0, all: 0 };
        for row in self.samples.chunks(self.columns.max(1)).step_by(ROWS) {
            for value in row.iter().map(|s| self.hounsfield(*s)) {
                histogram.all = histogram.all.saturating_add(1);
                histogram.metal += u32::from(value > metal_hu);
                if value < LOWEST {
                    continue;
                }
                if let Some(bin) = histogram.bins.get_mut(((value - LOWEST) / BIN) as usize) {
                    *bin += 1;
                }
            }
        }
        histogram
    }

    /// The most frequent deviation of blocks of soft tissue, HU.
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
                let middle = self.samples.get((y + BLOCK / 2) * self.columns + x + BLOCK / 2)?;
                // A block whose middle is far from soft tissue is none, whatever its mean.
                if !(-350.0..450.0).contains(&self.hounsfield(*middle)) {
                    continue;
                }
                let (mut sum, mut squares) = (0i64, 0i64);
                for row in y..y + BLOCK {
                    let start = row * self.columns + x;
                    for stored in self.samples.get(start..start + BLOCK).unwrap_or_default() {
                        let from_middle = i64::from(*stored) - i64::from(*middle);
                        sum += from_middle;
                        squares = squares.saturating_add(from_middle.saturating_mul(from_middle));
                    }
                }
                let count = (BLOCK * BLOCK) as f64;
                let mean = sum as f64 / count;
                if !(-50.0..150.0).contains(&(mean * self.slope + self.hounsfield(*middle))) {
                    continue;
                }
                blocks += 1;
                let deviation = (squares as f64 / count - mean * mean).max(0.0).sqrt() * self.slope.abs();
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
    fn rim(&self, rows: usize, body_hu: f64) -> Option<f64> {
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
            self.samples.get(at).is_some_and(|s| self.hounsfield(*s) > body_hu)
        };
        Some((0..POINTS).filter(body).count() as f64 / POINTS as f64)
    }
}

impl Histogram {
    /// The middle of the fullest bin of a range, HU; none where fewer than a share of the samples have it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "bins of a bounded range"
    )]
    fn peak(&self, low: f64, high: f64, least: f64) -> Option<f64> {
        let (from, to) = (((low - LOWEST) / BIN) as usize, ((high - LOWEST) / BIN) as usize);
        let (at, fullest) = self.bins.get(from..to)?.iter().enumerate().max_by_key(|(_, n)| **n)?;
        (f64::from(*fullest) >= least * f64::from(self.all) && *fullest > 0).then_some(low + (at as f64 + 0.5) * BIN)
    }
}

/// Judges the slices of one series, each with its instance; `head` has a lower limit of noise.
pub fn judge(slices: &[(Place, Measures)], head: bool, limits: &Hounsfield) -> Vec<Finding> {
    let mut findings: Vec<Finding> = c11_numbers::of_slices(slices, limits).into_iter().collect();
    findings.extend(c11_numbers::of_series(slices, limits));
    findings.extend(c14_noise::check(slices, head, limits));
    findings.extend(c15_metal::check(slices, limits));
    findings.extend(c17_field_of_view::check(slices, limits));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Uid;

    pub(super) const LIMITS: Hounsfield = Hounsfield {
        air_tolerance: 60.0,
        soft_low: -50.0,
        soft_high: 90.0,
        noise_warn_head: 8.0,
        noise_warn_body: 25.0,
        rim_warn: 0.05,
        metal_warn: 0.001,
        odd_slice: 100.0,
        below_share: 0.05,
        dense_share: 0.3,
        metal_hu: 3000.0,
        rim_hu: -300.0,
        below_hu: -1150.0,
        dense_hu: 800.0,
        slope_least: 0.05,
        slope_most: 20.0,
    };

    /// A disc of soft tissue in air, with some noise.
    pub(super) fn disc(radius: f64, tissue: f64, noise: f64) -> Vec<i32> {
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
        judge(&[(Place::from(&Uid::derived(&["slice"])), slice.measure(&LIMITS))], head, &LIMITS)
            .into_iter()
            .map(|f| f.check)
            .collect()
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
            (Place::from(&Uid::derived(&[&n.to_string()])), slice.measure(&LIMITS))
        };
        let mut slices: Vec<_> = (0..9).map(|n| of(n, -1024.0)).collect();
        assert_eq!(judge(&slices, false, &LIMITS), vec![]);
        for intercept in [-1900.0, -524.0, -1024.0 + 120.0, 5000.0] {
            slices[4] = of(4, intercept);
            let found = judge(&slices, false, &LIMITS);
            assert_eq!(found.first().and_then(|f| f.instance.clone()), Some(slices[4].0.instance.clone()), "{intercept}");
        }
        let all: Vec<_> = (0..9).map(|n| of(n, -524.0)).collect();
        assert!(judge(&all, false, &LIMITS).iter().any(|f| f.check == "C-11"));
    }

    #[test]
    fn noise_is_measured_as_it_was_made() {
        for noise in [5.0, 10.0, 20.0] {
            let samples = disc(200.0, 40.0, noise);
            let measured =
                Slice { samples: &samples, columns: 512, slope: 1.0, intercept: -1024.0 }.measure(&LIMITS).noise.unwrap();
            assert!((measured - noise).abs() < 0.1 * noise, "{noise} {measured}");
        }
    }

    #[test]
    fn slices_too_small_or_empty_measure_nothing() {
        for (samples, columns) in [(vec![], 0), (vec![0; 64], 8), (vec![0; 10], 0)] {
            let slice = Slice { samples: &samples, columns, slope: 1.0, intercept: 0.0 };
            assert_eq!((slice.measure(&LIMITS).noise, slice.measure(&LIMITS).rim), (None, None));
        }
    }
}
