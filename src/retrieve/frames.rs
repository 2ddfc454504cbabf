//! One frame of an object, decoded; the others are not touched.

use super::object::{Object, ObjectError};
use crate::codec::{DecodeError, Frame, Pool, native_frame, pack_bits, packed_bits_frame, planes};
use crate::dicom::dataset::{Extent, Value, swap};
use crate::dicom::image::Layout;
use crate::dicom::{VR, tags, uids};

impl Object {
    /// The shape of its frames.
    ///
    /// # Errors
    /// It is no image, or describes an impossible one.
    pub fn layout(&self) -> Result<Layout, ObjectError> {
        Layout::of_data_set(&self.data_set).map_err(|e| ObjectError::Pixels(e.to_string()))
    }

    /// Decodes a frame, counted from 0.
    ///
    /// # Errors
    /// Why it cannot be had; whose fault it is.
    pub fn frame(&self, number: u32, layout: &Layout, pool: &Pool) -> Result<Frame, DecodeError> {
        let element = self.data_set.get(tags::PIXEL_DATA);
        // An image without them was cut off before they came.
        let Some(element) = element else { return Err(DecodeError::Short { got: 0, wanted: layout.total_bytes() }) };
        match &element.value {
            Value::Deferred(extent) => self.native(number, layout, *extent, element.vr),
            Value::Fragments(fragments) => {
                let bytes = self.fragments_of(fragments, number, layout.frames)?;
                // Uncompressed in fragments (1.2.840.10008.1.2.1.98).
                if self.transfer_syntax == "1.2.840.10008.1.2.1.98" {
                    return native_frame(layout, bytes.concat(), 1);
                }
                pool.decode(layout, &self.transfer_syntax, &bytes)
            }
            _ => Err(DecodeError::Damaged("Pixel Data (7FE0,0010) are not where they must be".into())),
        }
    }

    /// A frame as it is stored compressed, counted from 0, without items and delimiters (PS3.18 8.7.3.3.2); none for native pixel data.
    ///
    /// # Errors
    /// The fragments cannot be read, or not assigned to frames.
    pub fn compressed_frame(&self, number: u32, frames: u32) -> Result<Option<Vec<u8>>, DecodeError> {
        match self.data_set.get(tags::PIXEL_DATA).map(|e| &e.value) {
            Some(Value::Fragments(fragments)) => Ok(Some(self.fragments_of(fragments, number, frames)?.concat())),
            _ => Ok(None),
        }
    }

    fn fragments_of(&self, fragments: &[Extent], number: u32, frames: u32) -> Result<Vec<Vec<u8>>, DecodeError> {
        let read = |e: Extent| self.range(e.offset, e.length).map_err(|e| DecodeError::Damaged(e.to_string()));
        if frames == 1 && fragments.len() > 2 && self.holds_more(fragments, read)? {
            return Err(DecodeError::Damaged("the header says one frame, the pixel data hold more".into()));
        }
        let extents = match by_count(fragments, number, frames)? {
            Some(extents) => extents,
            None => {
                // All frames are looked for once: the next one is asked for soon.
                let starts = self.starts.get_or_init(|| frame_starts(fragments, frames, read).ok());
                between(fragments, starts.as_deref().unwrap_or_default(), number, frames)?
            }
        };
        extents.into_iter().map(read).collect()
    }

    /// How many entries of the basic or extended offset table (PS3.5 A.4) do not point to the item that begins their frame; none where there is
    /// no table or all do. Of frames in several fragments only what can be told without decoding: that offsets rise and hit items.
    pub fn offsets_are_wrong(&self, frames: u32) -> Option<usize> {
        let Value::Fragments(fragments) = &self.data_set.get(tags::PIXEL_DATA)?.value else { return None };
        let (table, data) = fragments.split_first()?;
        let first = data.first()?.offset;
        let begins: Vec<u64> = data.iter().map(|f| f.offset.saturating_sub(first)).collect();
        let basic = self.range(table.offset, table.length).ok()?;
        let basic: Vec<u64> = basic.as_chunks::<4>().0.iter().map(|b| u64::from(u32::from_le_bytes(*b))).collect();
        let extended = self.data_set.bytes(tags::EXTENDED_OFFSET_TABLE).unwrap_or_default();
        let extended: Vec<u64> = extended.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        let count = |table: &[u64]| {
            if table.is_empty() {
                return 0;
            }
            let missing = (frames as usize).abs_diff(table.len());
            let one_each = begins.len() == frames as usize;
            let wrong = table.iter().enumerate().filter(|(n, offset)| {
                let rises = n.checked_sub(1).and_then(|p| table.get(p)).is_none_or(|before| before < *offset);
                if one_each { begins.get(*n) != Some(*offset) } else { !rises || begins.binary_search(offset).is_err() }
            });
            wrong.count() + missing
        };
        Some(count(&basic).max(count(&extended))).filter(|wrong| *wrong > 0)
    }

