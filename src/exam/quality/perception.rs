//! Perceptual measures of a frame: how sharp (X-10, M-08), how noisy (X-09, M-06), ghosts (M-07), bright
//! parts (M-09), an intensity that drifts and a body that wraps around (M-12), dead lines.
//!
//! They describe; what is too little or too much is calibrated per device and item (`procedures/calibration.toml`), never guessed here.
//! Measured on tiles spread over the frame, so that a radiograph of 4000 pixels costs hardly more than a slice.

use super::pixels::x12_dead_lines;
use crate::exam::geometry::median;

/// A grey frame.
pub struct Frame<'a> {
    /// Stored values, row by row.
    pub samples: &'a [i32],
    /// Columns.
    pub columns: usize,
    /// Samples at and below this are background; none where it is not known, and found from the samples.
    pub background: Option<i32>,
    /// Look for dead rows and columns: of a detector's picture, not of a reconstruction.
    pub of_detector: bool,
}

/// Samples that percentiles and means are taken from, spread over the frame.
const SPREAD: usize = 10_000;

/// What one frame amounts to; each is missing where the frame has too little of what it is measured in.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Perceived {
    /// Fine detail over the next coarser one, log2: falls with every blur.
    pub sharpness: Option<f64>,
    /// Standard deviation of the noise over the range of the anatomy (1st to 99th percentile).
    pub noise: Option<f64>,
    /// Mean signal over the noise of the air in the corners, corrected for its Rayleigh distribution (MR).
    pub snr: Option<f64>,
    /// Difference of the background along and across the phase direction, over twice the signal (MR).
    pub ghosting: Option<f64>,
    /// 98th percentile of what is over the background, over its median: bright parts, such as enhanced vessels and mucosa (MR).
    pub bright: Option<f64>,
    /// Bright over dark medians of tiles of anatomy (90th over 10th percentile): an intensity that drifts across the field (MR).
    pub bias: Option<f64>,
    /// Mean of a thin band along the borders over the signal: a body that wraps around (MR).
    pub edge: Option<f64>,
    /// Rows and columns that stand out from both neighbours over their whole length.
    pub dead_lines: usize,
}

/// Side of a tile, samples: of a large matrix, and of a small one.
const TILE: usize = 64;
const SMALL_TILE: usize = 32;
/// A matrix below this is small.
const LARGE: usize = 512;
/// Tiles in each direction at most.
const TILES: usize = 8;
/// Share of a tile that must be anatomy.
const FILLED: f64 = 0.6;
/// Tiles with anatomy below which nothing is told.
const LEAST_TILES: usize = 4;
/// What the 3 × 3 binomial leaves of white noise's standard deviation in the detail it takes out.
const DETAIL_OF_NOISE: f64 = 0.8;
/// The same of the next coarser detail.
const COARSE_OF_NOISE: f64 = 0.31;
/// Background that is brighter than this share of the signal is body.
const BESIDE_THE_BODY: f64 = 0.4;
/// The band along the borders is one part in so many of the frame.
const EDGE: usize = 32;
/// A normal distribution's standard deviation over its median absolute deviation.
const FROM_MAD: f64 = 1.4826;
/// Rayleigh: mean signal over the standard deviation of air to signal over that of the signal (one coil).
const RAYLEIGH: f64 = 0.655;

/// The tile's finest detail, and the next coarser one.
struct Detail {
    fine: Vec<f32>,
    coarse_rms: f64,
    filled: f64,
    /// Mean of what is anatomy.
    level: f64,
}

/// The stored value that stands for a physical one; none for a slope of zero.
#[expect(clippy::cast_possible_truncation, reason = "a float is cut to the range of the integer")]
pub fn stored(value: f64, slope: f64, intercept: f64) -> Option<i32> {
    let stored = (value - intercept) / slope;
    stored.is_finite().then_some(stored as i32)
}

