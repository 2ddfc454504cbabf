//! C-18: slices of one value, of nothing but noise, with far less in them than their neighbours; a series that is blank nearly everywhere.

use super::empty;
use crate::exam::finding::{Finding, Level, Place};
use crate::exam::geometry::median;
use crate::exam::quality::field::Field;
use crate::procedure::catalogue::Pixels;

/// A slice of one value. The first sample that differs ends the look.
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
    for band in samples.chunks_exact(SQUARE * columns) {
        for x in (0..across * SQUARE).step_by(SQUARE) {
            // As a rule the first line of a square tells that it is not of one value.
            let mut lines = band.chunks_exact(columns).filter_map(|line| line.get(x..x + SQUARE));
            let first = band.get(x);
            uniform += usize::from(lines.all(|line| line.iter().all(|s| Some(s) == first)));
        }
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
    /// A CT slice whose mean is that of air.
    pub air: bool,
    /// There is nothing but noise in it.
    pub noise: bool,
}

/// Slices with far less in them than a neighbour has; each with its instance, in the order of the stack. `open` tells at which ends of the
/// stack the scan ends: above a head in air.
pub fn emptied(slices: &[(Place, Content)], open: (bool, bool), limits: &Pixels) -> Vec<Finding> {
    let air = |(_, content): &&(Place, Content)| content.air;
    let (before, behind) = (slices.iter().take_while(air).count(), slices.iter().rev().take_while(air).count());
    let outside = |n: usize| (open.0 && n < before) || (open.1 && n + behind >= slices.len());
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
            // Some scanners store air as one value: there a person looks.
            let level = if outside(n) { Level::Review } else { Level::Reject };
            findings.push(
                Finding::new(
                    "C-18",
                    level,
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
        } else if (content.noise && content.air && !outside(n)) || is_loud(content, &beside) {
            findings.push(empty("C-18").at(uid));
        } else if faint {
            let zh = "该层几乎没有内容，而相邻层面有，请补传";
            let en = "there is hardly anything in the slice while there is in its neighbours; send it again";
            let finding = Finding::new("C-18", Level::Reject, zh, en).at(uid);
            findings.push(finding.measured(content.deviation, limits.faint_share, "of deviation"));
        }
    }
    findings
}

/// A series that is blank nearly everywhere.
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

/// A CT slice of nothing but noise that is no air: air is judged by where it stands ([`emptied`]). MR stacks may end in the air beside the body.
pub fn noise_alone(field: &Field, content: &Content, limits: &Pixels) -> Option<Finding> {
    (content.noise && !content.air)
        .then(|| empty("C-18").measured(field.correlation, limits.noise_correlation, "of correlation"))
}

/// A slice whose body is full of holes: samples that were zeroed in small squares, lines or one by one.
pub fn riddled(field: &Field, limits: &Pixels) -> Option<Finding> {
    (field.gaps > limits.gaps_share).then(|| {
        let zh = format!("图像内部 {:.0}% 的像素为最低值，数据可能丢失，请补传", field.gaps * 100.0);
        let en = format!(
            "{:.0} % of the samples inside of what is shown are at the lowest value: data may be lost; send it again",
            field.gaps * 100.0
        );
        Finding::new("C-18", Level::Reject, zh, en).measured(field.gaps, limits.gaps_share, "of samples")
    })
}

/// An MR slice of noise as strong as what its neighbours show: no air beside the body.
fn is_loud(content: &Content, beside: &[Content]) -> bool {
    content.noise && !content.air && beside.iter().any(|c| !c.noise && content.deviation > 0.5 * c.deviation)
}

/// What air measures with all that a table adds, HU.
pub fn is_air(mean: f64) -> bool {
    mean < -900.0
}

/// A series that holds nothing but noise nearly everywhere.
pub fn mostly_noise(slices: &[Content], limits: &Pixels) -> Option<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "counts of slices")]
    let share = slices.iter().filter(|c| c.noise && !c.air).count() as f64 / slices.len().max(1) as f64;
    mostly(share, limits.air_series, ("噪声", "noise"))
}

/// A CT series that is air nearly everywhere; means of its slices in HU.
pub fn mostly_air(means: &[f64], limits: &Pixels) -> Option<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "counts of slices")]
    let share = means.iter().filter(|m| (-1100.0..-990.0).contains(*m)).count() as f64 / means.len().max(1) as f64;
    mostly(share, limits.air_series, ("空气", "air"))
}

fn mostly(share: f64, limit: f64, (zh, en): (&str, &str)) -> Option<Finding> {
    (share > limit).then(|| {
        let zh = format!("序列 {:.0}% 的层面只有{zh}，请重新采集或补传", share * 100.0);
        let en = format!("{:.0} % of the series' slices hold nothing but {en}; acquire or send it again", share * 100.0);
        Finding::new("C-18", Level::Reject, zh, en).measured(share, limit, "of slices")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::LIMITS;
    use super::*;
    use crate::dicom::Uid;

    #[test]
    fn slices_with_less_in_them_than_their_neighbours_are_told_and_the_ends_of_a_body_are_not() {
        let told = |contents: &[(f64, f64, bool)], open: (bool, bool)| {
            let slices: Vec<(Place, Content)> = contents
                .iter()
                .enumerate()
                .map(|(n, (uniform, deviation, air))| {
                    (
                        Place::from(&Uid::derived(&[&n.to_string()])),
                        Content { uniform: *uniform, deviation: *deviation, air: *air, noise: *air },
                    )
                })
                .collect();
            let names: Vec<Uid> = emptied(&slices, open, &LIMITS).into_iter().filter_map(|f| f.instance).collect();
            slices.iter().map(|(place, _)| names.contains(&place.instance)).collect::<Vec<bool>>()
        };
        let run =
            |contents: &[(f64, f64)]| told(&contents.iter().map(|(u, d)| (*u, *d, false)).collect::<Vec<_>>(), (true, true));
        // Air above a head is none of it where the scan ends, and a fault inside or where another block goes on.
        let (head, air) = ((0.1, 300.0, false), (0.1, 8.0, true));
        assert_eq!(told(&[head, head, head, air, air], (true, true)), [false; 5]);
        assert_eq!(told(&[head, head, head, air, air], (true, false)), [false, false, false, true, true]);
        assert_eq!(told(&[air, head, air, head, head], (true, true)), [false, false, true, false, false]);
        // Towards the top of a head there is more and more air.
        assert_eq!(run(&[(0.5, 300.0), (0.55, 290.0), (0.65, 250.0), (0.8, 200.0), (0.93, 90.0)]), [false; 5]);
        assert_eq!(run(&[(0.5, 300.0), (0.96, 100.0), (0.5, 300.0), (0.5, 300.0)]), [false, true, false, false]);
        assert_eq!(run(&[(0.96, 100.0), (0.5, 300.0), (0.5, 300.0)]), [true, false, false]);
        assert_eq!(run(&[(0.5, 300.0), (0.5, 300.0), (0.96, 90.0), (0.96, 90.0)]), [false, false, true, false]);
        assert_eq!(run(&[(0.5, 300.0), (0.1, 8.0), (0.5, 300.0)]), [false, true, false]);
        assert_eq!(run(&[(0.1, 100.0), (0.1, 30.0), (0.1, 5.0)]), [false; 3]);
        let blank = [Content { uniform: 0.95, deviation: 1.0, air: false, noise: false }; 3];
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
