//! Gross faults of a frame: blank (X-06, C-18), clipped, hardly any contrast. Each frame is looked at once.

use crate::dicom::Uid;
use crate::exam::finding::{Finding, Level};
use crate::exam::geometry::median;
use crate::procedure::catalogue::Pixels;

/// What a frame's samples amount to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameStatistics {
    /// Standard deviation over the value range, 0 to 1.
    pub deviation: f64,
    /// Entropy of a histogram of 256 bins between the extremes, bits.
    pub entropy: f64,
    /// Share of samples at the largest and at the smallest value, without what may be background.
    pub clipped: (f64, f64),
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
        let (mut at_low, mut at_high) = (0u64, 0u64);
        for &sample in samples {
            let value = f64::from(sample) - f64::from(low);
            sum += value;
            squares += value * value;
            if let Some(bin) = bins.get_mut((value * scale) as usize) {
                *bin += 1;
            }
            at_low += u64::from(sample == low);
            at_high += u64::from(sample == high);
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
        // Extremes that are the end of the range are saturation; others are just the darkest and lightest sample.
        let saturated = |value: i32, n: u64, end: i64| if i64::from(value) == end { n as f64 / count } else { 0.0 };
        Some(FrameStatistics {
            deviation,
            entropy,
            clipped: (saturated(high, at_high, range.1), saturated(low, at_low, range.0)),
            spread: (percentile(0.995) - percentile(0.005)) / full,
        })
    }
}

/// C-18: a slice of one value. The first sample that differs ends the look.
pub fn blank(samples: &[i32]) -> Option<Finding> {
    let (first, rest) = samples.split_first()?;
    rest.iter().all(|s| s == first).then(|| empty("C-18").measured(0.0, 0.0, "of range"))
}

/// Share of the rows, or of the columns where these are more, that hold one value each.
#[expect(clippy::cast_precision_loss, reason = "counts of lines")]
pub fn uniform_share(samples: &[i32], columns: usize) -> f64 {
    let rows = samples.len().checked_div(columns).unwrap_or(0);
    if rows == 0 {
        return 0.0;
    }
    let same = |mut line: std::iter::StepBy<std::slice::Iter<'_, i32>>| {
        let first = line.next();
        line.all(|s| Some(s) == first)
    };
    let row = |y: &usize| same(samples.get(y * columns..(y + 1) * columns).unwrap_or_default().iter().step_by(1));
    let column = |x: &usize| same(samples.get(*x..).unwrap_or_default().iter().step_by(columns));
    let rows_share = (0..rows).filter(row).count() as f64 / rows as f64;
    rows_share.max((0..columns).filter(column).count() as f64 / columns as f64)
}

/// C-18: slices of which much more is uniform than of the others of their series; each with its `uniform_share`.
pub fn partly_blank(slices: &[(Uid, f64)], limits: &Pixels) -> Vec<Finding> {
    let usual = median(slices.iter().map(|(_, share)| *share).collect()).unwrap_or(0.0);
    let over = slices.iter().filter(|(_, share)| *share < 1.0 && *share > usual + limits.partly_blank);
    let finding = |(uid, share): &(Uid, f64)| {
        Finding::new(
            "C-18",
            Level::Reject,
            format!("图像的 {:.0}% 为空白，同序列其他层面为 {:.0}%，请补传", share * 100.0, usual * 100.0),
            format!(
                "{:.0} % of the image is blank, of the others of its series {:.0} %; send it again",
                share * 100.0,
                usual * 100.0
            ),
        )
        .at(uid)
        .measured(*share, usual + limits.partly_blank, "of lines")
    };
    over.map(finding).collect()
}

fn empty(check: &str) -> Finding {
    let zh = "图像为空白或内容单一，请重新采集或补传";
    Finding::new(check, Level::Reject, zh, "the image is blank; acquire or send it again")
}

/// Judges a radiograph.
pub fn judge(statistics: &FrameStatistics, limits: &Pixels) -> Vec<Finding> {
    let mut findings = Vec::new();
    let s = statistics;
    if s.deviation <= f64::EPSILON || (s.deviation < limits.blank_share && s.entropy < limits.entropy_bits) {
        findings.push(empty("X-06").measured(s.deviation, limits.blank_share, "of range"));
        return findings;
    }
    // One end of a radiograph may be direct exposure or the collimator's shadow; both at once, or most of the image, is not.
    let worst = s.clipped.0.max(s.clipped.1);
    let level = if worst > limits.clipped_reject { Some((Level::Reject, limits.clipped_reject)) } else { None };
    let level = level.or((worst > limits.clipped_warn).then_some((Level::Warn, limits.clipped_warn)));
    if let Some((level, limit)) = level {
        let finding = Finding::new(
            "X-07",
            level,
            "图像饱和（截断）像素过多，请核对曝光与处理后重新发送",
            "too many saturated samples; check exposure and processing, and send it again",
        );
        findings.push(finding.measured(worst, limit, "of samples"));
    }
    let level = if s.spread < limits.range_reject { Some((Level::Reject, limits.range_reject)) } else { None };
    let level = level.or((s.spread < limits.range_warn).then_some((Level::Warn, limits.range_warn)));
    if let Some((level, limit)) = level {
        let finding = Finding::new(
            "X-08",
            level,
            "图像灰度动态范围过小，请核对曝光与处理",
            "the grey values use hardly any of their range; check exposure and processing",
        );
        findings.push(finding.measured(s.spread, limit, "of range"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Pixels = Pixels {
        blank_share: 0.01,
        entropy_bits: 2.0,
        clipped_warn: 0.1,
        clipped_reject: 0.4,
        range_warn: 0.1,
        range_reject: 0.03,
        partly_blank: 0.25,
    };

    fn checks(samples: &[i32]) -> Vec<(String, Level)> {
        let statistics = FrameStatistics::of(samples, (0, 4095)).unwrap();
        judge(&statistics, &LIMITS).into_iter().map(|f| (f.check, f.level)).collect()
    }

    #[test]
    fn gross_faults_are_found_and_a_plain_gradient_is_not_one() {
        let gradient: Vec<i32> = (0..40_000).map(|i| 100 + (i % 3900)).collect();
        assert_eq!(checks(&gradient), []);
        assert_eq!(checks(&[7; 40_000]), [("X-06".to_string(), Level::Reject)]);
        let clipped: Vec<i32> = gradient.iter().map(|v| if v % 2 == 0 { 4095 } else { *v }).collect();
        assert_eq!(checks(&clipped), [("X-07".to_string(), Level::Reject)]);
        let flat: Vec<i32> = gradient.iter().map(|v| 2000 + v / 40).collect();
        assert_eq!(checks(&flat).first().map(|c| c.0.clone()), Some("X-08".to_string()));
    }
}
