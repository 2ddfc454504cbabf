//! Gross faults of a frame: blank (X-06, C-18), clipped, hardly any contrast. Each frame is looked at once.

use super::field::Field;
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

/// C-18: a slice of one value. The first sample that differs ends the look.
pub fn blank(samples: &[i32]) -> Option<Finding> {
    let (first, rest) = samples.split_first()?;
    rest.iter().all(|s| s == first).then(|| empty("C-18").measured(0.0, 0.0, "of range"))
}

/// Side of the squares that emptiness is counted in, pixels.
const SQUARE: usize = 8;

/// Share of the squares that hold one value each.
#[expect(clippy::cast_precision_loss, reason = "counts of squares")]
pub fn uniform_share(samples: &[i32], columns: usize) -> f64 {
    let (across, down) = (columns / SQUARE, samples.len().checked_div(columns).unwrap_or(0) / SQUARE);
    if across * down == 0 {
        return 0.0;
    }
    let mut uniform = 0usize;
    for y in 0..down {
        // Of each square in this row: its first value, and whether all that was seen is that.
        let mut squares: Vec<(i32, bool)> = Vec::with_capacity(across);
        for row in y * SQUARE..(y + 1) * SQUARE {
            let line = samples.get(row * columns..(row + 1) * columns).unwrap_or_default();
            for (x, part) in line.chunks_exact(SQUARE).enumerate() {
                let Some(first) = part.first() else { continue };
                match squares.get_mut(x) {
                    Some((value, same)) => *same = *same && part.iter().all(|s| s == value),
                    None => squares.push((*first, part.iter().all(|s| s == first))),
                }
            }
        }
        uniform += squares.iter().filter(|(_, same)| *same).count();
    }
    uniform as f64 / (across * down) as f64
}

/// What is held against the neighbours of a slice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Content {
    /// Its [`uniform_share`].
    pub uniform: f64,
    /// Standard deviation of its samples.
    pub deviation: f64,
}

/// C-18: slices with far less in them than a neighbour has; each with its instance, in the order of the stack.
pub fn emptied(slices: &[(Uid, Content)], limits: &Pixels) -> Vec<Finding> {
    let neighbours = |n: usize| {
        let before = n.checked_sub(1).and_then(|p| slices.get(p));
        before.into_iter().chain(slices.get(n + 1)).map(|(_, c)| *c).collect::<Vec<Content>>()
    };
    let mut findings = Vec::new();
    for (n, (uid, content)) in slices.iter().enumerate() {
        let beside = neighbours(n);
        // A neighbour of nothing but noise has no square of one value.
        let whole = beside.iter().filter(|c| c.deviation >= limits.faint_share * content.deviation);
        let uniform = whole.map(|c| c.uniform).fold(f64::INFINITY, f64::min);
        // The last slices of a stack may have little in them, but not suddenly nothing on both sides.
        let faint = beside.len() == 2 && beside.iter().all(|c| content.deviation < limits.faint_share * c.deviation);
        if content.uniform < 1.0 && content.uniform > uniform + limits.partly_blank {
            findings.push(
                Finding::new(
                    "C-18",
                    Level::Reject,
                    format!("图像的 {:.0}% 为空白，相邻层面为 {:.0}%，请补传", content.uniform * 100.0, uniform * 100.0),
                    format!(
                        "{:.0} % of the image is blank, of its neighbour {:.0} %; send it again",
                        content.uniform * 100.0,
                        uniform * 100.0
                    ),
                )
                .at(uid)
                .measured(content.uniform, uniform + limits.partly_blank, "of squares"),
            );
        } else if faint {
            let zh = "该层几乎没有内容，而相邻层面有，请补传";
            let en = "there is hardly anything in the slice while there is in its neighbours; send it again";
            let finding = Finding::new("C-18", Level::Reject, zh, en).at(uid);
            findings.push(finding.measured(content.deviation, limits.faint_share, "of deviation"));
        }
    }
    findings
}

/// C-18: a series that is blank nearly everywhere.
pub fn mostly_blank(slices: &[Content], limits: &Pixels) -> Option<Finding> {
    let usual = median(slices.iter().map(|c| c.uniform).collect()).filter(|share| *share > limits.blank_series)?;
    let finding = Finding::new(
        "C-18",
        Level::Reject,
        format!("序列的图像大部分为空白（{:.0}%），请重新采集或补传", usual * 100.0),
        format!("the images of the series are mostly blank ({:.0} %); acquire or send them again", usual * 100.0),
    );
    Some(finding.measured(usual, limits.blank_series, "of squares"))
}

/// C-18: a CT slice of nothing but noise. MR stacks may end in the air beside the body.
pub fn noise_alone(field: &Field, limits: &Pixels) -> Option<Finding> {
    (field.correlation < limits.noise_correlation)
        .then(|| empty("C-18").measured(field.correlation, limits.noise_correlation, "of correlation"))
}

