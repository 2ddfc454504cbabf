//! From stored value to shade, as a viewer does it (PS3.4 N.2): modality transformation, VOI transformation, presentation.

use super::image::Layout;
use super::palette::{described, plain_entries};
use super::{Attributes, DataSet, tags};

/// A grey lookup table (PS3.3 C.11.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The input that the first entry is for.
    pub first: i64,
    entries: Vec<u16>,
    /// Largest output.
    largest: u16,
}

impl Table {
    /// `inputs` is what can come in: it tells whether the first input is a number with a sign, which a value representation that Implicit VR
    /// does not write, and that devices get wrong, would tell (C.11.2.1.1).
    pub fn of(item: &DataSet, inputs: (f64, f64)) -> Option<Table> {
        let descriptor = item.bytes(tags::LUT_DESCRIPTOR)?;
        let (count, bits) = described(descriptor)?;
        let entries = plain_entries(item.bytes(tags::LUT_DATA)?, count, bits);
        let first = u16::from_le_bytes(*descriptor.as_chunks::<2>().0.get(1)?);
        let (plain, signed) = (i64::from(first), i64::from(first.cast_signed()));
        let shared = |first: i64| (inputs.1.min(first as f64 + count as f64) - inputs.0.max(first as f64)).max(0.0);
        let first = if shared(signed) > shared(plain) || (shared(plain) <= 0.0 && inputs.0 < 0.0) { signed } else { plain };
        let stated = u16::try_from((1u32 << bits) - 1).unwrap_or(u16::MAX);
        // Tables that hold more than they state would be cut off.
        let largest = entries.iter().max().copied().unwrap_or(0).max(stated);
        (entries.len() == count).then_some(Table { first, entries, largest })
    }

    /// The output for an input; inputs outside take the ends.
    fn output(&self, input: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the table's length")]
        let at = input.round().clamp(self.first as f64, self.first as f64 + self.entries.len() as f64) as i64 - self.first;
        let entry = usize::try_from(at).ok().and_then(|i| self.entries.get(i)).or(self.entries.last());
        f64::from(entry.copied().unwrap_or(0))
    }

    /// First and last input.
    pub fn domain(&self) -> (i64, i64) {
        (self.first, self.first + i64::try_from(self.entries.len()).unwrap_or(1) - 1)
    }

    /// As a Presentation LUT (C.11.6): from shades to shades, 0 for black to 1 for white.
    pub fn of_shade(&self, shade: f64) -> f64 {
        let (first, last) = self.domain();
        self.output(first as f64 + shade * (last - first) as f64) / f64::from(self.largest.max(1))
    }
}

/// From stored values to what the modality means (C.11.1).
#[derive(Debug, Clone, PartialEq)]
pub enum Modality {
    /// Rescale Slope and Intercept.
    Linear(f64, f64),
    /// A Modality LUT.
    Table(Table),
}

impl Modality {
    /// The modality's value of a stored one.
    pub fn value(&self, stored: i64) -> f64 {
        match self {
            Modality::Linear(slope, intercept) => stored as f64 * slope + intercept,
            Modality::Table(table) => table.output(stored as f64),
        }
    }

    /// The stored value of a modality's one; of a table the nearest entry's.
    pub fn stored(&self, value: f64) -> f64 {
        match self {
            Modality::Linear(slope, intercept) => (value - intercept) / slope,
            Modality::Table(table) => {
                let distance = |entry: &u16| (f64::from(*entry) - value).abs();
                let nearest = table.entries.iter().enumerate().min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
                table.first as f64 + nearest.map_or(0.0, |(i, _)| i as f64)
            }
        }
    }
}

/// From the modality's values to shades (C.11.2).
#[derive(Debug, Clone, PartialEq)]
pub enum Voi {
    /// C.11.2.1.2.1: centre and width, at least 1.
    Linear(f64, f64),
    /// C.11.2.1.3.2.
    LinearExact(f64, f64),
    /// C.11.2.1.3.1.
    Sigmoid(f64, f64),
    /// A VOI LUT.
    Table(Table),
}

impl Voi {
    /// With a function by its name in VOI LUT Function (0028,1056); none for an impossible width.
    pub fn window(function: &str, center: f64, width: f64) -> Option<Voi> {
        let possible = center.is_finite() && width.is_finite();
        match function {
            "LINEAR_EXACT" if possible && width > 0.0 => Some(Voi::LinearExact(center, width)),
            "SIGMOID" if possible && width > 0.0 => Some(Voi::Sigmoid(center, width)),
            "LINEAR" | "" if possible && width >= 1.0 => Some(Voi::Linear(center, width)),
            _ => None,
        }
    }

    /// 0 for black to 1 for white.
    pub fn shade(&self, value: f64) -> f64 {
        match self {
            Voi::Linear(center, width) if *width <= 1.0 => f64::from(u8::from(value > center - 0.5)),
            Voi::Linear(center, width) => ((value - (center - 0.5)) / (width - 1.0) + 0.5).clamp(0.0, 1.0),
            Voi::LinearExact(center, width) => ((value - center) / width + 0.5).clamp(0.0, 1.0),
            Voi::Sigmoid(center, width) => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
            Voi::Table(table) => table.output(value) / f64::from(table.largest.max(1)),
        }
    }

