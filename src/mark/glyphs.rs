//! The mark's text as a coverage mask, anti-aliased, with its outline.

use super::MarkError;
use crate::procedure::catalogue::Look;
use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use std::sync::{Arc, Mutex, PoisonError};

/// Noto Sans CJK SC Bold with the characters of GB 2312; licence in `fonts/OFL.txt`.
const FONT: &[u8] = include_bytes!("fonts/NotoSansCJKsc-Bold-GB2312.otf");

/// A rectangle of coverage, 0 to 255, row by row.
#[derive(Debug, Clone)]
pub struct Mask {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// How much of each pixel the letters cover.
    pub fill: Vec<u8>,
    /// How much of each pixel letters and outline cover.
    pub outline: Vec<u8>,
}

/// A face to draw with.
pub struct Face<'a> {
    font: FontRef<'a>,
    /// Which font it is.
    digest: &'a str,
}

/// What a mask is drawn from: font, text, height, and the width's bits.
type Drawn = (String, String, u32, u32);

/// Masks drawn last, the newest at the end: all slices of a series need the same one.
static LAST: Mutex<Vec<(Drawn, Arc<Mask>)>> = Mutex::new(Vec::new());
/// Masks that are kept.
const KEPT: usize = 32;

impl<'a> Face<'a> {
    /// The font of a mark: its own, else the bundled one.
    ///
    /// # Errors
    /// Its own is no font.
    pub fn of(look: &'a Look) -> Result<Face<'a>, MarkError> {
        let bytes = look.font_file.as_ref().map_or(FONT, |f| &f.bytes);
        let font = FontRef::try_from_slice(bytes);
        let font = font.map_err(|_| MarkError::Font(look.font.clone().unwrap_or_default()))?;
        Ok(Face { font, digest: look.font_digest() })
    }

    /// Whether every character of a text can be drawn.
    ///
    /// # Errors
    /// The first one that cannot.
    pub fn knows(&self, text: &str) -> Result<(), MarkError> {
        // A space is drawn by leaving it out.
        match text.chars().find(|c| self.font.glyph_id(*c).0 == 0 || (!c.is_whitespace() && self.is_blank(*c))) {
            Some(missing) => Err(MarkError::NoGlyph(missing)),
            None => Ok(()),
        }
    }

    fn is_blank(&self, c: char) -> bool {
        self.font.outline(self.font.glyph_id(c)).is_none_or(|outline| outline.curves.is_empty())
    }

    /// Draws a text whose Chinese characters are about `height` pixels high; `wide` is the width of a pixel's place in columns for each
    /// row, 1 for square pixels.
    ///
    /// # Errors
    /// A glyph is missing.
    pub fn draw(&self, text: &str, height: u32, wide: f32) -> Result<Arc<Mask>, MarkError> {
        let key = (self.digest.to_string(), text.to_string(), height, wide.to_bits());
        let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, mask)) = last().iter().find(|(k, _)| *k == key) {
            return Ok(mask.clone());
        }
        let mask = Arc::new(self.draw_now(text, height, wide)?);
        let mut last = last();
        if last.len() >= KEPT {
            last.remove(0);
        }
        last.push((key, mask.clone()));
        Ok(mask)
    }

    fn draw_now(&self, text: &str, height: u32, wide: f32) -> Result<Mask, MarkError> {
        self.knows(text)?;
        #[expect(clippy::cast_precision_loss, reason = "heights are a few hundred pixels")]
        let high = height as f32 * 1.25;
        let scaled = self.font.as_scaled(PxScale { x: high * wide, y: high });
        let mut x = 0.0f32;
        let mut outlined = Vec::new();
        for c in text.chars() {
            let id = self.font.glyph_id(c);
            outlined.extend(self.font.outline_glyph(id.with_scale_and_position(scaled.scale, point(x, scaled.ascent()))));
            x += scaled.h_advance(id);
        }
        let bounds = outlined.iter().map(|g| g.px_bounds()).reduce(|a, b| ab_glyph::Rect {
            min: point(a.min.x.min(b.min.x), a.min.y.min(b.min.y)),
            max: point(a.max.x.max(b.max.x), a.max.y.max(b.max.y)),
        });
        let Some(bounds) = bounds else { return Err(MarkError::NoGlyph(' ')) };
        let stroke = (height / 4).max(2);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a few pixels"
        )]
        let aside = (stroke as f32 * wide).round().max(1.0) as u32;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounds of a drawn text are small and ordered"
        )]
        let (width, rows) = (bounds.width().ceil() as u32 + 2 * aside, bounds.height().ceil() as u32 + 2 * stroke);
        let mut fill = vec![0u8; (width * rows) as usize];
        for glyph in outlined {
            let b = glyph.px_bounds();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "inside the bounds above")]
            let (left, top) = ((b.min.x - bounds.min.x) as u32 + aside, (b.min.y - bounds.min.y) as u32 + stroke);
            glyph.draw(|gx, gy, coverage| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
                let value = (coverage.clamp(0.0, 1.0) * 255.0) as u8;
                let (px, py) = (left + gx, top + gy);
                if px < width
                    && let Some(slot) = fill.get_mut((py * width + px) as usize)
                {
                    *slot = (*slot).max(value);
                }
            });
        }
        let outline = dilate(&fill, width, rows, (aside, stroke));
        Ok(Mask { width, height: rows, fill, outline })
    }
}

