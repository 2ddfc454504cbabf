//! Which stored values show as light and as dark, at the default window and at the usual ones of the modality.

use super::MarkError;
use crate::codec::{Frame, samples};
use crate::dicom::{Attributes, DataSet, tags};

/// What letters and outline are painted with, one value for each sample of a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tones {
    /// The letters: light.
    pub light: Vec<i64>,
    /// The outline: dark.
    pub dark: Vec<i64>,
    /// Values in between are shades in between; false for a palette.
    pub blends: bool,
}

/// Windows that radiologists use on CT whatever the header says: brain, soft tissue, lung, bone; centre and width, HU.
const CT_WINDOWS: &[(f64, f64)] = &[(40.0, 80.0), (40.0, 400.0), (-600.0, 1600.0), (500.0, 2000.0)];

/// Chooses the tones for a frame.
///
/// # Errors
/// No two values show as light and dark.
pub fn choose(frame: &Frame, data_set: &DataSet, attributes: &Attributes) -> Result<Tones, MarkError> {
    let l = &frame.layout;
    if !matches!(l.bits_allocated, 8 | 16 | 32) {
        return Err(MarkError::Bits(l.bits_allocated));
    }
    let (low, high) = l.range();
    match l.photometric.as_str() {
        "PALETTE COLOR" => palette(data_set),
        "YBR_FULL" | "YBR_PARTIAL_420" => {
            let middle = (high + 1) / 2;
            Ok(Tones { light: vec![high, middle, middle], dark: vec![low, middle, middle], blends: true })
        }
        _ if l.samples > 1 => {
            Ok(Tones { light: vec![high; l.samples as usize], dark: vec![low; l.samples as usize], blends: true })
        }
        _ => Ok(grey(frame, attributes)),
    }
}

fn grey(frame: &Frame, attributes: &Attributes) -> Tones {
    let (low, high) = frame.layout.range();
    let slope = attributes.float(tags::RESCALE_SLOPE).filter(|s| *s != 0.0).unwrap_or(1.0);
    let intercept = attributes.float(tags::RESCALE_INTERCEPT).unwrap_or(0.0);
    let stored = |output: f64| (output - intercept) / slope;
    // What is there already shows as light and dark in any window that shows the image at all.
    let values = samples::read(frame);
    let least = values.iter().min().copied().unwrap_or(0);
    let most = values.iter().max().copied().unwrap_or(0);
    let (mut bottom, mut top) = (f64::from(least), f64::from(most));
    let own = attributes.floats(tags::WINDOW_CENTER).into_iter().zip(attributes.floats(tags::WINDOW_WIDTH));
    let usual = if attributes.text(tags::KVP).is_some() && is_hounsfield(attributes) { CT_WINDOWS } else { &[] };
    for (centre, width) in own.chain(usual.iter().copied()) {
        for edge in [stored(centre - width / 2.0), stored(centre + width / 2.0)] {
            bottom = bottom.min(edge.floor());
            top = top.max(edge.ceil());
        }
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "clamped to the stored range first")]
    let within = |value: f64| value.clamp(low as f64, high as f64) as i64;
    let (mut dark, mut light) = (within(bottom), within(top));
    if dark == light {
        (dark, light) = (low, high);
    }
    let inverse = attributes.text(tags::PRESENTATION_LUT_SHAPE) == Some("INVERSE");
    // Each of these turns light and dark around. MONOCHROME1 with INVERSE is one way of saying one thing (PS3.3 C.11.6.1.2).
    if (frame.layout.is_inverted() || inverse) != (slope < 0.0) {
        (dark, light) = (light, dark);
    }
    Tones { light: vec![light], dark: vec![dark], blends: true }
}

fn is_hounsfield(attributes: &Attributes) -> bool {
    attributes.has(tags::RESCALE_INTERCEPT) && attributes.text(tags::RESCALE_TYPE).is_none_or(|t| t == "HU")
}

/// The lightest and darkest entry of the palette (PS3.3 C.7.6.3.1.5).
fn palette(data_set: &DataSet) -> Result<Tones, MarkError> {
    let Some(palette) = Palette::of(data_set) else { return Err(MarkError::NoContrast) };
    let brightness = |entry: usize| {
        let [r, g, b] = palette.colour(entry);
        u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114
    };
    let light = (0..palette.len()).max_by_key(|i| brightness(*i)).unwrap_or(0);
    let dark = (0..palette.len()).min_by_key(|i| brightness(*i)).unwrap_or(0);
    if brightness(light).saturating_sub(brightness(dark)) < 100_000 {
        return Err(MarkError::NoContrast);
    }
    let value = |entry: usize| palette.first + i64::try_from(entry).unwrap_or(0);
    Ok(Tones { light: vec![value(light)], dark: vec![value(dark)], blends: false })
}

/// A colour lookup table.
pub struct Palette {
    /// The stored value of its first entry.
    pub first: i64,
    tables: [Vec<u8>; 3],
}

impl Palette {
    /// From the three tables of a data set; none when they are missing or segmented.
    pub fn of(data_set: &DataSet) -> Option<Palette> {
        let red = data_set.bytes(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR)?.as_chunks::<2>().0;
        let number = |i: usize| red.get(i).map(|b| u16::from_le_bytes(*b));
        let entries = match number(0)? {
            0 => 65_536,
            n => usize::from(n),
        };
        let first = i64::from(number(1)?);
        let bits = number(2)?;
        let table = |tag| {
            let bytes = data_set.bytes(tag)?;
            // Eight-bit entries are packed two to a word, unless the table is as long as 16-bit ones.
            let table: Vec<u8> = if bits == 8 && bytes.len() < entries * 2 {
                bytes.iter().take(entries).copied().collect()
            } else {
                let shift = if bits == 8 { 0 } else { 8 };
                let narrow = |b: &[u8; 2]| u8::try_from((u16::from_le_bytes(*b) >> shift) & 0xFF).unwrap_or(0);
                bytes.as_chunks::<2>().0.iter().take(entries).map(narrow).collect()
            };
            (table.len() == entries).then_some(table)
        };
        let tables = [
            table(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA)?,
            table(tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA)?,
            table(tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA)?,
        ];
        Some(Palette { first, tables })
    }

    fn len(&self) -> usize {
        self.tables.iter().map(Vec::len).min().unwrap_or(0)
    }

    fn colour(&self, entry: usize) -> [u8; 3] {
        self.tables.each_ref().map(|t| t.get(entry).or(t.last()).copied().unwrap_or(0))
    }

    /// The colour of a stored value; values outside the table take its ends.
    pub fn of_value(&self, value: i64) -> [u8; 3] {
        self.colour(usize::try_from(value - self.first).unwrap_or(0))
    }
}
