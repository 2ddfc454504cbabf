//! Which stored values show as light and as dark, at the default window and at the usual ones of the modality.

use super::MarkError;
use crate::codec::{Frame, samples};
use crate::dicom::grey::{Grey, Voi};
use crate::dicom::image::Layout;
use crate::dicom::palette::Palette;
use crate::dicom::{Attributes, DataSet, tags, uids};

/// What letters and outline are painted with, one value for each sample of a pixel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tones {
    /// The letters: light.
    pub light: Vec<i64>,
    /// The outline: dark.
    pub dark: Vec<i64>,
    /// Of a palette: the entries from outline to letter, for the edges of letters. Empty where values in between are shades in between.
    pub ramp: Vec<i64>,
    /// Stored values that are no shades: padding, and colours of a supplemental palette. Inclusive ranges.
    pub never: Vec<(i64, i64)>,
}

impl Tones {
    /// A value on the edge of a letter, moved out of what is no shade: to the nearer side of it that can be stored; `was` where there is none.
    pub fn shown(&self, value: i64, was: i64) -> i64 {
        let is_never = |v: i64| self.never.iter().any(|(low, high)| (*low..=*high).contains(&v));
        let Some((low, high)) = self.never.iter().find(|(low, high)| (*low..=*high).contains(&value)) else { return value };
        if value == was {
            return was;
        }
        // What lies between the two tones can be stored.
        let ends = || self.light.iter().chain(&self.dark).copied();
        let (Some(least), Some(most)) = (ends().min(), ends().max()) else { return was };
        let beside =
            [low.saturating_sub(1), high.saturating_add(1)].into_iter().filter(|v| (least..=most).contains(v) && !is_never(*v));
        beside.min_by_key(|v| v.abs_diff(value)).unwrap_or(was)
    }
}

/// Windows that radiologists use on CT whatever the header says: brain, soft tissue, lung, bone; centre and width, HU.
const CT_WINDOWS: &[(f64, f64)] = &[(40.0, 80.0), (40.0, 400.0), (-600.0, 1600.0), (500.0, 2000.0)];

/// Whether tones depend on what all frames of an object hold: nothing says how it is shown, and a viewer keeps one window for all.
pub fn looks_at_all(layout: &Layout, data_set: &DataSet, attributes: &Attributes) -> bool {
    layout.frames > 1 && layout.is_grey() && Grey::of(data_set, attributes, layout).voi.is_empty()
}

/// The ends of what a frame holds, its padding left out.
pub fn held(frame: &Frame, data_set: &DataSet) -> Option<(i64, i64)> {
    samples::extent(frame, padding(data_set, frame.layout.signed))
}

/// Chooses the tones for a frame; `held` are the ends of what the whole object holds, where that counts.
///
/// # Errors
/// No two values show as light and dark.
pub fn choose(
    frame: &Frame,
    data_set: &DataSet,
    attributes: &Attributes,
    held: Option<(i64, i64)>,
) -> Result<Tones, MarkError> {
    let l = &frame.layout;
    if !matches!(l.bits_allocated, 8 | 16 | 32) {
        return Err(MarkError::Bits(l.bits_allocated));
    }
    let (low, high) = l.range();
    match (l.photometric.as_str(), l.samples) {
        ("PALETTE COLOR", 1) => palette(data_set, l.signed, l.range()),
        ("YBR_FULL", 3) => {
            let middle = (high + 1) / 2;
            Ok(Tones { light: vec![high, middle, middle], dark: vec![low, middle, middle], ..Tones::default() })
        }
        ("RGB", 3) => Ok(Tones { light: vec![high; 3], dark: vec![low; 3], ..Tones::default() }),
        ("MONOCHROME1" | "MONOCHROME2", 1) => grey(frame, data_set, attributes, held),
        (other, _) => Err(MarkError::Colours(other.into())),
    }
}

/// Least difference between letters and outline, of the way from black to white, in every presentation of the image's own.
const CONTRAST: f64 = 0.3;
/// A presentation that spreads less than this over the way from black to white shows nothing.
const NOTHING: f64 = 0.02;

