//! Pictures of frames for people: window, palette and colour applied, eight bits a channel.

use super::object::Object;
use crate::codec::{DecodeError, Frame, Pool, samples};
use crate::dicom::{Attributes, levels, tags};
use crate::mark::tone::Palette;
use image::{DynamicImage, ImageFormat, RgbImage};
use std::io::Cursor;

/// Window centre and width, in the units of the modality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Centre.
    pub center: f64,
    /// Width, at least 1.
    pub width: f64,
}

/// Renders a frame (counted from 0) with a window, its own, or one that spans its values.
///
/// # Errors
/// The frame cannot be decoded.
pub fn picture(object: &Object, number: u32, window: Option<Window>, pool: &Pool) -> Result<DynamicImage, DecodeError> {
    let layout = object.layout().map_err(|e| DecodeError::Damaged(e.to_string()))?;
    let frame = object.frame(number, &layout, pool)?;
    let attributes = Attributes::decode(&object.data_set, |tag| levels::level_of(tag).is_some());
    let (columns, rows) = (frame.layout.columns, frame.layout.rows);
    if frame.layout.photometric == "PALETTE COLOR" || frame.layout.samples > 1 {
        let pixels = colour(&frame, Palette::of(&object.data_set).as_ref());
        return RgbImage::from_raw(columns, rows, pixels).map(DynamicImage::from).ok_or_else(short);
    }
    let pixels = grey(&frame, &attributes, window);
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

/// PS3.3 C.11.2.1.2: the linear function, over the modality's output values.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
fn grey(frame: &Frame, attributes: &Attributes, window: Option<Window>) -> Vec<u8> {
    let values = samples::read(frame);
    let slope = attributes.float(tags::RESCALE_SLOPE).filter(|s| *s != 0.0).unwrap_or(1.0);
    let intercept = attributes.float(tags::RESCALE_INTERCEPT).unwrap_or(0.0);
    let output = |v: i32| f64::from(v) * slope + intercept;
    let own = || {
        let (center, width) = (attributes.float(tags::WINDOW_CENTER)?, attributes.float(tags::WINDOW_WIDTH)?);
        (width >= 1.0).then_some(Window { center, width })
    };
    let window = window.or_else(own).unwrap_or_else(|| spanning(&values, attributes, &output));
    let (center, width) = (window.center - 0.5, (window.width - 1.0).max(1.0));
    let inverse = attributes.text(tags::PRESENTATION_LUT_SHAPE) == Some("INVERSE") || frame.layout.is_inverted();
    let shade = |v: i32| {
        let share = ((output(v) - center) / width + 0.5).clamp(0.0, 1.0);
        let share = if inverse { 1.0 - share } else { share };
        (share * 255.0).round() as u8
    };
    values.into_iter().map(shade).collect()
}

/// A window over the values that are there, padding left out.
fn spanning(values: &[i32], attributes: &Attributes, output: &impl Fn(i32) -> f64) -> Window {
    let padding = attributes.int(tags::PIXEL_PADDING_VALUE);
    let real = values.iter().filter(|v| Some(i64::from(**v)) != padding);
    let (low, high) = real.fold((i32::MAX, i32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let (low, high) = if low > high { (0.0, 1.0) } else { (output(low).min(output(high)), output(low).max(output(high))) };
    Window { center: f64::midpoint(low, high) + 0.5, width: (high - low + 1.0).max(1.0) }
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