    /// Whether the fragments of what should be one frame begin several.
    fn holds_more(
        &self,
        fragments: &[Extent],
        read: impl Fn(Extent) -> Result<Vec<u8>, DecodeError>,
    ) -> Result<bool, DecodeError> {
        // A frame of RLE is one fragment (PS3.5 A.4.2).
        if self.transfer_syntax == uids::RLE_LOSSLESS || fragments.first().is_some_and(|table| table.length > 4) {
            return Ok(true);
        }
        for extent in fragments.iter().skip(2) {
            if begins_codestream(&read(Extent { length: extent.length.min(12), ..*extent })?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn native(&self, number: u32, layout: &Layout, extent: Extent, vr: VR) -> Result<Frame, DecodeError> {
        let failed = |e: std::io::Error| DecodeError::Damaged(e.to_string());
        if layout.bits_allocated == 1 {
            let first = u64::from(number).saturating_mul(layout.frame_samples());
            let bytes = (first % 8 + layout.frame_samples()).div_ceil(8);
            let within = extent.length.saturating_sub(first / 8).min(bytes);
            let packed = self.in_order(extent, self.unit_of(vr, layout), (first / 8, within)).map_err(failed)?;
            return packed_bits_frame(layout, &packed, usize::try_from(first % 8).unwrap_or(0));
        }
        native_frame(layout, self.native_bytes(number, layout, (extent, self.unit_of(vr, layout)))?, 1)
    }

    /// An uncompressed frame of whole bytes as it lies in the value, little endian.
    fn native_bytes(&self, number: u32, layout: &Layout, (extent, unit): (Extent, usize)) -> Result<Vec<u8>, DecodeError> {
        let size = layout.frame_bytes();
        let at = u64::from(number).saturating_mul(size);
        if at.saturating_add(size) > extent.length {
            return Err(DecodeError::Short { got: extent.length, wanted: layout.total_bytes() });
        }
        self.in_order(extent, unit, (at, size)).map_err(|e| DecodeError::Damaged(e.to_string()))
    }

    /// A frame, counted from 0, as the header describes it: uncompressed and little endian, its planes, its bits and its chroma samples as they
    /// lie in the value of Pixel Data (PS3.18 8.7.3.3.1). Colours that a code stream transforms are those of its decoder.
    ///
    /// # Errors
    /// As of [`Object::frame`].
    pub fn described_frame(&self, number: u32, layout: &Layout, pool: &Pool) -> Result<Vec<u8>, DecodeError> {
        if let Some(place) = self.native_pixels(layout).filter(|_| layout.bits_allocated != 1) {
            return self.native_bytes(number, layout, place);
        }
        let frame = self.frame(number, layout, pool)?;
        Ok(match layout {
            Layout { bits_allocated: 1, .. } => pack_bits(&frame.bytes),
            Layout { planar: true, samples: 2.., .. } => {
                planes(&frame.bytes, layout.samples as usize, layout.bits_allocated.div_ceil(8) as usize)
            }
            _ => frame.bytes,
        })
    }

    /// Where uncompressed Pixel Data lie, and the width of the numbers that are to be reversed for little endian.
    pub fn native_pixels(&self, layout: &Layout) -> Option<(Extent, usize)> {
        let element = self.data_set.get(tags::PIXEL_DATA)?;
        match &element.value {
            Value::Deferred(extent) => Some((*extent, self.unit_of(element.vr, layout))),
            _ => None,
        }
    }

    fn unit_of(&self, vr: VR, layout: &Layout) -> usize {
        let big = self.syntax.big_endian || self.transfer_syntax == "1.2.840.113619.5.2";
        match (big, vr) {
            (false, _) | (true, VR::OB) => 1,
            // Bytes and bits are swapped in words.
            (true, _) => (layout.bits_allocated as usize / 8).max(2),
        }
    }

    /// Bytes of a value in little endian, whose numbers are so wide: from a byte on, so many.
    ///
    /// # Errors
    /// The disk fails.
    pub fn in_order(&self, extent: Extent, unit: usize, (from, length): (u64, u64)) -> std::io::Result<Vec<u8>> {
        let wide = unit.max(1) as u64;
        // What is asked for may begin and end in the middle of a number.
        let begin = from - from % wide;
        let end = (from + length).next_multiple_of(wide).min(extent.length);
        let mut bytes = self.range(extent.offset + begin, end.saturating_sub(begin))?;
        swap(&mut bytes, unit);
        let skipped = usize::try_from(from - begin).unwrap_or(0);
        if skipped > 0 {
            bytes.drain(..skipped.min(bytes.len()));
        }
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(bytes)
    }
}

/// The fragments of one frame (PS3.5 A.4) where their number alone says them.
fn by_count(fragments: &[Extent], number: u32, frames: u32) -> Result<Option<Vec<Extent>>, DecodeError> {
    let Some((_, data)) = fragments.split_first() else { return Err(DecodeError::Damaged("no fragments".into())) };
    if number >= frames {
        return Err(DecodeError::Damaged(format!("there is no frame {}", number + 1)));
    }
    match data.len() as u64 {
        _ if frames == 1 => Ok(Some(data.to_vec())),
        count if count == u64::from(frames) => Ok(Some(data.get(number as usize).copied().into_iter().collect())),
        count if count < u64::from(frames) => Err(DecodeError::Short { got: count, wanted: u64::from(frames) }),
        _ => Ok(None),
    }
}

/// Which fragments begin a frame, by the basic offset table or by the codestreams' own starts.
fn frame_starts(
    fragments: &[Extent],
    frames: u32,
    read: impl Fn(Extent) -> Result<Vec<u8>, DecodeError>,
) -> Result<Vec<usize>, DecodeError> {
    let Some((table, data)) = fragments.split_first() else { return Ok(Vec::new()) };
    if table.length > 4 * u64::from(frames) {
        return Err(DecodeError::Damaged("the offset table names more frames than the header".into()));
    }
    if table.length == 4 * u64::from(frames) {
        let bytes = read(*table)?;
        let first = data.first().map_or(0, |e| e.offset);
        let offsets = bytes.as_chunks::<4>().0.iter().take(frames as usize).map(|b| u64::from(u32::from_le_bytes(*b)));
        return Ok(offsets.map(|o| data.binary_search_by_key(&(first + o), |e| e.offset).unwrap_or(usize::MAX)).collect());
    }
    let mut starts = Vec::new();
    for (i, extent) in data.iter().enumerate() {
        if begins_codestream(&read(Extent { length: extent.length.min(12), ..*extent })?) {
            starts.push(i);
        }
    }
    Ok(starts)
}

fn between(fragments: &[Extent], starts: &[usize], number: u32, frames: u32) -> Result<Vec<Extent>, DecodeError> {
    let data = fragments.get(1..).unwrap_or_default();
    let from = starts.get(number as usize).copied();
    let to = starts.get(number as usize + 1).copied().unwrap_or(data.len());
    match from.and_then(|from| data.get(from..to)) {
        Some(extents) if starts.len() == frames as usize && !extents.is_empty() => Ok(extents.to_vec()),
        _ => Err(DecodeError::Damaged("the fragments cannot be assigned to frames".into())),
    }
}

/// JPEG and JPEG-LS (SOI), JPEG 2000 codestream (SOC) or file, JPEG XL codestream.
fn begins_codestream(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8, 0xFF])
        || bytes.starts_with(&[0xFF, 0x4F, 0xFF, 0x51])
        || bytes.starts_with(&[0x00, 0x00, 0x00, 0x0C, 0x6A, 0x50])
        || bytes.starts_with(&[0xFF, 0x0A])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(lengths: &[u64]) -> Vec<Extent> {
        let mut at = 100;
        let mut list = vec![Extent { offset: 92, length: 0 }];
        for length in lengths {
            at += 8;
            list.push(Extent { offset: at, length: *length });
            at += length;
        }
        list
    }

    #[test]
    fn frames_of_several_fragments_are_found_with_and_without_a_table() {
        let list = extents(&[10, 20, 30]);
        let soi_at: Vec<u64> = vec![list[1].offset, list[3].offset];
        let read = |e: Extent| Ok(if soi_at.contains(&e.offset) { vec![0xFF, 0xD8, 0xFF, 0xC3] } else { vec![0; 4] });
        let starts = frame_starts(&list, 2, read).unwrap();
        assert_eq!(by_count(&list, 0, 2).unwrap(), None);
        assert_eq!(between(&list, &starts, 0, 2).unwrap(), list[1..3]);
        assert_eq!(between(&list, &starts, 1, 2).unwrap(), list[3..]);
        assert!(by_count(&list, 2, 2).is_err() && between(&list, &starts, 2, 2).is_err());
        assert_eq!(by_count(&list, 1, 3).unwrap().unwrap(), [list[2]]);
        let mut tabled = list.clone();
        tabled[0].length = 8;
        let table = |_: Extent| Ok([0u32, 18].iter().flat_map(|n| n.to_le_bytes()).collect());
        assert_eq!(between(&tabled, &frame_starts(&tabled, 2, table).unwrap(), 1, 2).unwrap(), list[2..]);
    }
}
