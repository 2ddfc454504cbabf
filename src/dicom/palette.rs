//! Colour lookup tables (PS3.3 C.7.6.3.1.5, C.7.9): plain and segmented.

use super::{DataSet, Tag, tags};

/// A colour lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette {
    /// The stored value of its first entry.
    pub first: i64,
    tables: [Vec<u8>; 3],
}

/// Descriptor, table, segmented table of each colour.
const COLOURS: [(Tag, Tag, Tag); 3] = [
    (
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
    (
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
    (
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
];

impl Palette {
    /// From the three tables of a data set; none when one of them is missing or damaged. `signed` is Pixel Representation.
    pub fn of(data_set: &DataSet, signed: bool) -> Option<Palette> {
        let numbers = data_set.bytes(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR)?.as_chunks::<2>().0;
        let first = numbers.get(1).map(|b| u16::from_le_bytes(*b))?;
        let first = if signed { i64::from(first.cast_signed()) } else { i64::from(first) };
        let [red, green, blue] = COLOURS.map(|(descriptor, plain, segmented)| {
            let (entries, bits) = described(data_set.bytes(descriptor)?)?;
            let wide = match data_set.bytes(plain) {
                Some(bytes) => plain_entries(bytes, entries, bits),
                None => expand(data_set.bytes(segmented)?, bits, entries)?,
            };
            // Entries of 8 bits in tables that are declared as 16 are common; those of more are scaled down.
            let shift = bits.saturating_sub(8);
            let table: Vec<u8> = wide.iter().map(|v| u8::try_from((v >> shift) & 0xFF).unwrap_or(0)).collect();
            (table.len() == entries).then_some(table)
        });
        Some(Palette { first, tables: [red?, green?, blue?] })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.tables.iter().map(Vec::len).min().unwrap_or(0)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Red, green and blue of an entry; beyond the end, of the last one.
    pub fn colour(&self, entry: usize) -> [u8; 3] {
        self.tables.each_ref().map(|t| t.get(entry).or(t.last()).copied().unwrap_or(0))
    }

    /// The colour of a stored value; values outside the table take its ends.
    pub fn of_value(&self, value: i64) -> [u8; 3] {
        self.colour(usize::try_from(value - self.first).unwrap_or(0))
    }
}

/// Entries and bits of a descriptor (C.7.6.3.1.5; C.11.1.1 for grey ones).
pub(super) fn described(descriptor: &[u8]) -> Option<(usize, u32)> {
    let numbers = descriptor.as_chunks::<2>().0;
    let entries = match u16::from_le_bytes(*numbers.first()?) {
        0 => 65_536,
        n => usize::from(n),
    };
    let bits = u32::from(u16::from_le_bytes(*numbers.get(2)?));
    (1..=16).contains(&bits).then_some((entries, bits))
}

/// Entries as numbers; those of 8 bits are packed two to a word, unless the table is as long as one of 16 bits.
pub(super) fn plain_entries(bytes: &[u8], entries: usize, bits: u32) -> Vec<u16> {
    if bits <= 8 && bytes.len() < entries * 2 {
        bytes.iter().take(entries).map(|b| u16::from(*b)).collect()
    } else {
        bytes.as_chunks::<2>().0.iter().take(entries).map(|b| u16::from_le_bytes(*b)).collect()
    }
}

/// A segmented table (C.7.9.2): discrete, linear and indirect segments.
fn expand(bytes: &[u8], bits: u32, entries: usize) -> Option<Vec<u16>> {
    let words: Vec<u16> = if bits <= 8 {
        bytes.iter().map(|b| u16::from(*b)).collect()
    } else {
        bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect()
    };
    let mut out = Vec::new();
    segments(&words, 0, usize::MAX, bits, entries, &mut out, true)?;
    out.truncate(entries);
    Some(out)
}

fn segments(
    words: &[u16],
    mut at: usize,
    count: usize,
    bits: u32,
    entries: usize,
    out: &mut Vec<u16>,
    may_refer: bool,
) -> Option<()> {
    let mut done = 0;
    // A padding byte of a table of 8 bits may stand at the end.
    while done < count && out.len() < entries && at + 1 < words.len() {
        let (kind, length) = (*words.get(at)?, usize::from(*words.get(at + 1)?));
        match kind {
            0 => {
                out.extend_from_slice(words.get(at + 2..at + 2 + length)?);
                at += 2 + length;
            }
            1 => {
                let (from, to) = (i64::from(*out.last()?), i64::from(*words.get(at + 2)?));
                let steps = i64::try_from(length).ok()?;
                out.extend((1..=steps).map(|i| u16::try_from(from + (to - from) * i / steps).unwrap_or(0)));
                at += 3;
            }
            // Segments that stand earlier, again; such a segment refers to no other such one.
            2 if may_refer => {
                let words_of = |i: usize| words.get(at + i).map(|w| usize::from(*w));
                let offset = if bits <= 8 {
                    words_of(2)? | words_of(3)? << 8 | words_of(4)? << 16 | words_of(5)? << 24
                } else {
                    words_of(2)? | words_of(3)? << 16
                };
                segments(words, offset, length, bits, entries, out, false)?;
                at += if bits <= 8 { 6 } else { 4 };
            }
            _ => return None,
        }
        done += 1;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{VR, Value};

    fn with(tag: Tag, words: &[u16], data_set: &mut DataSet) {
        let bytes = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        data_set.put(tag, VR::OW, Value::Bytes(bytes));
    }

    #[test]
    fn plain_and_segmented_tables_give_the_same_colours() {
        let mut plain = DataSet::default();
        let mut segmented = DataSet::default();
        for (descriptor, table, segments) in COLOURS {
            with(descriptor, &[6, 10, 16], &mut plain);
            with(descriptor, &[6, 10, 16], &mut segmented);
            with(table, &[0, 0x4000, 0x8000, 0xC000, 0, 0x4000], &mut plain);
            // Two entries, a ramp over two more, then the first segment again.
            with(segments, &[0, 2, 0, 0x4000, 1, 2, 0xC000, 2, 1, 0, 0], &mut segmented);
        }
        let palette = Palette::of(&plain, false).unwrap();
        assert_eq!(Palette::of(&segmented, false).unwrap(), palette);
        assert_eq!((palette.len(), palette.of_value(12), palette.of_value(3)), (6, [0x80; 3], [0; 3]));
        with(COLOURS[1].2, &[0, 9, 1], &mut segmented);
        assert_eq!(Palette::of(&segmented, false), None);
        with(COLOURS[0].0, &[6, 0xFFFE, 16], &mut plain);
        assert_eq!(Palette::of(&plain, true).unwrap().first, -2);
    }
}
