//! Pictures of frames for people: window, palette and colour applied, eight bits a channel.

use super::object::Object;
use crate::codec::{DecodeError, Frame, Pool, samples};
use crate::dicom::grey::{Grey, Voi};
use crate::dicom::palette::Palette;
use crate::dicom::{Attributes, tags};
use image::{DynamicImage, ImageFormat, RgbImage};
use std::io::Cursor;

/// Renders a frame (counted from 0) with a window, its own, or one that spans its values.
///
/// # Errors
/// The frame cannot be decoded.
pub fn picture(object: &Object, number: u32, window: Option<Voi>, pool: &Pool) -> Result<DynamicImage, DecodeError> {
    let layout = object.layout().map_err(|e| DecodeError::Damaged(e.to_string()))?;
    let frame = object.frame(number, &layout, pool)?;
    let attributes = object.attributes_of(number);
    let (columns, rows) = (frame.layout.columns, frame.layout.rows);
    if frame.layout.photometric == "PALETTE COLOR" || frame.layout.samples > 1 {
        let pixels = colour(&frame, Palette::of(&object.data_set, frame.layout.signed).as_ref());
        return RgbImage::from_raw(columns, rows, pixels).map(DynamicImage::from).ok_or_else(short);
    }
    let pixels = grey(&frame, &Grey::of(&object.data_set, &attributes, &frame.layout), window, &attributes);
    image::GrayImage::from_raw(columns, rows, pixels).map(DynamicImage::from).ok_or_else(short)
}

fn short() -> DecodeError {
    DecodeError::Damaged("fewer samples than rows and columns promise".into())
}

/// As PNG or JPEG bytes.
///
/// # Errors
/// The encoder fails.
pub fn encode(picture: &DynamicImage, format: ImageFormat) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
fn grey(frame: &Frame, shown: &Grey, asked: Option<Voi>, attributes: &Attributes) -> Vec<u8> {
    let values = samples::read(frame);
    let padding = attributes.int(tags::PIXEL_PADDING_VALUE);
    let real = values.iter().map(|v| i64::from(*v)).filter(|v| Some(*v) != padding);
    let (least, most) = real.fold((i64::MAX, i64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let (least, most) = if least > most { (0, 1) } else { (least, most) };
    let voi = asked.or_else(|| shown.voi.first().cloned()).unwrap_or_else(|| shown.spanning(least, most));
    let shade = |v: i64| (shown.shade(&voi, v) * 255.0).round().clamp(0.0, 255.0) as u8;
    // A table of all values that occur costs less than as many exponentials or lookups.
    let from = values.iter().min().copied().unwrap_or(0);
    let to = values.iter().max().copied().unwrap_or(0);
    if i64::from(to) - i64::from(from) < 1 << 17 {
        let table: Vec<u8> = (from..=to).map(|v| shade(i64::from(v))).collect();
        let at = |v: i32| usize::try_from(i64::from(v) - i64::from(from)).ok().and_then(|i| table.get(i)).copied();
        return values.into_iter().map(|v| at(v).unwrap_or(0)).collect();
    }
    values.into_iter().map(|v| shade(i64::from(v))).collect()
}

fn colour(frame: &Frame, palette: Option<&Palette>) -> Vec<u8> {
    let values = samples::read(frame);
    let shift = frame.layout.bits_stored.saturating_sub(8);
    let byte = |v: i32| u8::try_from((v >> shift).clamp(0, 255)).unwrap_or(255);
    match (frame.layout.photometric.as_str(), palette) {
        ("PALETTE COLOR", Some(palette)) => values.into_iter().flat_map(|v| palette.of_value(i64::from(v))).collect(),
        ("PALETTE COLOR", None) => values.into_iter().flat_map(|v| [byte(v); 3]).collect(),
        (p, _) if p.starts_with("YBR") => {
            values.as_chunks::<3>().0.iter().flat_map(|[y, cb, cr]| ybr_to_rgb(byte(*y), byte(*cb), byte(*cr))).collect()
        }
        _ => values
            .chunks(frame.layout.samples as usize)
            .flat_map(|p| p.iter().take(3).map(|v| byte(*v)).collect::<Vec<_>>())
            .collect(),
    }
}

/// PS3.3 C.7.6.3.1.2, full range.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
fn ybr_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (f64::from(y), f64::from(cb) - 128.0, f64::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| v.round().clamp(0.0, 255.0) as u8)
}
