//! G-06: the samples of another frame of the series under another identifier.

use crate::dicom::Uid;
use crate::exam::finding::{Finding, Level};
use std::collections::HashMap;

/// The digests of the frames seen so far, and the first frame that has each.
#[derive(Default)]
pub struct Known {
    first: HashMap<u64, (Uid, u32)>,
    seen: usize,
    again: usize,
}

/// One sample in so many counts: that tells images apart as well, at little cost beside decoding.
const EVERY: usize = 61;

/// A digest of some of the samples, not one that resists forgery; none of a frame of one grey, which is another finding.
pub fn digest(samples: &[i32]) -> Option<u64> {
    if super::c18_blank::blank(samples).is_some() {
        return None;
    }
    let mix = |hash: u64, sample: &i32| {
        let mixed = (hash ^ u64::from(sample.cast_unsigned())).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 32)
    };
    Some(samples.iter().step_by(EVERY).fold(0xcbf2_9ce4_8422_2325, mix))
}

impl Known {
    /// Remembers the [`digest`] of a frame; the finding when it was there already.
    pub fn check(&mut self, digest: u64, key: &(Uid, u32)) -> Option<Finding> {
        let first = self.first.entry(digest).or_insert_with(|| key.clone());
        self.seen += 1;
        self.again += usize::from(first != key);
        (first != key).then(|| {
            let (uid, frame) = (&first.0, first.1 + 1);
            Finding::new(
                "G-06",
                Level::Warn,
                format!("像素与图像 {uid}（第 {frame} 帧）完全相同，请核对是否重复"),
                format!("its pixels are those of {uid}, frame {frame}; check for duplicates"),
            )
        })
    }

    /// Share of the frames that are those of another series, of the one that has fewer.
    #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
    pub fn shared_with(&self, other: &Known) -> f64 {
        let common = self.first.keys().filter(|digest| other.first.contains_key(digest)).count();
        common as f64 / self.first.len().min(other.first.len()).max(1) as f64
    }

    /// Most frames of the series are those of others: one picture stands for many slices.
    #[expect(clippy::cast_precision_loss, reason = "counts of frames")]
    pub fn mostly(&self) -> Option<Finding> {
        // Two views of which one is the other, as well.
        (self.again > 0 && 2 * self.again >= self.seen).then(|| {
            let zh = format!("序列 {} 幅图像中 {} 幅的像素与其他图像完全相同，请重新导出并发送", self.seen, self.again);
            let en = format!(
                "{} of the series' {} images hold the pixels of others; export and send it again",
                self.again, self.seen
            );
            let level = if 2 * self.again > self.seen { Level::Reject } else { Level::Review };
            Finding::new("G-06", level, zh, en).measured(self.again as f64, self.seen as f64 / 2.0, "images")
        })
    }
}

/// Series that show the same pictures under two names: one of two weightings, phases or reconstructions is missing.
pub fn shared(series: &[(Uid, Known)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (n, (uid, known)) in series.iter().enumerate() {
        let earlier = series.iter().take(n);
        if let Some((other, share)) = earlier.map(|(o, k)| (o, known.shared_with(k))).find(|(_, share)| *share > 0.0) {
            let level = if share > 0.5 { Level::Review } else { Level::Warn };
            let zh = format!("该序列 {:.0}% 的图像与序列 {other} 的像素相同，可能缺少一个序列，请核对", share * 100.0);
            let en = format!(
                "{:.0} % of its images hold the pixels of series {other}: one of the two may be missing; check them",
                share * 100.0
            );
            let limit = if level == Level::Review { 0.5 } else { 0.0 };
            findings.push(Finding::new("G-06", level, zh, en).in_series(uid).measured(share, limit, "of images"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_series_of_the_same_pictures_are_told() {
        let series = |name: &str, from: i32| {
            let mut known = Known::default();
            for n in from..from + 10 {
                let samples: Vec<i32> = (0..4096i32).map(|i| i * 31 % 97 + n).collect();
                known.check(digest(&samples).unwrap(), &(Uid::derived(&[name, &n.to_string()]), 0));
            }
            (Uid::derived(&[name]), known)
        };
        let told = |from: i32| {
            let found = shared(&[series("a", 0), series("b", 100), series("c", from)]);
            found.into_iter().map(|f| (f.series, f.level)).collect::<Vec<_>>()
        };
        let c = Some(Uid::derived(&["c"]));
        assert_eq!((told(50), told(7), told(2)), (vec![], vec![(c.clone(), Level::Warn)], vec![(c, Level::Review)]));
    }

    #[test]
    fn the_second_frame_of_the_same_samples_is_told_and_a_blank_one_is_not() {
        let mut known = Known::default();
        let frame = |n: i32| (0..4096i32).map(|i| i * 31 % 97 + n).collect::<Vec<i32>>();
        let key = |n: u32| (Uid::derived(&[&n.to_string()]), 0);
        let mut check = |samples: &[i32], n: u32| known.check(digest(samples)?, &key(n)).map(|f| f.check);
        assert_eq!((check(&frame(0), 0), check(&frame(1), 1)), (None, None));
        assert_eq!(check(&frame(0), 2), Some("G-06".to_string()));
        assert_eq!((check(&[4; 4096], 3), check(&[4; 4096], 4)), (None, None));
        assert_eq!(known.mostly(), None);
        (5..9).for_each(|n| drop(known.check(digest(&frame(0)).unwrap(), &key(n))));
        assert_eq!(known.mostly().map(|f| f.level), Some(Level::Reject));
    }
}