impl Frame<'_> {
    /// Measures the frame.
    pub fn perceive(&self) -> Perceived {
        let rows = self.rows();
        let Some((low, high)) = self.range() else { return Perceived::default() };
        let side = self.tile(rows);
        let tiles: Vec<Detail> = self.tiles(rows, side).filter_map(|(x, y)| self.detail(x, y, side, low)).collect();
        let tiles: Vec<&Detail> = tiles.iter().filter(|t| t.filled >= FILLED).collect();
        let (air, signal) = (self.corners(rows), self.signal(low));
        Perceived {
            sharpness: sharpness(&tiles),
            noise: noise(&tiles).map(|n| n / (high - low)),
            snr: air.and_then(|a| signal.map(|s| (a, s))).map(|(a, s)| RAYLEIGH * s / a),
            ghosting: signal.and_then(|s| self.ghosting(rows, s)),
            bright: self.bright(low),
            bias: bias(&tiles),
            edge: signal.and_then(|s| self.edge(rows, s)),
            dead_lines: if self.of_detector { self.dead_lines(rows) } else { 0 },
        }
    }

    /// Some of the samples, evenly; an odd step does not stay in one column.
    fn spread(&self) -> impl Iterator<Item = &i32> {
        self.samples.iter().step_by((self.samples.len() / SPREAD).max(1) | 1)
    }

    fn tile(&self, rows: usize) -> usize {
        if self.columns.min(rows) < LARGE { SMALL_TILE } else { TILE }
    }

    fn rows(&self) -> usize {
        self.samples.len().checked_div(self.columns).unwrap_or(0)
    }

    fn at(&self, x: usize, y: usize) -> f64 {
        self.samples.get(y * self.columns + x).copied().map_or(0.0, f64::from)
    }

    /// First percentile above the background, and 99th, of a sample of the frame.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index below the length"
    )]
    fn range(&self) -> Option<(f64, f64)> {
        let mut some: Vec<i32> = self.spread().copied().collect();
        let mut at = |share: f64| {
            let rank = (some.len().checked_sub(1)? as f64 * share) as usize;
            Some(f64::from(*some.select_nth_unstable(rank).1))
        };
        let (bottom, top) = (at(0.01)?, at(0.99)?);
        let low = self.background.map_or(bottom + 0.08 * (top - bottom), f64::from);
        (top > low).then_some((low, top))
    }

    fn tiles(&self, rows: usize, side: usize) -> impl Iterator<Item = (usize, usize)> {
        let along = |length: usize| -> Vec<usize> {
            let room = length.saturating_sub(side);
            let count = (length / side).clamp(1, TILES);
            if length < side { vec![] } else { (0..count).map(|i| room * i / (count - 1).max(1)).collect() }
        };
        let (xs, ys) = (along(self.columns), along(rows));
        ys.into_iter().flat_map(move |y| xs.clone().into_iter().map(move |x| (x, y)))
    }

    /// Detail of the tile at a place; none for one that is hardly anatomy, which is most of them in a slice.
    #[expect(clippy::cast_precision_loss, reason = "counts within a tile")]
    fn detail(&self, x: usize, y: usize, side: usize, low: f64) -> Option<Detail> {
        let mut tile = vec![0.0f32; side * side];
        let (mut inside, mut sum) = (0usize, 0i64);
        // Counted from one value of the tile: what is left fits into a float.
        let origin = *self.samples.get(y * self.columns + x)?;
        #[expect(clippy::cast_possible_truncation, reason = "the range of the samples")]
        let low = low as i32;
        for (row, line) in tile.chunks_exact_mut(side).enumerate() {
            let start = (y + row) * self.columns + x;
            for (to, from) in line.iter_mut().zip(self.samples.get(start..start + side)?) {
                *to = from.saturating_sub(origin) as f32;
                inside += usize::from(*from > low);
                sum += if *from > low { i64::from(*from) } else { 0 };
            }
        }
        let filled = inside as f64 / (side * side) as f64;
        if filled < FILLED {
            return None;
        }
        let level = sum as f64 / inside as f64;
        let once = smoothed(&tile, side, 1);
        let twice = smoothed(&once, side, 2);
        let fine = difference(&tile, &once, side);
        let coarse = difference(&once, &twice, side);
        Some(Detail { fine, coarse_rms: rms(&coarse), filled, level })
    }

    /// Mean of what is over the background.
    #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
    fn signal(&self, low: f64) -> Option<f64> {
        let over: Vec<f64> = self.spread().map(|s| f64::from(*s)).filter(|s| *s > low).collect();
        (over.len() > 100).then(|| over.iter().sum::<f64>() / over.len() as f64)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index below the length"
    )]
    fn bright(&self, low: f64) -> Option<f64> {
        let mut over: Vec<i32> = self.spread().copied().filter(|s| f64::from(*s) > low).collect();
        let last = over.len().checked_sub(1).filter(|n| *n > 100)? as f64;
        let mut rank = |share: f64| f64::from(*over.select_nth_unstable((share * last) as usize).1);
        let (top, middle) = (rank(0.98), rank(0.5));
        (middle > 0.0).then(|| top / middle)
    }

    /// Mean of the band along the borders over the signal.
    #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
    fn edge(&self, rows: usize, signal: f64) -> Option<f64> {
        let wide = self.columns.min(rows) / EDGE;
        if wide == 0 || signal <= 0.0 {
            return None;
        }
        let bands = [(0, 0, self.columns, wide), (0, rows - wide, self.columns, wide), (0, 0, wide, rows)];
        let last = (self.columns - wide, 0, wide, rows);
        let of = |(x, y, w, h): (usize, usize, usize, usize)| {
            let lines = self.samples.chunks_exact(self.columns).skip(y).take(h);
            let sum: f64 = lines.map(|l| l.iter().skip(x).take(w).map(|s| f64::from(*s)).sum::<f64>()).sum();
            sum / (w * h) as f64
        };
        Some(bands.into_iter().chain([last]).map(of).fold(0.0, f64::max) / signal)
    }

    /// Standard deviation of the quietest corner; none where it is masked to one value.
    fn corners(&self, rows: usize) -> Option<f64> {
        let side = self.columns.min(rows) / 10;
        let far = |length: usize| length.saturating_sub(side + 2);
        let corners = [(2, 2), (far(self.columns), 2), (2, far(rows)), (far(self.columns), far(rows))];
        let deviations = corners.into_iter().map(|(x, y)| deviation(&self.block(x, y, side)));
        deviations.min_by(f64::total_cmp).filter(|d| *d > 0.0)
    }

    fn block(&self, x: usize, y: usize, side: usize) -> Vec<f64> {
        (y..y + side).flat_map(|row| (x..x + side).map(move |column| self.at(column, row))).collect()
    }

    /// Backgrounds beside the body in the middle of each edge: a ghost runs along one direction only.
    fn ghosting(&self, rows: usize, signal: f64) -> Option<f64> {
        let side = self.columns.min(rows) / 16;
        if side < 4 || signal <= 0.0 {
            return None;
        }
        let (middle, far) = ((self.columns / 2, rows / 2), (self.columns - side - 2, rows - side - 2));
        let places = [(middle.0, 2), (middle.0, far.1), (2, middle.1), (far.0, middle.1)];
        let levels = places.map(|(x, y)| median(self.block(x, y, side)).unwrap_or(signal));
        // A body that fills the field leaves no background to see a ghost in.
        if levels.iter().any(|l| *l > BESIDE_THE_BODY * signal) {
            return None;
        }
        let [top, bottom, left, right] = levels;
        Some(((top + bottom) - (left + right)).abs() / (2.0 * signal))
    }

    fn dead_lines(&self, rows: usize) -> usize {
        let of_rows = x12_dead_lines::lines(rows, self.columns, &|line, along| self.at(along, line));
        of_rows + x12_dead_lines::lines(self.columns, rows, &|line, along| self.at(line, along))
    }
}

