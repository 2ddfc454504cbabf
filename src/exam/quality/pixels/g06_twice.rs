//! G-06: the samples of another frame of the series under another identifier.

use crate::dicom::Uid;
use crate::exam::finding::{Finding, Level};
use std::collections::HashMap;

/// The digests of the frames seen so far, and the first frame that has each.
#[derive(Default)]
pub struct Known(HashMap<u64, (Uid, u32)>);

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
        let first = self.0.entry(digest).or_insert_with(|| key.clone());
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_frame_of_the_same_samples_is_told_and_a_blank_one_is_not() {
        let mut known = Known::default();
        let frame = |n: i32| (0..4096i32).map(|i| i * 31 % 97 + n).collect::<Vec<i32>>();
        let key = |n: u32| (Uid::derived(&[&n.to_string()]), 0);
        let mut check = |samples: &[i32], n: u32| known.check(digest(samples)?, &key(n)).map(|f| f.check);
        assert_eq!((check(&frame(0), 0), check(&frame(1), 1)), (None, None));
        assert_eq!(check(&frame(0), 2), Some("G-06".to_string()));
        assert_eq!((check(&[4; 4096], 3), check(&[4; 4096], 4)), (None, None));
    }
}
