//! A frame on a coarse grid: how much of it is a plateau at one of its ends, or of one value; whether neighbours have anything in common.
//!
//! What is connected to the border at an end of the values is no anatomy: direct exposure, a shutter, the air around a patient at the dark
//! end; whole rows and columns at the bright one, which a collimator covers. It counts for nothing (inside the collimated area, outside
//! direct exposure).

/// What the grid amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Field {
    /// Share of samples at the lowest and at the highest value, of those that are no background.
    pub plateau: (f64, f64),
    /// All four corners are at the lowest, at the highest value and no background: a shutter of any shape, in the shade of the other end.
    pub corners: (bool, bool),
    /// Share of the most frequent value, of those that are no background; told of projections only.
    pub mode: f64,
    /// Share of what is background inside of the rows and columns that are not all of it; told of projections only.
    pub around: f64,
    /// Share of the rows or columns, whichever is more, that are background from end to end; told of projections only.
    pub empty_lines: f64,
    /// Share of the grid that the smallest box around what is no background takes; told of projections only.
    pub filled_box: f64,
    /// Borders along which most cells are no background; told of projections only.
    pub touched: usize,
    /// Correlation of a sample with its right neighbour.
    pub correlation: f64,
    /// Correlation of a sample with the one below it.
    pub correlation_down: f64,
    /// Standard deviation, in stored values.
    pub deviation: f64,
    /// Between the first and the last sample of what is shown, of rows and of columns, the share of samples at the lowest value: gaps in the
    /// body. Told of slices only.
    pub gaps: f64,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A radiograph.
    Projection,
    /// One of many slices.
    Slice,
}

impl Kind {
    /// Grid cells along the longer side.
    fn side(self) -> usize {
        match self {
            Kind::Projection => 160,
            Kind::Slice => 64,
        }
    }
}

/// Rank of the ends: a few dead pixels do not hide a plateau.
const END: f64 = 0.002;

struct Grid {
    columns: usize,
    rows: usize,
    values: Vec<i32>,
}

impl Field {
    /// Of the samples of a grey frame, row by row, `dark_is_high` for MONOCHROME1; none for one too small to say anything.
    pub fn of(samples: &[i32], columns: usize, dark_is_high: bool, kind: Kind) -> Option<Field> {
        let rows = samples.len().checked_div(columns)?;
        if rows < 32 || columns < 32 {
            return None;
        }
        // Of slices odd: lines that were lost by turns, every second or fourth, are met in all their turns.
        let step = rows.max(columns).div_ceil(kind.side()) | usize::from(kind == Kind::Slice);
        let mut grid = Grid { columns: columns.div_ceil(step), rows: rows.div_ceil(step), values: Vec::new() };
        grid.values.reserve_exact(grid.columns * grid.rows);
        let mut pairs = Pairs::from(*samples.first()?);
        let mut down = Pairs::from(*samples.first()?);
        let lines = || samples.chunks_exact(columns);
        let below = lines().skip(1).map(Some).chain(std::iter::once(None));
        for (line, below) in lines().zip(below).step_by(step) {
            // The last sample of a line has no neighbour.
            for (n, two) in line.chunks(step).enumerate() {
                if let [value, next, ..] = two {
                    pairs.add(*value, *next);
                    if let Some(under) = below.and_then(|below| below.get(n * step)) {
                        down.add(*value, *under);
                    }
                }
                grid.values.extend(two.first());
            }
        }
        let mut ranked = grid.values.clone();
        let (low, high) = (rank(&mut ranked, END), rank(&mut ranked, 1.0 - END));
        let mut background = vec![false; grid.values.len()];
        if low < high {
            grid.flood(&mut background, |v| if dark_is_high { v >= high } else { v <= low });
            let mut covered = vec![false; grid.values.len()];
            grid.flood(&mut covered, |v| if dark_is_high { v <= low } else { v >= high });
            grid.keep_lines(&mut covered);
            background.iter_mut().zip(covered).for_each(|(b, c)| *b |= c);
        }
        let (filled_box, touched) = if kind == Kind::Projection { grid.extent(&background) } else { (0.0, 0) };
        Some(Field {
            filled_box,
            touched,
            empty_lines: if kind == Kind::Projection { grid.empty_lines(&background) } else { 0.0 },
            around: if kind == Kind::Projection { grid.around(&background) } else { 0.0 },
            correlation: pairs.correlation(),
            correlation_down: down.correlation(),
            deviation: pairs.deviation(),
            gaps: if kind == Kind::Slice { grid.gaps(low, high) } else { 0.0 },
            ..shares(&grid, &background, (low, high), kind)
        })
    }
}