/// The brightest tenth of the tiles over the darkest.
fn bias(tiles: &[&Detail]) -> Option<f64> {
    let mut levels: Vec<f64> = tiles.iter().map(|t| t.level).filter(|l| *l > 0.0).collect();
    levels.sort_by(f64::total_cmp);
    let (low, high) = (levels.get(levels.len() / 10)?, levels.get(levels.len() * 9 / 10)?);
    (levels.len() >= LEAST_TILES).then(|| high / low)
}

fn sharpness(tiles: &[&Detail]) -> Option<f64> {
    // The structured half of the anatomy: flat tissue holds noise alone.
    let mut by_structure: Vec<&Detail> = tiles.iter().copied().filter(|t| t.coarse_rms > 0.0).collect();
    by_structure.sort_by(|a, b| b.coarse_rms.total_cmp(&a.coarse_rms));
    by_structure.truncate((tiles.len() / 2).max(LEAST_TILES));
    // Rounding to whole values is detail of nobody's; without it a strong blur of an image of few grey levels would look sharp.
    let real = |rms: f64, gain: f64| (rms * rms - gain / 12.0).max(1e-4).sqrt();
    let ratio =
        |t: &&Detail| (real(rms(&t.fine), DETAIL_OF_NOISE.powi(2)) / real(t.coarse_rms, COARSE_OF_NOISE.powi(2))).log2();
    let ratios: Vec<f64> = by_structure.iter().map(ratio).collect();
    if ratios.len() < LEAST_TILES { None } else { median(ratios) }
}