/// a plateau at an end of the values, inside of the anatomy.
pub fn clipped(field: &Field, limits: &Pixels) -> Option<Finding> {
    let worst = field.plateau.0.max(field.plateau.1);
    let (level, limit) = match worst {
        w if w > limits.clipped_reject => (Level::Reject, limits.clipped_reject),
        w if w > limits.clipped_warn => (Level::Warn, limits.clipped_warn),
        _ => return None,
    };
    let finding = Finding::new(
        "X-07",
        level,
        "图像饱和（截断）像素过多，请核对曝光与处理后重新发送",
        "too many clipped samples; check exposure and processing, and send it again",
    );
    Some(finding.measured(worst, limit, "of samples"))
}

fn empty(check: &str) -> Finding {
    let zh = "图像为空白或内容单一，请重新采集或补传";
    Finding::new(check, Level::Reject, zh, "the image is blank; acquire or send it again")
}

/// Judges a radiograph.
pub fn judge(statistics: &FrameStatistics, field: Option<&Field>, limits: &Pixels) -> Vec<Finding> {
    let mut findings = Vec::new();
    let s = statistics;
    if s.deviation <= f64::EPSILON || (s.deviation < limits.blank_share && s.entropy < limits.entropy_bits) {
        findings.push(empty("X-06").measured(s.deviation, limits.blank_share, "of range"));
        return findings;
    }
    if let Some(field) = field {
        for (measured, limit, is, unit) in [
            (field.mode, limits.mode_share, field.mode > limits.mode_share, "of samples"),
            (field.empty_lines, limits.empty_lines, field.empty_lines > limits.empty_lines, "of lines"),
            (field.correlation, limits.noise_correlation, field.correlation < limits.noise_correlation, "of correlation"),
        ] {
            if is {
                findings.push(empty("X-06").measured(measured, limit, unit));
                return findings;
            }
        }
        findings.extend(clipped(field, limits));
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
        blank_series: 0.88,
        faint_share: 0.2,
        mode_share: 0.5,
        empty_lines: 0.75,
        noise_correlation: 0.2,
    };

    fn checks(samples: &[i32]) -> Vec<(String, Level)> {
        let statistics = FrameStatistics::of(samples, (0, 4095)).unwrap();
        judge(&statistics, Field::of(samples, 200, false).as_ref(), &LIMITS).into_iter().map(|f| (f.check, f.level)).collect()
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

    #[test]
    fn slices_with_less_in_them_than_their_neighbours_are_told_and_the_ends_of_a_body_are_not() {
        let run = |contents: &[(f64, f64)]| {
            let slices: Vec<(Uid, Content)> = contents
                .iter()
                .enumerate()
                .map(|(n, (uniform, deviation))| {
                    (Uid::derived(&[&n.to_string()]), Content { uniform: *uniform, deviation: *deviation })
                })
                .collect();
            let names: Vec<Uid> = emptied(&slices, &LIMITS).into_iter().filter_map(|f| f.instance).collect();
            slices.iter().map(|(uid, _)| names.contains(uid)).collect::<Vec<bool>>()
        };
        // Towards the top of a head there is more and more air.
        assert_eq!(run(&[(0.5, 300.0), (0.55, 290.0), (0.65, 250.0), (0.8, 200.0), (0.93, 90.0)]), [false; 5]);
        assert_eq!(run(&[(0.5, 300.0), (0.96, 100.0), (0.5, 300.0), (0.5, 300.0)]), [false, true, false, false]);
        assert_eq!(run(&[(0.96, 100.0), (0.5, 300.0), (0.5, 300.0)]), [true, false, false]);
        assert_eq!(run(&[(0.5, 300.0), (0.5, 300.0), (0.96, 90.0), (0.96, 90.0)]), [false, false, true, false]);
        assert_eq!(run(&[(0.5, 300.0), (0.1, 8.0), (0.5, 300.0)]), [false, true, false]);
        assert_eq!(run(&[(0.1, 100.0), (0.1, 30.0), (0.1, 5.0)]), [false; 3]);
        let blank = [Content { uniform: 0.95, deviation: 1.0 }; 3];
        assert!(mostly_blank(&blank, &LIMITS).is_some() && mostly_blank(&[], &LIMITS).is_none());
    }

    #[test]
    fn squares_of_one_value_are_counted() {
        let mut samples: Vec<i32> = (0..64 * 64).collect();
        assert_eq!(uniform_share(&samples, 64), 0.0);
        samples[..64 * 32].fill(3);
        assert_eq!(uniform_share(&samples, 64), 0.5);
        assert_eq!((uniform_share(&[], 0), uniform_share(&[1; 9], 3)), (0.0, 0.0));
    }
}
