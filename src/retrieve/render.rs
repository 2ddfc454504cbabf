//! Pictures of frames for people: window, palette and colour applied, eight bits a channel.

use super::object::Object;
use crate::codec::{DecodeError, Frame, Pool, samples};
use crate::dicom::grey::{Grey, Voi};
use crate::dicom::palette::Palette;
use crate::dicom::{Attributes, tags};
use image::{DynamicImage, RgbImage};

/// Centre and width for a CT that states no window: soft tissue, in Hounsfield units.
const SOFT_TISSUE: (f64, f64) = (40.0, 400.0);
/// Of an image that states no window, this part of the samples is black at most, and as much white.
const OUTSIDE: f64 = 0.005;

/// Of so many bits all values are computed at once.
const FEW_BITS: u32 = 12;

/// Renders a frame (counted from 0) with a window, its own, or one that suits its values.
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
fn grey(frame: &Frame, shown: &Grey, asked: Option<Voi>, attributes: &Attributes) -> Vec<u8> {
    let stated = asked.or_else(|| shown.voi.first().cloned());
    let shade = |voi: &Voi, v: i64| (shown.shade(voi, v) * 255.0).round().clamp(0.0, 255.0) as u8;
    if frame.layout.bits_allocated > 16 {
        let values = samples::read_wide(frame);
        let voi = stated.unwrap_or_else(|| suitable(&values, shown, attributes));
        return values.into_iter().map(|v| shade(&voi, v)).collect();
    }
    let voi = stated.unwrap_or_else(|| suitable(&samples::read(frame), shown, attributes));
    if frame.layout.bits_stored <= FEW_BITS {
        return samples::shown(frame, |v| shade(&voi, i64::from(v)));
    }
    // Of many values that could be stored only those between the ends are computed: they may be exponentials or looked up.
    if let Some((from, to)) = samples::extent(frame, None)
        && let Ok(first) = i32::try_from(from)
    {
        let table: Vec<u8> = (from..=to).map(|v| shade(&voi, v)).collect();
        return samples::shown(frame, |v| table.get(v.wrapping_sub(first) as usize).copied().unwrap_or(0));
    }
    Vec::new()
}

/// A window for an image that states none: soft tissue for CT, else one that leaves out the few outermost samples.
fn suitable<T: Copy + Ord + Into<i64>>(values: &[T], shown: &Grey, attributes: &Attributes) -> Voi {
    let padding = attributes.int(tags::PIXEL_PADDING_VALUE);
    let in_hounsfield = attributes.text(tags::MODALITY) == Some("CT") && attributes.has(tags::RESCALE_INTERCEPT);
    if in_hounsfield && let Some(voi) = Voi::window("LINEAR", SOFT_TISSUE.0, SOFT_TISSUE.1) {
        return voi;
    }
    let mut real: Vec<i64> = values.iter().map(|v| (*v).into()).filter(|v| Some(*v) != padding).collect();
    let Some(last) = real.len().checked_sub(1) else { return shown.spanning(0, 1) };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index below the length"
    )]
    let outside = (last as f64 * OUTSIDE) as usize;
    let low = *real.select_nth_unstable(outside).1;
    let high = *real.select_nth_unstable(last - outside).1;
    let (least, most) = if low < high {
        (low, high)
    } else {
        // Nearly all samples are alike: what differs is what there is to see.
        real.iter().fold((i64::MAX, i64::MIN), |(l, h), v| (l.min(*v), h.max(*v)))
    };
    shown.spanning(least, most)
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