/// The flattest quarter of the anatomy: edges are no noise.
fn noise(tiles: &[&Detail]) -> Option<f64> {
    let mut each: Vec<f64> = tiles.iter().filter_map(|t| middle_of_amounts(&t.fine)).collect();
    each.sort_by(f64::total_cmp);
    let flat = each.get(each.len() / 4).copied();
    flat.filter(|_| each.len() >= LEAST_TILES).map(|mad| FROM_MAD * mad / DETAIL_OF_NOISE)
}

/// The 3 × 3 binomial with its arms `reach` samples long; a border as wide is left as it is.
fn smoothed(tile: &[f32], side: usize, reach: usize) -> Vec<f32> {
    let mut across = tile.to_vec();
    for (to, from) in across.chunks_exact_mut(side).zip(tile.chunks_exact(side)) {
        let beside = from.iter().zip(from.iter().skip(reach)).zip(from.iter().skip(2 * reach));
        for (out, ((before, here), after)) in to.iter_mut().skip(reach).zip(beside) {
            *out = 0.25 * before + 0.5 * here + 0.25 * after;
        }
    }
    let mut down = across.clone();
    let line = |lines: usize| across.chunks_exact(side).skip(lines);
    let beside = line(0).zip(line(reach)).zip(line(2 * reach));
    for (to, ((before, here), after)) in down.chunks_exact_mut(side).skip(reach).zip(beside) {
        for (out, ((before, here), after)) in to.iter_mut().zip(before.iter().zip(here).zip(after)) {
            *out = 0.25 * before + 0.5 * here + 0.25 * after;
        }
    }
    down
}

/// Samples at the border of a tile that are smoothed with less than they should be.
const BORDER: usize = 4;

/// What smoothing took away, inside of the border.
fn difference(of: &[f32], smoothed: &[f32], side: usize) -> Vec<f32> {
    let inner = side.saturating_sub(2 * BORDER);
    let mut taken = vec![0.0; inner * inner];
    let lines = of.chunks_exact(side).zip(smoothed.chunks_exact(side)).skip(BORDER);
    for (to, (a, b)) in taken.chunks_exact_mut(inner.max(1)).zip(lines) {
        let (a, b) = (a.get(BORDER..BORDER + inner).unwrap_or_default(), b.get(BORDER..BORDER + inner).unwrap_or_default());
        to.iter_mut().zip(a.iter().zip(b)).for_each(|(to, (a, b))| *to = a - b);
    }
    taken
}

/// The median of the values without their signs; one in three of them tells it.
fn middle_of_amounts(values: &[f32]) -> Option<f64> {
    let mut amounts: Vec<f32> = values.iter().step_by(3).map(|v| v.abs()).collect();
    let middle = amounts.len() / 2;
    (middle < amounts.len()).then(|| f64::from(*amounts.select_nth_unstable_by(middle, f32::total_cmp).1))
}

#[expect(clippy::cast_precision_loss, reason = "a count of samples")]
fn rms(values: &[f32]) -> f64 {
    let sum: f64 = values.chunks(64).map(|part| f64::from(part.iter().map(|v| v * v).sum::<f32>())).sum();
    (sum / values.len().max(1) as f64).sqrt()
}