/// Shares of what is no background.
#[expect(clippy::cast_precision_loss, reason = "counts of a small grid")]
fn shares(grid: &Grid, background: &[bool], (low, high): (i32, i32), kind: Kind) -> Field {
    let (mut at_low, mut at_high, mut all) = (0usize, 0usize, 0usize);
    for value in grid.values.iter().zip(background).filter(|(_, b)| !**b).map(|(v, _)| *v) {
        at_low += usize::from(value <= low);
        at_high += usize::from(value >= high);
        all += 1;
    }
    let share = |n: usize| n as f64 / all.max(1) as f64;
    let mode = if kind == Kind::Projection { most_frequent(grid, background) } else { 0 };
    let corners = |is: &dyn Fn(i32) -> bool| {
        let last = grid.values.len().saturating_sub(1);
        let corners = [0, grid.columns.saturating_sub(1), (last + 1).saturating_sub(grid.columns), last];
        corners.iter().all(|i| background.get(*i) == Some(&false) && grid.values.get(*i).is_some_and(|v| is(*v)))
    };
    let corners = (corners(&|v| v <= low), corners(&|v| v >= high));
    Field { corners, plateau: (share(at_low), share(at_high)), mode: share(mode), ..Field::default() }
}

/// How often the most frequent value occurs that is no background.
fn most_frequent(grid: &Grid, background: &[bool]) -> usize {
    let mut values: Vec<i32> = grid.values.iter().zip(background).filter(|(_, b)| !**b).map(|(v, _)| *v).collect();
    values.sort_unstable();
    values.chunk_by(|a, b| a == b).map(<[i32]>::len).max().unwrap_or(0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index below the length"
)]
fn rank(values: &mut [i32], share: f64) -> i32 {
    let at = (share * values.len().saturating_sub(1) as f64).round() as usize;
    if at < values.len() { *values.select_nth_unstable(at).1 } else { 0 }
}

impl Grid {
    /// Marks what is connected to the border by cells that are so.
    fn flood(&self, marked: &mut [bool], is: impl Fn(i32) -> bool) {
        let mut open: Vec<usize> = (0..self.columns).chain(self.values.len() - self.columns..self.values.len()).collect();
        open.extend((0..self.rows).flat_map(|y| [y * self.columns, (y + 1) * self.columns - 1]));
        while let Some(i) = open.pop() {
            let (Some(value), Some(mark)) = (self.values.get(i), marked.get_mut(i)) else { continue };
            if *mark || !is(*value) {
                continue;
            }
            *mark = true;
            let x = i % self.columns;
            open.extend([
                if x > 0 { i - 1 } else { i },
                if x + 1 < self.columns { i + 1 } else { i },
                i.saturating_sub(self.columns),
                i + self.columns,
            ]);
        }
    }

    /// Leaves marked what is in a row or column that is marked nearly from end to end.
    fn keep_lines(&self, marked: &mut [bool]) {
        let nearly = |count: usize, of: usize| count * 20 >= of * 19;
        let is = |x: usize, y: usize| marked.get(y * self.columns + x) == Some(&true);
        let rows: Vec<bool> =
            (0..self.rows).map(|y| nearly((0..self.columns).filter(|x| is(*x, y)).count(), self.columns)).collect();
        let columns: Vec<bool> =
            (0..self.columns).map(|x| nearly((0..self.rows).filter(|y| is(x, *y)).count(), self.rows)).collect();
        for (i, mark) in marked.iter_mut().enumerate() {
            *mark &= rows.get(i / self.columns) == Some(&true) || columns.get(i % self.columns) == Some(&true);
        }
    }

