//! Where the mark stands and how large it is: in the corner of what a viewer shows.

use super::MarkError;
use super::glyphs::{Face, Mask};
use crate::dicom::displayed::Displayed;
use crate::dicom::{Attributes, DataSet, tags};
use crate::procedure::catalogue::{Backdrop, Mark};
use std::sync::Arc;

/// A mask with its place in the image.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Left edge, columns.
    pub x: u32,
    /// Upper edge, rows.
    pub y: u32,
    /// The text.
    pub mask: Arc<Mask>,
}

impl Placed {
    /// Its box, left, upper, right, lower, grown to the corner of an image of this size.
    pub fn to_corner(&self, mark: &Mark, columns: u32, rows: u32) -> [f64; 4] {
        let (at_left, at_bottom) = mark.corner.sides();
        let (right, lower) = (self.x + self.mask.width, self.y + self.mask.height);
        let (left, right) = if at_left { (0, right) } else { (self.x, columns) };
        let (upper, lower) = if at_bottom { (self.y, rows) } else { (0, lower) };
        [left, upper, right, lower].map(f64::from)
    }
}

/// Below this height Chinese characters cannot be read at all.
const LEAST: u32 = 12;
/// From this height on they are read with ease, also by OCR: small images get it where it takes no more than [`WIDEST`] of their width.
const EASY: u32 = 22;
/// Share of the width, percent, that a mark of the easy height may take.
const WIDEST: u32 = 40;

/// The matrix that the mark goes into.
#[derive(Debug, Clone)]
pub struct Canvas {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
    /// Height of a pixel by its width, as a viewer shows it.
    pub aspect: f64,
    /// What of it is shown.
    pub displayed: Displayed,
}

impl Canvas {
    /// With square pixels, all of it shown.
    pub fn plain(rows: u32, columns: u32) -> Canvas {
        Canvas { rows, columns, aspect: 1.0, displayed: Displayed::default() }
    }

    /// From an object and what holds for its first frame.
    pub fn of(data_set: &DataSet, attributes: &Attributes, rows: u32, columns: u32) -> Canvas {
        Canvas { rows, columns, aspect: aspect(data_set, attributes), displayed: Displayed::of(data_set) }
    }
}

/// PS3.3 C.7.6.3.1.7: stated, or the ratio of the spacings; 1 where that is beyond belief.
fn aspect(data_set: &DataSet, attributes: &Attributes) -> f64 {
    let stated = Attributes::decode(data_set, |tag| tag == tags::PIXEL_ASPECT_RATIO).floats(tags::PIXEL_ASPECT_RATIO);
    let spacings = [tags::PIXEL_SPACING, tags::IMAGER_PIXEL_SPACING].map(|tag| attributes.floats(tag));
    let ratio = |pair: &Vec<f64>| match pair.as_slice() {
        [vertical, horizontal] if *vertical > 0.0 && *horizontal > 0.0 => Some(vertical / horizontal),
        _ => None,
    };
    let found = std::iter::once(&stated).chain(&spacings).find_map(ratio);
    found.filter(|r| (0.2..=5.0).contains(r)).unwrap_or(1.0)
}

