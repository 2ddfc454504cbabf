//! X-06, C-18: rows of one value from side to side where anatomy was: a transfer that was cut off and filled up, or lines that were lost. A
//! band at both ends of an image is how a rectangular field is stored, and no fault; nor is air, which anatomy enters little by little.

use crate::exam::finding::{Finding, Level};
use crate::exam::quality::field::Field;
use crate::procedure::catalogue::Pixels;

/// A band of rows of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// First row, from 0.
    pub first: usize,
    /// Number of rows.
    pub rows: usize,
    /// Of the rows of the image.
    pub share: f64,
}

/// What makes a band a fault.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Share of the rows, for a band at an end.
    pub edge_share: f64,
    /// Rows, for a band with anatomy on both sides.
    pub inner_rows: usize,
}

/// Share of a row's samples that differ from the band beside it, from where on its edge is sharp.
const SHARP: f64 = 0.5;

/// The largest band that is a fault, if there is one.
#[expect(clippy::cast_precision_loss, reason = "counts of rows")]
pub fn fault(samples: &[i32], columns: usize, limits: Limits) -> Option<Band> {
    let lines: Vec<&[i32]> = samples.chunks_exact(columns.max(1)).collect();
    let bands = bands(&lines);
    let end = lines.len();
    let at_ends =
        |top: bool| bands.iter().find(|(first, rows)| if top { *first == 0 } else { first + rows == end }).map_or(0, |b| b.1);
    let (top, bottom) = (at_ends(true), at_ends(false));
    let is_sharp = |row: Option<usize>, first: usize| {
        let value = lines.get(first).and_then(|line| line.first());
        let line = row.and_then(|row| lines.get(row)).copied().unwrap_or_default();
        line.iter().filter(|s| Some(*s) != value).count() as f64 > SHARP * line.len().max(1) as f64
    };
    let is_fault = |&(first, rows): &(usize, usize)| {
        let (before, after) = (first.checked_sub(1), Some(first + rows).filter(|row| *row < end));
        let other = if first == 0 { bottom } else { top };
        match (before, after) {
            (None, None) => false,
            (Some(_), Some(_)) => rows >= limits.inner_rows && is_sharp(before, first) && is_sharp(after, first),
            (one, two) => rows as f64 > limits.edge_share * end as f64 && rows > 2 * other && is_sharp(one.or(two), first),
        }
    };
    let largest = bands.iter().filter(|band| is_fault(band)).max_by_key(|(_, rows)| *rows)?;
    Some(Band { first: largest.0, rows: largest.1, share: largest.1 as f64 / end.max(1) as f64 })
}

/// Runs of rows of one value: first row and number.
fn bands(lines: &[&[i32]]) -> Vec<(usize, usize)> {
    let mut bands: Vec<(usize, usize, i32)> = Vec::new();
    for (row, line) in lines.iter().enumerate() {
        let Some((value, rest)) = line.split_first() else { continue };
        if !rest.iter().all(|s| s == value) {
            continue;
        }
        match bands.last_mut() {
            Some((first, rows, of)) if *first + *rows == row && of == value => *rows += 1,
            _ => bands.push((row, 1, *value)),
        }
    }
    bands.into_iter().map(|(first, rows, _)| (first, rows)).collect()
}

/// The finding. One value may be what the device writes where it looks at nothing: a person looks.
pub fn finding(check: &str, band: Band, limit: f64) -> Finding {
    let (first, last) = (band.first + 1, band.first + band.rows);
    Finding::new(
        check,
        Level::Review,
        format!("第{first}至{last}行为单一灰度，图像可能未传完或数据丢失，请核对原图"),
        format!(
            "rows {first} to {last} are of one value: the image may have been cut off or lines lost; compare it with the source"
        ),
    )
    .measured(band.share, limit, "of rows")
}

/// Lines that fit each other much less than their samples do: cut from the stream at another length than they were written with (Rows and
/// Columns exchanged), so that each stands aside of the one above.
pub fn out_of_step(check: &str, field: &Field, limits: &Pixels) -> Option<Finding> {
    let less = field.correlation - field.correlation_down;
    (less > limits.row_correlation).then(|| {
        let zh = "图像各行之间不连续，行列数可能有误，请核对后重新发送";
        let en = "the rows of the image do not fit each other: Rows and Columns may be wrong; check them and send it again";
        Finding::new(check, Level::Review, zh, en).measured(less, limits.row_correlation, "of correlation")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { edge_share: 0.05, inner_rows: 4 };

    fn image(blank: &[std::ops::Range<usize>]) -> Vec<i32> {
        let inside = |row: usize| blank.iter().any(|range| range.contains(&row));
        (0..100 * 100).map(|i| if inside(i / 100) { 0 } else { 5 + i32::try_from(i % 97).unwrap() }).collect()
    }

    #[test]
    fn what_was_cut_off_or_lost_is_told_and_a_rectangular_field_is_not() {
        let at = |blank: &[std::ops::Range<usize>]| fault(&image(blank), 100, LIMITS).map(|b| (b.first, b.rows));
        assert_eq!(at(&[]), None);
        assert_eq!(at(std::slice::from_ref(&(60..100))), Some((60, 40)));
        assert_eq!(at(std::slice::from_ref(&(0..30))), Some((0, 30)));
        assert_eq!(at(std::slice::from_ref(&(96..100))), None, "a narrow rim");
        assert_eq!(at(&[0..14, 86..100]), None, "a rectangular field");
        assert_eq!(at(&[0..5, 60..100]), Some((60, 40)));
        assert_eq!(at(std::slice::from_ref(&(40..44))), Some((40, 4)));
        assert_eq!(at(std::slice::from_ref(&(40..43))), None);
        assert_eq!(fault(&[3; 100], 10, LIMITS), None, "blank: another check's");
        assert_eq!(fault(&[], 0, LIMITS), None);
    }

    #[test]
    fn anatomy_that_begins_little_by_little_has_no_sharp_edge() {
        let disc: Vec<i32> = (0i32..100 * 100)
            .map(|i| if (i % 100 - 50).pow(2) + (i / 100 - 70).pow(2) < 900 { 7 + i % 5 } else { 0 })
            .collect();
        assert_eq!(fault(&disc, 100, LIMITS), None);
    }
}
