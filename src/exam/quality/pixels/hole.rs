//! X-06, C-18: a rectangle of one value with sharp edges where anatomy was: data that were lost, or covered. [`super::band`] tells rows from
//! side to side; this tells the rest. The air around a body and round fields have no straight sharp edges, and a rectangular field stands
//! at both ends of an image.

use crate::exam::finding::{Finding, Level};

/// A rectangle, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// First column, and the one after the last.
    pub columns: (usize, usize),
    /// First row, and the one after the last.
    pub rows: (usize, usize),
}

/// Side of the squares that are looked at, pixels.
const SQUARE: usize = 8;

/// Share of the samples along an edge that differ from the rectangle, from where on it is sharp.
const SHARP: f64 = 0.5;

/// What makes a rectangle a fault, as shares of the image.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// With anatomy on three or four sides, or in a corner.
    pub share: f64,
    /// From an end of the image on, along a whole side.
    pub edge_share: f64,
}

/// The largest rectangle of one value, if it is a fault; with its share of the image.
#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
pub fn fault(samples: &[i32], columns: usize, limits: Limits) -> Option<(Hole, f64)> {
    let rows = samples.len().checked_div(columns)?;
    let (found, value) = largest(samples, columns)?;
    let image = Image { samples, columns, rows, value };
    let hole = image.grown(found);
    let (left, right, top, bottom) = image.edges(&hole);
    let share = ((hole.columns.1 - hole.columns.0) * (hole.rows.1 - hole.rows.0)) as f64 / samples.len().max(1) as f64;
    let inner = [left, right, top, bottom].into_iter().flatten();
    if inner.clone().any(|sharpness| sharpness < SHARP) {
        return None;
    }
    let is_fault = match inner.count() {
        0 => false,
        // From one end on: so is a field stored that is narrower than the image, but then at both ends.
        1 => share > limits.edge_share && !image.has_the_same_opposite(&hole),
        _ => share > limits.share,
    };
    is_fault.then_some((hole, share))
}

/// The finding. A person looks: it may be what somebody covered on purpose.
pub fn finding(check: &str, (hole, share): (Hole, f64), limits: Limits) -> Finding {
    let ((left, right), (top, bottom)) = (hole.columns, hole.rows);
    let zh =
        format!("第 {}–{right} 列、第 {}–{bottom} 行的矩形区域为单一灰度，数据可能丢失或被遮盖，请核对原图", left + 1, top + 1);
    let en = format!(
        "a rectangle of one value stands in columns {} to {right}, rows {} to {bottom}: data were lost or covered; compare it with the source",
        left + 1,
        top + 1
    );
    Finding::new(check, Level::Review, zh, en).measured(share, limits.share, "of image")
}

/// The largest rectangle of squares that all hold the same one value: the largest rectangle under a skyline, row by row.
fn largest(samples: &[i32], columns: usize) -> Option<(Hole, i32)> {
    let across = columns / SQUARE;
    // Of each column of squares: the value of the lowest ones, and how many there are of it.
    let mut sky: Vec<(Option<i32>, usize)> = vec![(None, 0); across];
    let mut best: Option<(usize, Hole, i32)> = None;
    for (y, band) in samples.chunks_exact(SQUARE * columns).enumerate() {
        for (x, (value, height)) in sky.iter_mut().enumerate() {
            let here = uniform(band, columns, x * SQUARE);
            *height = if here.is_some() && here == *value { *height + 1 } else { usize::from(here.is_some()) };
            *value = here;
        }
        // Rectangles that may still grow to the right: where they begin, how high.
        let mut open: Vec<(usize, usize, i32)> = Vec::new();
        for x in 0..=across {
            let (value, height) = sky.get(x).copied().unwrap_or((None, 0));
            let mut begin = x;
            while let Some(&(from, high, of)) = open.last() {
                if Some(of) == value && high <= height {
                    break;
                }
                open.pop();
                if best.is_none_or(|(area, ..)| (x - from) * high > area) {
                    let rows = ((y + 1 - high) * SQUARE, (y + 1) * SQUARE);
                    best = Some(((x - from) * high, Hole { columns: (from * SQUARE, x * SQUARE), rows }, of));
                }
                // A lower one of the same value begins where the higher did.
                begin = if Some(of) == value { from } else { x };
            }
            if let Some(value) = value {
                open.push((begin, height, value));
            }
        }
    }
    best.map(|(_, hole, value)| (hole, value))
}

/// The value of a square all of whose samples are alike.
fn uniform(band: &[i32], columns: usize, x: usize) -> Option<i32> {
    let first = band.get(x)?;
    let mut lines = band.chunks_exact(columns).filter_map(|line| line.get(x..x + SQUARE));
    lines.all(|line| line.iter().all(|s| s == first)).then_some(*first)
}

struct Image<'a> {
    samples: &'a [i32],
    columns: usize,
    rows: usize,
    value: i32,
}