/// The largest value within an ellipse around each pixel.
fn dilate(mask: &[u8], width: u32, height: u32, (across, down): (u32, u32)) -> Vec<u8> {
    let (a, b) = (i64::from(across), i64::from(down));
    let inside = |dx: i64, dy: i64| {
        // Half a pixel more than the radius, squared, so that small circles are round.
        let (a, b) = (2 * a + 1, 2 * b + 1);
        4 * dx * dx * b * b + 4 * dy * dy * a * a <= a * a * b * b
    };
    let ellipse: Vec<(i64, i64)> =
        (-b..=b).flat_map(|dy| (-a..=a).map(move |dx| (dx, dy))).filter(|(dx, dy)| inside(*dx, *dy)).collect();
    let (columns, rows) = (i64::from(width), i64::from(height));
    let mut out = vec![0u8; mask.len()];
    // From what is covered outwards: most of the mask is not.
    for (at, value) in (0i64..).zip(mask).filter(|(_, v)| **v > 0) {
        let (x, y) = (at % columns, at / columns);
        for (dx, dy) in &ellipse {
            let (x, y) = (x + dx, y + dy);
            if (0..columns).contains(&x) && (0..rows).contains(&y) {
                let slot = usize::try_from(y * columns + x).ok().and_then(|i| out.get_mut(i));
                if let Some(slot) = slot {
                    *slot = (*slot).max(*value);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procedure::mark::FontFile;

    #[test]
    fn a_missing_glyph_is_an_error_and_no_gap() {
        let look = Look::default();
        let face = Face::of(&look).unwrap();
        assert_eq!(face.draw("渝北 \u{20BB7}", 30, 1.0).err(), Some(MarkError::NoGlyph('\u{20BB7}')));
        let mask = face.draw("渝北 HR", 30, 1.0).unwrap();
        assert!(mask.fill.iter().any(|v| *v > 200) && mask.outline.len() == mask.fill.len());
        assert!(mask.width > 80 && (26..48).contains(&mask.height), "{}x{}", mask.width, mask.height);
        let wide = face.draw("渝北 HR", 30, 2.0).unwrap();
        assert!(wide.height == mask.height && wide.width.abs_diff(2 * mask.width) < 4, "{}", wide.width);
    }

    #[test]
    fn every_character_of_gb_2312_has_a_glyph() {
        let look = Look::default();
        let face = Face::of(&look).unwrap();
        let mut seen = 0;
        // Levels 1 and 2: rows 16 to 87 of 94 cells; the last cells of row 55 are empty.
        for row in 0xB0..=0xF7u8 {
            for cell in 0xA1..=0xFEu8 {
                if row == 0xD7 && cell > 0xF9 {
                    continue;
                }
                let bytes = [row, cell];
                let (text, _, wrong) = encoding_rs::GBK.decode(&bytes);
                assert!(!wrong);
                face.knows(&text).unwrap();
                seen += 1;
            }
        }
        assert_eq!(seen, 6763);
        face.knows("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -_/（）").unwrap();
    }

    #[test]
    fn a_file_that_is_no_font_is_an_error() {
        let file = FontFile::new(b"no font".to_vec());
        let look = Look { font: Some("x.ttf".into()), font_file: Some(file), ..Look::default() };
        assert_eq!(Face::of(&look).err(), Some(MarkError::Font("x.ttf".into())));
    }
}