#[expect(clippy::cast_precision_loss, reason = "a count of samples")]
fn deviation(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Anatomy of a kind: ramps, edges and fine bars, with noise of a standard deviation.
    fn picture(side: usize, noise: f64) -> Vec<i32> {
        let mut seed = 11u32;
        (0..side * side)
            .map(|i| {
                // A sum of twelve uniform numbers is as good as normal, with a standard deviation of 1.
                let mut uniform = || {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    f64::from(seed >> 8) / f64::from(1u32 << 24) - 0.5
                };
                let random: f64 = (0..12).map(|_| uniform()).sum();
                let (x, y) = ((i % side) as f64, (i / side) as f64);
                let value = 1000.0
                    + 300.0 * (x / 40.0).sin()
                    + 200.0 * (y / 23.0).cos()
                    + if i % side < side / 2 && (i % side) % 37 < 3 { 150.0 } else { 0.0 };
                (value + random * noise).round() as i32
            })
            .collect()
    }

    fn perceive(samples: &[i32], columns: usize) -> Perceived {
        Frame { samples, columns, background: Some(100), of_detector: true }.perceive()
    }

    #[test]
    fn noise_is_measured_as_it_was_made() {
        for noise in [10.0, 20.0, 40.0] {
            let samples = picture(512, noise);
            let frame = Frame { samples: &samples, columns: 512, background: Some(100), of_detector: true };
            let (low, high) = frame.range().unwrap();
            let measured = frame.perceive().noise.unwrap() * (high - low);
            assert!((measured - noise).abs() < 0.1 * noise, "{noise} {measured}");
        }
    }

    #[test]
    fn every_blur_lowers_the_sharpness() {
        let mut samples: Vec<f64> = picture(TILE * 8, 8.0).into_iter().map(f64::from).collect();
        let mut last = f64::MAX;
        for _ in 0..4 {
            let rounded: Vec<i32> = samples.iter().map(|v| v.round() as i32).collect();
            let sharpness = perceive(&rounded, TILE * 8).sharpness.unwrap();
            assert!(sharpness < last - 0.1, "{last} {sharpness}");
            last = sharpness;
            let side = TILE * 8;
            samples = (0..side * side)
                .map(|i| {
                    let at = |j: isize| samples[(i as isize + j).rem_euclid((side * side) as isize) as usize];
                    let row = |o: isize| 0.25 * at(o - 1) + 0.5 * at(o) + 0.25 * at(o + 1);
                    0.25 * row(-(side as isize)) + 0.5 * row(0) + 0.25 * row(side as isize)
                })
                .collect();
        }
    }

    #[test]
    fn dead_lines_are_counted_and_ghosts_seen() {
        let mut samples = picture(512, 5.0);
        assert_eq!(perceive(&samples, 512).dead_lines, 0);
        samples[512 * 200..512 * 201].fill(0);
        (0..512).for_each(|y| samples[y * 512 + 301] = 4000);
        assert_eq!(perceive(&samples, 512).dead_lines, 2);
        let mut block = picture(512, 5.0);
        block[512 * 300..512 * 320].fill(0);
        assert_eq!(perceive(&block, 512).dead_lines, 20);
        let mut shutter = picture(512, 5.0);
        shutter[..512 * 60].fill(0);
        shutter[512 * 200..512 * 300].fill(0);
        assert_eq!(perceive(&shutter, 512).dead_lines, 0, "a shutter, and the gap between two exposures");
        let mut mr = vec![2i32; 256 * 256];
        for y in 60..196 {
            (80..176).for_each(|x| mr[y * 256 + x] = 800);
        }
        let clean = perceive(&mr, 256).ghosting.unwrap();
        (0..256).for_each(|y| (112..144).for_each(|x| mr[y * 256 + x] += 200));
        let ghost = perceive(&mr, 256).ghosting.unwrap();
        assert!(clean < 0.01 && ghost > 0.05, "{clean} {ghost}");
    }

    #[test]
    fn contrast_drift_and_wrapping_are_measured() {
        let plain = || {
            let mut mr = vec![2i32; 256 * 256];
            for y in 40..216 {
                (40..216).for_each(|x| mr[y * 256 + x] = 500 + (x % 7) as i32);
            }
            mr
        };
        let of = |samples: &[i32]| Frame { samples, columns: 256, background: None, of_detector: false }.perceive();
        let (before, edge) = (of(&plain()), of(&plain()).edge.unwrap());
        assert!((1.0..1.05).contains(&before.bright.unwrap()) && before.bias.unwrap() < 1.05 && edge < 0.05, "{before:?}");
        let mut enhanced = plain();
        (100..130).for_each(|y| (60..200).for_each(|x| enhanced[y * 256 + x] = 900));
        assert!(of(&enhanced).bright.unwrap() > 1.7);
        let mut drifting = plain();
        drifting.iter_mut().enumerate().for_each(|(i, v)| *v = *v * (256 - (i / 256) as i32) / 60);
        assert!(of(&drifting).bias.unwrap() > 3.0, "{:?}", of(&drifting));
        let mut wrapped = plain();
        (0..20).for_each(|y| (40..216).for_each(|x| wrapped[y * 256 + x] = 480));
        assert!(of(&wrapped).edge.unwrap() > 0.5);
    }

    #[test]
    fn frames_too_small_empty_or_of_one_grey_measure_nothing() {
        for (samples, columns) in
            [(vec![], 0), (vec![5; 64], 8), (vec![0; 10], 0), (vec![7; 512 * 512], 512), (vec![1; 3], 1000)]
        {
            let got = perceive(&samples, columns);
            assert_eq!((got.sharpness, got.noise, got.dead_lines), (None, None, 0));
        }
    }
}