    /// Where it begins to be black and white.
    pub fn edges(&self) -> (f64, f64) {
        match self {
            Voi::Linear(center, width) | Voi::LinearExact(center, width) => (center - width / 2.0, center + width / 2.0),
            Voi::Sigmoid(center, width) => (center - 2.0 * width, center + 2.0 * width),
            Voi::Table(table) => (table.domain().0 as f64, table.domain().1 as f64),
        }
    }
}

/// What an object says of how it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Grey {
    /// Modality transformation.
    pub modality: Modality,
    /// The choices of VOI transformation, tables first; may be empty.
    pub voi: Vec<Voi>,
    /// Large values are dark: MONOCHROME1, or Presentation LUT Shape INVERSE.
    pub inverse: bool,
}

impl Grey {
    /// From an object and what holds for one of its frames.
    pub fn of(data_set: &DataSet, attributes: &Attributes, layout: &Layout) -> Grey {
        let (low, high) = layout.range();
        let stored = (low as f64, high as f64);
        let table = data_set.items(tags::MODALITY_LUT_SEQUENCE).first().and_then(|item| Table::of(item, stored));
        let slope = attributes.float(tags::RESCALE_SLOPE).filter(|s| *s != 0.0 && s.is_finite()).unwrap_or(1.0);
        let intercept = attributes.float(tags::RESCALE_INTERCEPT).filter(|i| i.is_finite()).unwrap_or(0.0);
        let modality = table.map_or(Modality::Linear(slope, intercept), Modality::Table);
        let outputs = match &modality {
            Modality::Linear(..) => {
                let ends = [modality.value(low), modality.value(high)];
                (ends[0].min(ends[1]), ends[0].max(ends[1]))
            }
            Modality::Table(table) => (0.0, f64::from(table.largest)),
        };
        let tables = data_set.items(tags::VOILUT_SEQUENCE).iter().filter_map(|item| Table::of(item, outputs)).map(Voi::Table);
        let function = attributes.text(tags::VOILUT_FUNCTION).unwrap_or("LINEAR");
        let widths = attributes.floats(tags::WINDOW_WIDTH);
        let windows = attributes.floats(tags::WINDOW_CENTER).into_iter().zip(widths);
        let voi = tables.chain(windows.filter_map(|(center, width)| Voi::window(function, center, width))).collect();
        // MONOCHROME1 with INVERSE is one way of saying one thing (C.11.6.1.2).
        let inverse = layout.is_inverted() || attributes.text(tags::PRESENTATION_LUT_SHAPE) == Some("INVERSE");
        Grey { modality, voi, inverse }
    }

    /// The shade of a stored value, 0 for black to 1 for white.
    pub fn shade(&self, voi: &Voi, stored: i64) -> f64 {
        let shade = voi.shade(self.modality.value(stored));
        if self.inverse { 1.0 - shade } else { shade }
    }

    /// A window that shows all of a range of stored values.
    pub fn spanning(&self, least: i64, most: i64) -> Voi {
        let (a, b) = (self.modality.value(least), self.modality.value(most));
        let (low, high) = (a.min(b), a.max(b));
        Voi::Linear(f64::midpoint(low, high) + 0.5, (high - low + 1.0).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{VR, Value};

    #[test]
    fn windows_are_those_of_the_standard() {
        // C.11.2.1.2.1: centre 2048 and width 4096 spread 0 to 4095; width 1 is a threshold.
        let wide = Voi::Linear(2048.0, 4096.0);
        assert_eq!((wide.shade(0.0), wide.shade(4095.0)), (0.0, 1.0));
        assert_eq!((Voi::Linear(0.0, 1.0).shade(-1.0), Voi::Linear(0.0, 1.0).shade(0.0)), (0.0, 1.0));
        assert!((Voi::Sigmoid(10.0, 5.0).shade(10.0) - 0.5).abs() < 1e-9);
        assert_eq!(Voi::window("LINEAR", 1.0, 0.5), None);
        assert_eq!(Voi::window("LINEAR_EXACT", 0.5, 1.0).unwrap().shade(1.0), 1.0);
    }

    #[test]
    fn tables_replace_slope_and_window() {
        let layout = Layout {
            rows: 1,
            columns: 1,
            samples: 1,
            bits_allocated: 16,
            bits_stored: 12,
            high_bit: 11,
            signed: true,
            photometric: "MONOCHROME2".into(),
            planar: false,
            frames: 1,
        };
        let lut = |first: i16, entries: &[u16]| {
            let mut item = DataSet::default();
            let words = [u16::try_from(entries.len()).unwrap(), first.cast_unsigned(), 12];
            let bytes = |w: &[u16]| Value::Bytes(w.iter().flat_map(|w| w.to_le_bytes()).collect());
            item.put(tags::LUT_DESCRIPTOR, VR::US, bytes(&words));
            item.put(tags::LUT_DATA, VR::OW, bytes(entries));
            Value::Items(vec![item])
        };
        let mut data_set = DataSet::default();
        data_set.put(tags::MODALITY_LUT_SEQUENCE, VR::SQ, lut(-2, &[100, 101, 102, 103]));
        data_set.put(tags::VOILUT_SEQUENCE, VR::SQ, lut(100, &[4095, 0, 2048, 1024]));
        let grey = Grey::of(&data_set, &Attributes::default(), &layout);
        assert_eq!((grey.modality.value(-2), grey.modality.value(9), grey.modality.stored(103.0)), (100.0, 103.0, 1.0));
        assert_eq!((grey.shade(&grey.voi[0], -2), grey.shade(&grey.voi[0], -1)), (1.0, 0.0));
    }
}
