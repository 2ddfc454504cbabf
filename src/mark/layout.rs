//! Where the mark stands and how large it is.

use super::MarkError;
use super::glyphs::{Mask, draw};
use crate::procedure::catalogue::{Corner, Mark};

/// A mask with its place in the image.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Left edge, columns.
    pub x: u32,
    /// Upper edge, rows.
    pub y: u32,
    /// The text.
    pub mask: Mask,
}

/// Text height as a share of the shorter side of the image.
const SHARE: u32 = 18;
/// Below this height Chinese characters cannot be read.
const LEAST: u32 = 12;

/// Places a mark in an image.
///
/// # Errors
/// The image is too small, or a glyph is missing.
pub fn place(mark: &Mark, rows: u32, columns: u32) -> Result<Placed, MarkError> {
    let short = rows.min(columns);
    let mut height = (short / SHARE).max(LEAST + 2);
    loop {
        let mask = draw(&mark.text(), height)?;
        let margin = (height / 3).max(2);
        if mask.width + 2 * margin <= columns && mask.height + 2 * margin <= rows {
            let x = match mark.corner {
                Corner::TopRight => columns - mask.width - margin,
                Corner::TopLeft => margin,
            };
            return Ok(Placed { x, y: margin, mask });
        }
        height -= 1;
        if height < LEAST {
            return Err(MarkError::TooSmall(columns, rows));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procedure::catalogue::MarkStyle;

    #[test]
    fn the_mark_is_at_the_top_right_at_every_size_that_can_hold_it() {
        let mark = Mark {
            range: "渝北".into(),
            sign: "HR".into(),
            separator: " ".into(),
            style: MarkStyle::BurnText,
            corner: Corner::TopRight,
        };
        for (rows, columns) in [(64, 64), (256, 192), (512, 512), (3000, 2500), (4000, 4000)] {
            let placed = place(&mark, rows, columns).unwrap();
            assert!(placed.x + placed.mask.width <= columns && placed.x + placed.mask.width > columns * 9 / 10);
            assert!(placed.y < rows / 8 && placed.mask.height * 10 >= rows.min(columns) / 2, "{rows}x{columns}");
        }
        assert_eq!(place(&mark, 32, 32).err(), Some(MarkError::TooSmall(32, 32)));
    }
}