    /// Share of the grid that the box around the anatomy takes, and how many borders it runs along.
    #[expect(clippy::cast_precision_loss, reason = "counts of a small grid")]
    fn extent(&self, background: &[bool]) -> (f64, usize) {
        let is = |x: usize, y: usize| background.get(y * self.columns + x) == Some(&false);
        let in_row: Vec<usize> = (0..self.rows).map(|y| (0..self.columns).filter(|x| is(*x, y)).count()).collect();
        let in_column: Vec<usize> = (0..self.columns).map(|x| (0..self.rows).filter(|y| is(x, *y)).count()).collect();
        let span = |counts: &[usize]| {
            let (first, last) = (counts.iter().position(|n| *n > 1), counts.iter().rposition(|n| *n > 1));
            first.zip(last).map_or(0, |(a, b)| b + 1 - a)
        };
        let share = (span(&in_row) * span(&in_column)) as f64 / (self.rows * self.columns).max(1) as f64;
        let along = |counts: &[usize], length: usize| {
            [counts.first(), counts.last()].into_iter().flatten().filter(|n| **n * 2 > length).count()
        };
        (share, along(&in_row, self.columns) + along(&in_column, self.rows))
    }

    /// Share of background in the rows and columns that are not background from end to end.
    #[expect(clippy::cast_precision_loss, reason = "counts of a small grid")]
    fn around(&self, background: &[bool]) -> f64 {
        let is = |x: usize, y: usize| background.get(y * self.columns + x) == Some(&true);
        let rows: Vec<usize> = (0..self.rows).filter(|y| !(0..self.columns).all(|x| is(x, *y))).collect();
        let columns: Vec<usize> = (0..self.columns).filter(|x| !(0..self.rows).all(|y| is(*x, y))).collect();
        let inside = rows.iter().flat_map(|y| columns.iter().map(move |x| is(*x, *y)));
        inside.filter(|b| *b).count() as f64 / (rows.len() * columns.len()).max(1) as f64
    }

    /// Share of samples at the lowest value between the first and the last bright one of their row and of their column.
    #[expect(clippy::cast_precision_loss, reason = "counts of a small grid")]
    fn gaps(&self, low: i32, high: i32) -> f64 {
        let bright = i64::from(low) + (i64::from(high) - i64::from(low)) / 5;
        let shown = |x: usize, y: usize| self.values.get(y * self.columns + x).is_some_and(|v| i64::from(*v) > bright);
        let span = |cells: &mut dyn Iterator<Item = bool>| {
            let cells: Vec<bool> = cells.collect();
            cells.iter().position(|c| *c).zip(cells.iter().rposition(|c| *c))
        };
        let rows: Vec<_> = (0..self.rows).map(|y| span(&mut (0..self.columns).map(|x| shown(x, y)))).collect();
        let columns: Vec<_> = (0..self.columns).map(|x| span(&mut (0..self.rows).map(|y| shown(x, y)))).collect();
        let within =
            |at: usize, span: Option<&Option<(usize, usize)>>| span.is_some_and(|s| s.is_some_and(|(a, b)| at > a && at < b));
        let (mut inside, mut empty) = (0usize, 0usize);
        for (i, value) in self.values.iter().enumerate() {
            let (x, y) = (i % self.columns, i / self.columns);
            if within(x, rows.get(y)) && within(y, columns.get(x)) {
                inside += 1;
                empty += usize::from(*value <= low);
            }
        }
        // Of a few cells nothing can be said.
        if inside * 20 < self.values.len() { 0.0 } else { empty as f64 / inside as f64 }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a small grid")]
    fn empty_lines(&self, background: &[bool]) -> f64 {
        let row = |y: &usize| (0..self.columns).all(|x| background.get(y * self.columns + x) == Some(&true));
        let column = |x: &usize| (0..self.rows).all(|y| background.get(y * self.columns + x) == Some(&true));
        let rows = (0..self.rows).filter(row).count() as f64 / self.rows.max(1) as f64;
        rows.max((0..self.columns).filter(column).count() as f64 / self.columns.max(1) as f64)
    }
}

/// Running sums of pairs of neighbours, counted from one value of the frame: small numbers, exact sums.
struct Pairs {
    origin: i32,
    count: u32,
    first: i64,
    second: i64,
    squares: (f64, f64),
    product: f64,
}

impl Pairs {
    fn from(origin: i32) -> Pairs {
        Pairs { origin, count: 0, first: 0, second: 0, squares: (0.0, 0.0), product: 0.0 }
    }