fn grey(frame: &Frame, data_set: &DataSet, attributes: &Attributes, held: Option<(i64, i64)>) -> Result<Tones, MarkError> {
    let (bottom, top) = frame.layout.range();
    // From the first mapped value on a supplemental palette shows colours, not shades.
    let colours = supplemental(data_set, frame.layout.signed);
    let range = (bottom, colours.map_or(top, |first| top.min(first - 1)));
    if range.0 >= range.1 {
        return Err(MarkError::NoContrast);
    }
    let shown = Grey::of(data_set, attributes, &frame.layout);
    let padding = padding(data_set, frame.layout.signed);
    let is_padding = |v: i64| padding.is_some_and(|(low, high)| (low..=high).contains(&v));
    // What is there already shows as light and dark in any window that shows the image at all.
    let (least, most) = held.or_else(|| samples::extent(frame, padding)).unwrap_or(range);
    let (least, most) = (least.min(range.1), most.min(range.1));
    let mut own = shown.voi.clone();
    if own.is_empty() {
        own.push(shown.spanning(least, most));
    }
    // A window that shows nothing of the image, beside one that does, is nobody's.
    let spread = |p: &Voi, from: i64, to: i64| (shown.shade(p, to) - shown.shade(p, from)).abs();
    if own.iter().any(|p| spread(p, least, most) > CONTRAST) {
        own.retain(|p| matches!(p, Voi::Table(_)) || spread(p, least, most) > NOTHING);
    }
    let mut presentations = own.clone();
    if is_ct(data_set) && is_hounsfield(attributes) {
        let usual = CT_WINDOWS.iter().map(|(center, width)| Voi::Linear(*center, *width));
        // One that is all black or white over what can be stored shows no value, and tells none from another.
        presentations.extend(usual.filter(|p| spread(p, range.0, range.1) > NOTHING));
    }
    let mut candidates = candidates(&shown, &presentations, (least, most), range, &is_padding);
    // A frame of nothing but padding has no value of its own: those beside the padding look like it.
    if let Some((from, to)) = padding {
        candidates.extend([from - 1, to + 1].into_iter().filter(|v| (range.0..=range.1).contains(v)));
    }
    let worst_light = |v: i64| presentations.iter().map(|p| shown.shade(p, v)).fold(1.0, f64::min);
    let worst_dark = |v: i64| presentations.iter().map(|p| shown.shade(p, v)).fold(0.0, f64::max);
    // Of several that are equally good the first stands nearest to what the image holds.
    let light = candidates.iter().copied().reduce(|a, b| if worst_light(b) > worst_light(a) + 0.01 { b } else { a });
    let dark = candidates.iter().copied().reduce(|a, b| if worst_dark(b) < worst_dark(a) - 0.01 { b } else { a });
    let (Some(light), Some(dark)) = (light, dark) else { return Err(MarkError::NoContrast) };
    // In a usual window the range of what can be stored may leave less; in the image's own ones the mark must stand out.
    let contrast = own.iter().map(|p| shown.shade(p, light) - shown.shade(p, dark)).fold(1.0, f64::min);
    if contrast < CONTRAST || presentations.iter().any(|p| folds(&shown, p, dark, light)) {
        return Err(MarkError::NoContrast);
    }
    let never = padding.into_iter().chain(colours.map(|first| (first, i64::MAX))).collect();
    Ok(Tones { light: vec![light], dark: vec![dark], never, ..Tones::default() })
}

/// Whether a table shows the values between outline and letter, which the letters' edges take, darker again than one before.
fn folds(shown: &Grey, presentation: &Voi, dark: i64, light: i64) -> bool {
    const STEPS: i64 = 64;
    if !matches!(presentation, Voi::Table(_)) {
        return false;
    }
    let shades = (0..=STEPS).map(|step| shown.shade(presentation, dark + (light - dark) * step / STEPS));
    let mut lightest = 0.0f64;
    shades.into_iter().any(|shade| {
        lightest = lightest.max(shade);
        shade < lightest - CONTRAST
    })
}

/// Stored values to choose from: the ends of what the image holds and of what its windows show, of its tables, and of what can be stored.
fn candidates(
    shown: &Grey,
    presentations: &[Voi],
    (least, most): (i64, i64),
    (low, high): (i64, i64),
    is_padding: &dyn Fn(i64) -> bool,
) -> Vec<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the stored range first")]
    let within = |value: f64| value.clamp(low as f64, high as f64) as i64;
    let edges = presentations.iter().flat_map(|p| <[f64; 2]>::from(p.edges())).map(|edge| shown.modality.stored(edge));
    let (bottom, top) = edges.fold((least as f64, most as f64), |(b, t), e| (b.min(e.floor()), t.max(e.ceil())));
    let mut list = vec![least, most, within(bottom), within(top)];
    // Tables may be bright and dark anywhere.
    for presentation in presentations.iter().filter(|p| matches!(p, Voi::Table(_))) {
        let (from, to) = (within(bottom), within(top));
        let step = usize::try_from((to - from) / 4096).unwrap_or(0) + 1;
        let shade = |v: &i64| shown.shade(presentation, *v);
        let sampled = || (from..=to).step_by(step);
        list.extend(sampled().max_by(|a, b| shade(a).total_cmp(&shade(b))));
        list.extend(sampled().min_by(|a, b| shade(a).total_cmp(&shade(b))));
    }
    list.extend([low, high]);
    // What pads the image is not shown: a letter of that value would not be either.
    list.retain(|v| !is_padding(*v));
    list
}

