//! The mark's text as a coverage mask, anti-aliased, with its outline.

use super::MarkError;
use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

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

/// Draws a text whose Chinese characters are about `height` pixels high.
///
/// # Errors
/// A glyph is missing.
pub fn draw(text: &str, height: u32) -> Result<Mask, MarkError> {
    let font = FontRef::try_from_slice(FONT).map_err(|_| MarkError::NoGlyph('\u{FFFD}'))?;
    #[expect(clippy::cast_precision_loss, reason = "heights are a few hundred pixels")]
    let scale = PxScale::from(height as f32 * 1.25);
    let scaled = font.as_scaled(scale);
    let mut x = 0.0f32;
    let mut glyphs = Vec::new();
    for c in text.chars() {
        let id = font.glyph_id(c);
        if id.0 == 0 {
            return Err(MarkError::NoGlyph(c));
        }
        glyphs.push(id.with_scale_and_position(scale, point(x, scaled.ascent())));
        x += scaled.h_advance(id);
    }
    let outlined: Vec<_> = glyphs.into_iter().filter_map(|g| font.outline_glyph(g)).collect();
    let bounds = outlined.iter().map(|g| g.px_bounds()).reduce(|a, b| ab_glyph::Rect {
        min: point(a.min.x.min(b.min.x), a.min.y.min(b.min.y)),
        max: point(a.max.x.max(b.max.x), a.max.y.max(b.max.y)),
    });
    let Some(bounds) = bounds else { return Err(MarkError::NoGlyph(' ')) };
    let stroke = (height / 12).max(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounds of a drawn text are small and ordered")]
    let (width, rows) = (bounds.width().ceil() as u32 + 2 * stroke, bounds.height().ceil() as u32 + 2 * stroke);
    let mut fill = vec![0u8; (width * rows) as usize];
    for glyph in outlined {
        let b = glyph.px_bounds();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "inside the bounds above")]
        let (left, top) = ((b.min.x - bounds.min.x) as u32 + stroke, (b.min.y - bounds.min.y) as u32 + stroke);
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
    let outline = dilate(&fill, width, rows, stroke);
    Ok(Mask { width, height: rows, fill, outline })
}

/// The largest value within `radius` of each pixel, in a circle.
fn dilate(mask: &[u8], width: u32, height: u32, radius: u32) -> Vec<u8> {
    let r = i64::from(radius);
    let circle: Vec<(i64, i64)> = (-r..=r)
        .flat_map(|dy| (-r..=r).map(move |dx| (dx, dy)))
        .filter(|(dx, dy)| dx * dx + dy * dy <= r * r + r / 2)
        .collect();
    let at = |x: i64, y: i64| {
        let inside = x >= 0 && y >= 0 && x < i64::from(width) && y < i64::from(height);
        let index = usize::try_from(y * i64::from(width) + x).ok().filter(|_| inside);
        index.and_then(|i| mask.get(i)).copied().unwrap_or(0)
    };
    let rows = (0..i64::from(height)).flat_map(|y| (0..i64::from(width)).map(move |x| (x, y)));
    rows.map(|(x, y)| circle.iter().map(|(dx, dy)| at(x + dx, y + dy)).max().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_glyph_is_an_error_and_no_gap() {
        assert_eq!(draw("渝北 \u{20BB7}", 30).err(), Some(MarkError::NoGlyph('\u{20BB7}')));
        let mask = draw("渝北 HR", 30).unwrap();
        assert!(mask.fill.iter().any(|v| *v > 200) && mask.outline.len() == mask.fill.len());
        assert!(mask.width > 80 && (26..48).contains(&mask.height), "{}x{}", mask.width, mask.height);
    }
}