    fn add(&mut self, a: i32, b: i32) {
        let (a, b) = (i64::from(a) - i64::from(self.origin), i64::from(b) - i64::from(self.origin));
        self.count = self.count.saturating_add(1);
        self.first += a;
        self.second += b;
        #[expect(clippy::cast_precision_loss, reason = "differences of 32 bit values")]
        let (a, b) = (a as f64, b as f64);
        self.squares.0 += a * a;
        self.squares.1 += b * b;
        self.product += a * b;
    }

    #[expect(clippy::cast_precision_loss, reason = "sums of a small grid")]
    fn means(&self) -> (f64, f64) {
        let n = f64::from(self.count.max(1));
        (self.first as f64 / n, self.second as f64 / n)
    }

    fn variances(&self) -> (f64, f64) {
        let (n, mean) = (f64::from(self.count.max(1)), self.means());
        ((self.squares.0 / n - mean.0.powi(2)).max(0.0), (self.squares.1 / n - mean.1.powi(2)).max(0.0))
    }

    fn deviation(&self) -> f64 {
        self.variances().0.sqrt()
    }

    /// 1 for a frame of one value, which is no noise.
    fn correlation(&self) -> f64 {
        let (a, b) = self.variances();
        let (n, mean) = (f64::from(self.count.max(1)), self.means());
        // A line of one value beside one that is not has nothing in common with it.
        if (a > 0.0) != (b > 0.0) {
            0.0
        } else if a <= 0.0 {
            1.0
        } else {
            (self.product / n - mean.0 * mean.1) / (a * b).sqrt()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bright disc in a dark surrounding of one value, both with some structure inside the disc.
    fn disc(side: usize, radius: f64) -> Vec<i32> {
        (0..side * side)
            .map(|i| {
                let (x, y) = ((i % side) as f64 - side as f64 / 2.0, (i / side) as f64 - side as f64 / 2.0);
                if x.hypot(y) < radius { 2000 + (300.0 * (x / 15.0).sin() + 200.0 * (y / 9.0).cos()) as i32 } else { 0 }
            })
            .collect()
    }

    #[test]
    fn what_surrounds_the_anatomy_counts_for_nothing() {
        let field = Field::of(&disc(640, 200.0), 640, false, Kind::Projection).unwrap();
        assert!(field.plateau.0 < 0.01 && field.plateau.1 < 0.02 && field.mode < 0.05, "{field:?}");
        assert!(field.correlation > 0.9 && (0.3..0.45).contains(&field.empty_lines), "{field:?}");
        let turned: Vec<i32> = disc(640, 200.0).iter().map(|v| 4095 - v).collect();
        assert_eq!(Field::of(&turned, 640, true, Kind::Projection).unwrap().plateau.1, field.plateau.0);
    }

    #[test]
    fn clipping_emptiness_and_noise_are_seen() {
        let clipped: Vec<i32> = disc(640, 300.0).iter().map(|v| (*v).min(2000)).collect();
        assert!(Field::of(&clipped, 640, false, Kind::Projection).unwrap().plateau.1 > 0.3);
        let mut zeroed = disc(640, 319.0);
        zeroed[..640 * 576].fill(0);
        assert!(Field::of(&zeroed, 640, false, Kind::Projection).unwrap().empty_lines >= 0.89);
        let mut filled = disc(640, 319.0);
        filled[..640 * 576].fill(1900);
        assert!(Field::of(&filled, 640, false, Kind::Projection).unwrap().mode > 0.8);
        let mut seed = 5u32;
        let noise: Vec<i32> = (0..256 * 256)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 20) as i32
            })
            .collect();
        assert!(Field::of(&noise, 256, false, Kind::Projection).unwrap().correlation.abs() < 0.1);
        let ramp: Vec<i32> = (0..640 * 640).map(|i| (i % 640) * 3 + i / 640 * 3).collect();
        let cut: Vec<i32> = ramp.iter().map(|v| (*v).min(1500)).collect();
        assert!(Field::of(&cut, 640, false, Kind::Projection).unwrap().plateau.1 > 0.4, "no straight edge: it was cut off");
        let mut covered = disc(640, 310.0);
        (0..640 * 640).filter(|i| i % 640 < 100 || i % 640 > 560).for_each(|i| covered[i] = 4095);
        assert!(
            Field::of(&covered, 640, false, Kind::Projection).unwrap().plateau.1 < 0.01,
            "what a collimator covers is white"
        );
        assert_eq!(Field::of(&[1; 100], 10, false, Kind::Projection), None);
    }
}