/// The range of values that pad the image (PS3.3 C.7.5.1.1.2).
fn padding(data_set: &DataSet, signed: bool) -> Option<(i64, i64)> {
    let number = |tag| {
        let raw = data_set.u16(tag)?;
        Some(if signed { i64::from(raw.cast_signed()) } else { i64::from(raw) })
    };
    let value = number(tags::PIXEL_PADDING_VALUE)?;
    let limit = number(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(value);
    Some((value.min(limit), value.max(limit)))
}

/// The first stored value that a Supplemental Palette Color LUT maps (C.7.6.19), where there is one.
fn supplemental(data_set: &DataSet, signed: bool) -> Option<i64> {
    // Tables that a device left behind map nothing (Pixel Presentation, C.8.16.2.1.2).
    let shown = data_set.text(tags::PIXEL_PRESENTATION).unwrap_or_default();
    if !matches!(shown.trim(), "COLOR" | "MIXED") {
        return None;
    }
    let descriptor = data_set.bytes(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR)?.as_chunks::<2>().0;
    let first = u16::from_le_bytes(*descriptor.get(1)?);
    Some(if signed { i64::from(first.cast_signed()) } else { i64::from(first) })
}

fn is_ct(data_set: &DataSet) -> bool {
    const CLASSES: &[&str] =
        &[uids::CT_IMAGE_STORAGE, uids::ENHANCED_CT_IMAGE_STORAGE, uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE];
    let text = |tag| data_set.text(tag).unwrap_or_default();
    text(tags::MODALITY) == "CT" || CLASSES.contains(&text(tags::SOP_CLASS_UID).as_str())
}

/// Some devices call Hounsfield units unspecified.
fn is_hounsfield(attributes: &Attributes) -> bool {
    let kind = attributes.text(tags::RESCALE_TYPE);
    attributes.has(tags::RESCALE_INTERCEPT) && kind.is_none_or(|t| matches!(t, "HU" | "HU_MOD" | "US" | ""))
}

/// The lightest and darkest entry of the palette (PS3.3 C.7.6.3.1.5).
fn palette(data_set: &DataSet, signed: bool, (low, high): (i64, i64)) -> Result<Tones, MarkError> {
    let Some(palette) = Palette::of(data_set, signed) else { return Err(MarkError::NoContrast) };
    let brightness = |entry: usize| {
        let [r, g, b] = palette.colour(entry);
        u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114
    };
    let value = |entry: usize| palette.first + i64::try_from(entry).unwrap_or(0);
    // Tables can be longer than what a sample can name.
    let entries: Vec<usize> = (0..palette.len()).filter(|i| (low..=high).contains(&value(*i))).collect();
    let light = entries.iter().copied().max_by_key(|i| brightness(*i)).unwrap_or(0);
    let dark = entries.iter().copied().min_by_key(|i| brightness(*i)).unwrap_or(0);
    if brightness(light).saturating_sub(brightness(dark)) < 100_000 {
        return Err(MarkError::NoContrast);
    }
    let (from, to) = (palette.colour(dark), palette.colour(light));
    let ramp = (0..RAMP).map(|step| {
        let wanted = |i: usize| {
            let ends = from.get(i).zip(to.get(i)).map_or((0, 0), |(a, b)| (i64::from(*a), i64::from(*b)));
            ends.0 + (ends.1 - ends.0) * step / (RAMP - 1)
        };
        let distance = |entry: &usize| -> i64 {
            let colour = palette.colour(*entry);
            colour.iter().enumerate().map(|(i, c)| (i64::from(*c) - wanted(i)).pow(2)).sum()
        };
        entries.iter().copied().min_by_key(distance).map_or(0, value)
    });
    Ok(Tones { light: vec![value(light)], dark: vec![value(dark)], ramp: ramp.collect(), never: vec![] })
}

/// Steps from outline to letter in a palette.
const RAMP: i64 = 9;