impl Image<'_> {
    fn at(&self, x: usize, y: usize) -> Option<i32> {
        self.samples.get(y * self.columns + x).copied()
    }

    /// Share of a column within rows that differs from the value.
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    fn column(&self, x: usize, (top, bottom): (usize, usize)) -> f64 {
        let other = (top..bottom).filter(|y| self.at(x, *y) != Some(self.value)).count();
        other as f64 / (bottom - top).max(1) as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    fn row(&self, y: usize, (left, right): (usize, usize)) -> f64 {
        let other = (left..right).filter(|x| self.at(*x, y) != Some(self.value)).count();
        other as f64 / (right - left).max(1) as f64
    }

    /// Grown by the lines that the squares did not reach.
    fn grown(&self, mut hole: Hole) -> Hole {
        while hole.columns.0 > 0 && self.column(hole.columns.0 - 1, hole.rows) == 0.0 {
            hole.columns.0 -= 1;
        }
        while hole.columns.1 < self.columns && self.column(hole.columns.1, hole.rows) == 0.0 {
            hole.columns.1 += 1;
        }
        while hole.rows.0 > 0 && self.row(hole.rows.0 - 1, hole.columns) == 0.0 {
            hole.rows.0 -= 1;
        }
        while hole.rows.1 < self.rows && self.row(hole.rows.1, hole.columns) == 0.0 {
            hole.rows.1 += 1;
        }
        hole
    }

    /// How sharp the edges left, right, above and below are; none at an end of the image.
    fn edges(&self, hole: &Hole) -> (Option<f64>, Option<f64>, Option<f64>, Option<f64>) {
        (
            hole.columns.0.checked_sub(1).map(|x| self.column(x, hole.rows)),
            (hole.columns.1 < self.columns).then(|| self.column(hole.columns.1, hole.rows)),
            hole.rows.0.checked_sub(1).map(|y| self.row(y, hole.columns)),
            (hole.rows.1 < self.rows).then(|| self.row(hole.rows.1, hole.columns)),
        )
    }

    /// Whether lines of one value stand at the other end too, at least half as many.
    fn has_the_same_opposite(&self, hole: &Hole) -> bool {
        let alike = |mut line: Vec<Option<i32>>| {
            line.dedup();
            line.len() == 1
        };
        let column = |x: usize| alike((0..self.rows).map(|y| self.at(x, y)).collect());
        let row = |y: usize| alike((0..self.columns).map(|x| self.at(x, y)).collect());
        let (wide, high) = (hole.columns.1 - hole.columns.0, hole.rows.1 - hole.rows.0);
        match (hole.columns, hole.rows) {
            ((0, right), _) if right < self.columns => {
                (right..self.columns).rev().take_while(|x| column(*x)).count() * 2 >= wide
            }
            ((left, _), _) if left > 0 => (0..left).take_while(|x| column(*x)).count() * 2 >= wide,
            (_, (0, bottom)) => (bottom..self.rows).rev().take_while(|y| row(*y)).count() * 2 >= high,
            (_, (top, _)) => (0..top).take_while(|y| row(*y)).count() * 2 >= high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { share: 0.02, edge_share: 0.25 };

    /// 200 columns, 160 rows, with rectangles of zeros.
    fn image(blank: &[Hole]) -> Vec<i32> {
        let inside = |x: usize, y: usize| {
            blank.iter().any(|h| (h.columns.0..h.columns.1).contains(&x) && (h.rows.0..h.rows.1).contains(&y))
        };
        let value = |i: usize| if inside(i % 200, i / 200) { 0 } else { 5 + i32::try_from(i * 31 % 97).unwrap() };
        (0..200 * 160).map(value).collect()
    }

    fn hole(columns: (usize, usize), rows: (usize, usize)) -> Hole {
        Hole { columns, rows }
    }

    #[test]
    fn rectangles_of_one_value_are_found_to_the_sample() {
        for lost in [
            hole((0, 100), (0, 160)),
            hole((101, 200), (0, 160)),
            hole((61, 142), (43, 99)),
            hole((0, 67), (0, 53)),
            hole((130, 200), (3, 90)),
            hole((0, 90), (70, 160)),
            hole((83, 117), (0, 160)),
        ] {
            assert_eq!(fault(&image(&[lost]), 200, LIMITS).map(|f| f.0), Some(lost));
        }
    }

    #[test]
    fn fields_air_and_small_labels_are_no_holes() {
        for blank in [
            vec![],
            vec![hole((0, 40), (0, 160)), hole((165, 200), (0, 160))],
            vec![hole((0, 30), (0, 160))],
            vec![hole((10, 30), (10, 30))],
            vec![hole((0, 200), (0, 160))],
        ] {
            assert_eq!(fault(&image(&blank), 200, LIMITS), None, "{blank:?}");
        }
        let disc: Vec<i32> = (0i32..200 * 160)
            .map(|i| if (i % 200 - 130).pow(2) + (i / 200 - 80).pow(2) < 3600 { 7 + i % 5 } else { 0 })
            .collect();
        assert_eq!(fault(&disc, 200, LIMITS), None);
        assert_eq!(fault(&[], 0, LIMITS), None);
        assert_eq!(fault(&[1; 20], 5, LIMITS), None);
    }
}