/// Places a mark in an image: as near to its corner as shutters, collimators and overlays leave room.
///
/// # Errors
/// The image or what is shown of it is too small, or a glyph is missing.
pub fn place(mark: &Mark, canvas: &Canvas) -> Result<Placed, MarkError> {
    let face = Face::of(&mark.look)?;
    let Canvas { rows, columns, aspect, .. } = *canvas;
    let short = (f64::from(rows) * aspect).min(f64::from(columns)) / aspect;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most five times a small number")]
    let rows_of = |height: u32| (f64::from(height) / aspect.min(1.0)).ceil() as u32;
    // Where pixels are wider than high, columns are what letters have too few of.
    let (least, easiest) = (rows_of(LEAST), rows_of(EASY));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of at most 65,535 rows")]
    let wanted = ((short * mark.look.size_percent / 100.0).round() as u32).max(least + 2);
    #[expect(clippy::cast_possible_truncation, reason = "between a fifth and five")]
    let easy = |height: &u32| face.draw(&mark.text(), *height, aspect as f32).is_ok_and(|m| m.width * 100 <= columns * WIDEST);
    let mut height = (wanted + 1..=easiest).rev().find(easy).unwrap_or(wanted);
    let mut fits = false;
    while height >= least {
        #[expect(clippy::cast_possible_truncation, reason = "between a fifth and five")]
        let mut mask = face.draw(&mark.text(), height, aspect as f32)?;
        if mark.look.backdrop == Backdrop::Box {
            Arc::make_mut(&mut mask).outline.fill(u8::MAX);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a height")]
        let margin = ((f64::from(height) * mark.look.margin_percent / 100.0).round() as u32).max(2);
        if mask.width + 2 * margin <= columns && mask.height + 2 * margin <= rows {
            fits = true;
            if let Some((x, y)) = corner(mark, canvas, &mask, margin) {
                return Ok(Placed { x, y, mask });
            }
        }
        height -= (height / 8).max(1);
    }
    Err(if fits { MarkError::Hidden } else { MarkError::TooSmall(columns, rows) })
}

/// The nearest place to the corner where all of a mask is shown and nothing is drawn over it. It leaves that quarter where all of it is hidden, but
/// not for what is drawn there: who looks for the mark must find it.
fn corner(mark: &Mark, canvas: &Canvas, mask: &Mask, margin: u32) -> Option<(u32, u32)> {
    let (at_left, at_bottom) = mark.corner.sides();
    let (free_x, free_y) = (canvas.columns - mask.width - 2 * margin, canvas.rows - mask.height - 2 * margin);
    let place = |dx: u32, dy: u32| {
        let x = if at_left { margin + dx } else { margin + free_x - dx };
        let y = if at_bottom { margin + free_y - dy } else { margin + dy };
        (x, y)
    };
    if canvas.displayed.is_all() {
        return Some(place(0, 0));
    }
    let step = (mask.height / 6).max(1) as usize;
    let search = |most: (u32, u32), good: &dyn Fn(u32, u32) -> bool| {
        let mut best: Option<(u32, (u32, u32))> = None;
        for dy in (0..=most.1).step_by(step) {
            let farthest = best.map_or(most.0, |(cost, _)| cost.saturating_sub(dy).min(most.0));
            let found = (0..=farthest).step_by(step).map(|dx| (dx + dy, place(dx, dy))).find(|(_, (x, y))| good(*x, *y));
            best = best.into_iter().chain(found).min_by_key(|(cost, _)| *cost);
        }
        best.map(|(_, place)| place)
    };
    let shown = |x: u32, y: u32| canvas.displayed.shows(x, y, mask.width, mask.height);
    let clear = |x: u32, y: u32| shown(x, y) && !canvas.displayed.is_drawn_over(x, y, mask.width, mask.height);
    let quarter = (free_x / 2, free_y / 2);
    search(quarter, &clear).or_else(|| match search(quarter, &shown) {
        Some(_) => None,
        None => search((free_x, free_y), &clear),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::procedure::catalogue::{Corner, Look, MarkStyle};

    fn mark() -> Mark {
        Mark {
            range: "渝北".into(),
            sign: "HR".into(),
            separator: " ".into(),
            style: MarkStyle::BurnText,
            corner: Corner::TopRight,
            look: Look::default(),
        }
    }

    #[test]
    fn the_mark_is_at_the_top_right_at_every_size_that_can_hold_it() {
        for (rows, columns) in [(64, 64), (256, 192), (512, 512), (3000, 2500), (4000, 4000)] {
            let placed = place(&mark(), &Canvas::plain(rows, columns)).unwrap();
            assert!(placed.x + placed.mask.width <= columns && placed.x + placed.mask.width > columns * 9 / 10);
            assert!(placed.y < rows / 8 && placed.mask.height * 10 >= rows.min(columns) / 2, "{rows}x{columns}");
        }
        assert_eq!(place(&mark(), &Canvas::plain(32, 32)).err(), Some(MarkError::TooSmall(32, 32)));
    }

    #[test]
    fn the_other_corners_and_sizes_are_a_matter_of_the_region() {
        let mut mark = mark();
        let small = place(&mark, &Canvas::plain(1000, 1000)).unwrap();
        mark.corner = Corner::BottomLeft;
        mark.look.size_percent = 11.0;
        mark.look.backdrop = Backdrop::Box;
        let large = place(&mark, &Canvas::plain(1000, 1000)).unwrap();
        assert!(large.x < 60 && large.y > 800 && large.mask.height > small.mask.height * 3 / 2);
        assert!(large.mask.outline.iter().all(|v| *v == 255));
    }

    #[test]
    fn pixels_that_are_no_squares_get_letters_that_are_right_when_shown() {
        let mut canvas = Canvas::plain(2048, 2048);
        let square = place(&mark(), &canvas).unwrap().mask;
        canvas.aspect = 2.0;
        // Twice as high as wide: half the rows make up the same height.
        canvas.rows = 1024;
        let tall = place(&mark(), &canvas).unwrap().mask;
        assert!(tall.width.abs_diff(square.width) <= 12 && (tall.height * 2).abs_diff(square.height) <= 12);
        // Four times as wide as high: letters need columns, whatever that takes of the rows.
        canvas = Canvas { aspect: 0.25, ..Canvas::plain(512, 512) };
        let wide = place(&mark(), &canvas).unwrap().mask;
        let plain = place(&mark(), &Canvas::plain(128, 512)).unwrap().mask;
        assert!(wide.width * 2 >= plain.width, "{} {}", wide.width, plain.width);
    }

    #[test]
    fn a_shutter_pushes_the_mark_inwards_and_a_closed_one_is_an_error() {
        let mut data_set = DataSet::default();
        data_set.put_text(tags::SHUTTER_SHAPE, VR::CS, "CIRCULAR");
        data_set.put_text(tags::CENTER_OF_CIRCULAR_SHUTTER, VR::IS, "256\\256");
        data_set.put_text(tags::RADIUS_OF_CIRCULAR_SHUTTER, VR::IS, "250");
        let canvas = Canvas::of(&data_set, &Attributes::default(), 512, 512);
        let placed = place(&mark(), &canvas).unwrap();
        assert!(canvas.displayed.shows(placed.x, placed.y, placed.mask.width, placed.mask.height));
        assert!(placed.x > 200 && placed.y < 150 && placed.mask.height > 25, "{} {}", placed.x, placed.y);
        data_set.put_text(tags::RADIUS_OF_CIRCULAR_SHUTTER, VR::IS, "20");
        let closed = Canvas::of(&data_set, &Attributes::default(), 512, 512);
        assert_eq!(place(&mark(), &closed).err(), Some(MarkError::Hidden));
    }
}
