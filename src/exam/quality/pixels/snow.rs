//! Part of a frame that is nothing but noise as strong as the whole frame's contrast: bytes that were overwritten or scrambled. Air and the
//! quiet parts of a picture are noise too, but faint.

use crate::exam::finding::{Finding, Level};
use crate::procedure::catalogue::Pixels;

/// Tiles along each side.
const TILES: usize = 8;
/// Of the deviation of the whole frame: weaker noise is a background.
const STRONG: f64 = 0.5;

/// Sums over samples and their right and lower neighbours.
#[derive(Default, Clone, Copy)]
struct Sums {
    count: f64,
    of: [f64; 3],
    squares: [f64; 3],
    right: f64,
    down: f64,
}

impl Sums {
    fn add(&mut self, here: f64, right: f64, down: f64) {
        self.count += 1.0;
        for ((sum, square), v) in self.of.iter_mut().zip(&mut self.squares).zip([here, right, down]) {
            *sum += v;
            *square += v * v;
        }
        self.right += here * right;
        self.down += here * down;
    }

    fn deviation(&self, which: usize) -> f64 {
        let of = |sums: &[f64; 3]| sums.get(which).copied().unwrap_or(0.0) / self.count.max(1.0);
        (of(&self.squares) - of(&self.of).powi(2)).max(0.0).sqrt()
    }

    /// Of the samples with one of their neighbours; 1 where all are of one value, which is no noise.
    fn correlation(&self, neighbour: usize, products: f64) -> f64 {
        let mean = |n: usize| self.of.get(n).copied().unwrap_or(0.0) / self.count.max(1.0);
        let spread = self.deviation(0) * self.deviation(neighbour);
        if spread <= 0.0 { 1.0 } else { (products / self.count.max(1.0) - mean(0) * mean(neighbour)) / spread }
    }

    fn is_noise(&self, limit: f64) -> bool {
        self.correlation(1, self.right) < limit && self.correlation(2, self.down) < limit
    }
}

/// Share of the frame's tiles that are strong noise; `per_side` samples are looked at along each side of a tile.
#[expect(clippy::cast_precision_loss, reason = "counts of tiles")]
pub fn share(samples: &[i32], columns: usize, per_side: usize, limit: f64) -> f64 {
    let Some(rows) = samples.len().checked_div(columns).filter(|rows| *rows >= 4 * TILES && columns >= 4 * TILES) else {
        return 0.0;
    };
    let (height, width) = (rows / TILES, columns / TILES);
    let (down, across) = ((height / per_side).max(1), (width / per_side).max(1));
    // Counted from one sample: small numbers, exact sums.
    let origin = samples.first().map_or(0.0, |v| f64::from(*v));
    let mut tiles = [Sums::default(); TILES * TILES];
    for (n, tile) in tiles.iter_mut().enumerate() {
        let (top, left) = (n / TILES * height, n % TILES * width);
        for y in (top..top + height - 1).step_by(down) {
            let line = |y: usize| samples.get(y * columns + left..y * columns + left + width).unwrap_or(&[]);
            for (two, below) in line(y).windows(2).zip(line(y + 1)).step_by(across) {
                if let [here, right] = two {
                    tile.add(f64::from(*here) - origin, f64::from(*right) - origin, f64::from(*below) - origin);
                }
            }
        }
    }
    let whole = tiles.iter().fold(Sums::default(), |mut all, tile| {
        all.count += tile.count;
        for (sum, more) in all.of.iter_mut().zip(tile.of).chain(all.squares.iter_mut().zip(tile.squares)) {
            *sum += more;
        }
        all
    });
    let strong = STRONG * whole.deviation(0);
    let noisy = tiles.iter().filter(|tile| tile.deviation(0) > strong && tile.is_noise(limit)).count();
    noisy as f64 / tiles.len() as f64
}

/// The finding of a frame of which such a share is noise, which is not noise all over.
pub fn check(check: &str, share: f64, limits: &Pixels) -> Option<Finding> {
    (share > limits.snow_share).then(|| {
        let zh = format!("图像约 {:.0}% 的区域为噪声，像素数据可能已损坏，请核对后重新发送", share * 100.0);
        let en = format!(
            "about {:.0} % of the image is nothing but noise: its pixels may be damaged; compare it with the source and send it again",
            share * 100.0
        );
        let level = if share > limits.mode_share { Level::Reject } else { Level::Review };
        Finding::new(check, level, zh, en).measured(share, limits.snow_share, "of image")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth picture over faint noise, its last rows replaced by noise of so many values.
    fn picture(rows: usize, strength: u32) -> Vec<i32> {
        let mut seed = 7u32;
        let mut random = |of: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i32::try_from((seed >> 12) % of).unwrap()
        };
        (0..256 * 256)
            .map(|i| {
                let (x, y) = (f64::from(i % 256), f64::from(i / 256));
                #[expect(clippy::cast_possible_truncation, reason = "a picture of 12 bits")]
                let smooth = (2000.0 + 900.0 * (x / 30.0).sin() + 600.0 * (y / 40.0).cos()) as i32;
                if i / 256 >= 256 - i32::try_from(rows).unwrap() { 500 + random(strength) } else { smooth + random(60) }
            })
            .collect()
    }

    #[test]
    fn strong_noise_in_a_part_is_seen_and_faint_noise_is_not() {
        let of = |rows, strength| share(&picture(rows, strength), 256, 12, 0.2);
        assert!(of(0, 1) < 0.01);
        assert!((0.4..0.6).contains(&of(128, 3000)), "{}", of(128, 3000));
        assert!((0.1..0.15).contains(&of(32, 3000)), "{}", of(32, 3000));
        assert!(of(128, 100) < 0.01, "a quiet background");
        assert!(of(256, 3000) > 0.9);
        assert!(share(&[1; 64], 8, 12, 0.2) < 0.01 && share(&[], 0, 12, 0.2) < 0.01);
    }
}
