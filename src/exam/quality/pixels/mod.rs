//! Gross faults of a frame: each frame is looked at once; one small file a check.
//!
//! They never decide: a plateau at the border, an empty end of a stack, air beside a patient are no faults.

pub mod band;
pub mod c16_neighbours;
pub mod c18_blank;
pub mod g03_bits_used;
pub mod g06_twice;
pub mod g16_lossy;
pub mod hole;
pub mod m09_contrast;
pub mod snow;
mod x06_blank;
pub mod x07_clipped;
mod x08_range;
mod x11_collimation;
pub mod x12_dead_lines;

use super::field::Field;
use crate::exam::finding::{Finding, Level};
use crate::procedure::catalogue::Pixels;

/// What a frame's samples amount to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameStatistics {
    /// Standard deviation over the value range, 0 to 1.
    pub deviation: f64,
    /// Entropy of a histogram of 256 bins between the extremes, bits.
    pub entropy: f64,
    /// Between the 0.5th and 99.5th percentile, over the value range.
    pub spread: f64,
}

const BINS: usize = 4096;

impl FrameStatistics {
    /// Over the samples of a grey frame whose values lie in `range`; none for an empty frame.
    #[expect(clippy::cast_precision_loss, reason = "counts and sample values are far below 2^52")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the bin lies in 0..BINS by construction")]
    pub fn of(samples: &[i32], range: (i64, i64)) -> Option<FrameStatistics> {
        let (low, high) = samples.iter().fold((i32::MAX, i32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        if samples.is_empty() {
            return None;
        }
        let full = ((range.1 - range.0).max(1)) as f64;
        let count = samples.len() as f64;
        let (mut sum, mut squares) = (0.0f64, 0.0f64);
        let mut bins = vec![0u32; BINS];
        let scale = (BINS - 1) as f64 / (f64::from(high) - f64::from(low)).max(1.0);
        for &sample in samples {
            let value = f64::from(sample) - f64::from(low);
            sum += value;
            squares += value * value;
            if let Some(bin) = bins.get_mut((value * scale) as usize) {
                *bin += 1;
            }
        }
        let mean = sum / count;
        let deviation = (squares / count - mean * mean).max(0.0).sqrt() / full;
        let entropy = bins
            .chunks(BINS / 256)
            .map(|c| c.iter().map(|n| u64::from(*n)).sum::<u64>())
            .filter(|n| *n > 0)
            .map(|n| n as f64 / count)
            .map(|p| -p * p.log2())
            .sum();
        let percentile = |share: f64| {
            let mut left = (share * count) as u64;
            let at = bins.iter().position(|n| {
                let here = u64::from(*n);
                let reached = left < here;
                left = left.saturating_sub(here);
                reached
            });
            at.unwrap_or(BINS - 1) as f64 / scale
        };
        Some(FrameStatistics { deviation, entropy, spread: (percentile(0.995) - percentile(0.005)) / full })
    }
}

fn empty(check: &str) -> Finding {
    let zh = "图像为空白或内容单一，请重新采集或补传";
    Finding::new(check, Level::Reject, zh, "the image is blank; acquire or send it again")
}

/// Judges a radiograph, `limb` where it is of one: of a blank one nothing else is told.
pub fn judge(statistics: &FrameStatistics, field: Option<&Field>, limb: bool, limits: &Pixels) -> Vec<Finding> {
    if let Some(blank) = x06_blank::check(statistics, field, limits) {
        return vec![blank];
    }
    let clipped = field.and_then(|f| x07_clipped::check(f, limits).or_else(|| x07_clipped::below(f, limb, limits)));
    let rejected = clipped.as_ref().is_some_and(|f| f.level == Level::Reject);
    let partly = field.filter(|_| !rejected).and_then(|f| x06_blank::partly(f, limits));
    let field = field.and_then(|f| x11_collimation::check(f, limb, limits));
    clipped.into_iter().chain(partly).chain(x08_range::check(statistics, limits)).chain(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exam::quality::field::Kind;

    pub(super) const LIMITS: Pixels = Pixels {
        blank_share: 0.01,
        entropy_bits: 2.0,
        clipped_warn: 0.1,
        clipped_reject: 0.4,
        range_warn: 0.1,
        range_reject: 0.03,
        partly_blank: 0.25,
        blank_series: 0.88,
        faint_share: 0.2,
        mode_share: 0.5,
        mode_review: 0.25,
        band_share_dr: 0.25,
        band_share: 0.05,
        band_rows: 4,
        hole_share: 0.02,
        hole_edge_share: 0.25,
        row_correlation: 0.15,
        empty_lines: 0.75,
        noise_correlation: 0.2,
        gaps_share: 0.5,
        snow_share: 0.04,
        beyond_share: 0.01,
        air_series: 0.5,
        around_review: 0.45,
        field_share: 0.25,
        field_borders: 3,
        limbs: Vec::new(),
    };

    fn checks(samples: &[i32]) -> Vec<(String, Level)> {
        let statistics = FrameStatistics::of(samples, (0, 4095)).unwrap();
        judge(&statistics, Field::of(samples, 200, false, Kind::Projection).as_ref(), false, &LIMITS)
            .into_iter()
            .map(|f| (f.check, f.level))
            .collect()
    }

    #[test]
    fn gross_faults_are_found_and_a_plain_gradient_is_not_one() {
        let gradient: Vec<i32> = (0..40_000).map(|i| 100 + (i % 200) * 15 + (i / 200) * 4).collect();
        assert_eq!(checks(&gradient), []);
        assert_eq!(checks(&[7; 40_000]), [("X-06".to_string(), Level::Reject)]);
        // A hole in the middle of the anatomy, at the end of the range: not connected to the border.
        let hole = |i: usize| (20..180).contains(&(i % 200)) && (20..180).contains(&(i / 200)) && !i.is_multiple_of(3);
        let clipped: Vec<i32> = gradient.iter().enumerate().map(|(i, v)| if hole(i) { 4095 } else { *v }).collect();
        assert_eq!(checks(&clipped).first(), Some(&("X-07".to_string(), Level::Reject)));
        let flat: Vec<i32> = gradient.iter().map(|v| 2000 + v / 40).collect();
        assert!(checks(&flat).iter().any(|c| c.0 == "X-08"));
        let mut filled = gradient;
        filled[..30_000].fill(2000);
        assert_eq!(checks(&filled), [("X-06".to_string(), Level::Reject)]);
    }
}
