//! One frame of an object, decoded; the others are not touched.

use super::object::{Object, ObjectError};
use crate::codec::{DecodeError, Frame, Pool, native_frame, packed_bits_frame};
use crate::dicom::dataset::{Extent, Value, swap};
use crate::dicom::image::Layout;
use crate::dicom::{VR, tags};

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
        frame_fragments(fragments, number, frames, read)?.into_iter().map(read).collect()
    }

    fn native(&self, number: u32, layout: &Layout, extent: Extent, vr: VR) -> Result<Frame, DecodeError> {
        let failed = |e: std::io::Error| DecodeError::Damaged(e.to_string());
        if layout.bits_allocated == 1 {
            let first = u64::from(number).saturating_mul(layout.frame_samples());
            let bytes = (first % 8 + layout.frame_samples()).div_ceil(8);
            let within = extent.length.saturating_sub(first / 8).min(bytes);
            let packed = self.range(extent.offset + first / 8, within).map_err(failed)?;
            return packed_bits_frame(layout, &packed, usize::try_from(first % 8).unwrap_or(0));
        }
        let size = layout.frame_bytes();
        let at = u64::from(number).saturating_mul(size);
        if at.saturating_add(size) > extent.length {
            return Err(DecodeError::Short { got: extent.length, wanted: layout.total_bytes() });
        }
        let big = self.syntax.big_endian || self.transfer_syntax == "1.2.840.113619.5.2";
        let swapped = match (big, vr) {
            (false, _) | (true, VR::OB) => 1,
            (true, _) if layout.bits_allocated == 8 => 2,
            (true, _) => layout.bits_allocated as usize / 8,
        };
        if swapped == 2 && layout.bits_allocated == 8 {
            // Bytes were swapped in words of the whole value, and a frame may begin in the middle of one.
            let begin = at - at % 2;
            let mut words = self.range(extent.offset + begin, (at + size).next_multiple_of(2) - begin).map_err(failed)?;
            swap(&mut words, 2);
            return native_frame(layout, words.split_off(usize::from(at % 2 == 1)), 1);
        }
        native_frame(layout, self.range(extent.offset + at, size).map_err(failed)?, swapped)
    }
}

/// The fragments of one frame (PS3.5 A.4): by count, by the basic offset table, or by the codestreams' own starts.
fn frame_fragments(
    fragments: &[Extent],
    number: u32,
    frames: u32,
    read: impl Fn(Extent) -> Result<Vec<u8>, DecodeError>,
) -> Result<Vec<Extent>, DecodeError> {
    let Some((table, data)) = fragments.split_first() else { return Err(DecodeError::Damaged("no fragments".into())) };
    let (number, frames) = (number as usize, frames as usize);
    if number >= frames {
        return Err(DecodeError::Damaged(format!("there is no frame {}", number + 1)));
    }
    if frames == 1 {
        return Ok(data.to_vec());
    }
    if data.len() == frames {
        return Ok(data.get(number).copied().into_iter().collect());
    }
    if data.len() < frames {
        return Err(DecodeError::Short { got: data.len() as u64, wanted: frames as u64 });
    }
    let starts: Vec<usize> = if table.length >= 4 * frames as u64 {
        let bytes = read(*table)?;
        let offsets = bytes.as_chunks::<4>().0.iter().map(|b| u64::from(u32::from_le_bytes(*b)));
        let first = data.first().map_or(0, |e| e.offset.saturating_sub(8));
        offsets.map(|o| data.iter().position(|e| e.offset.saturating_sub(8) - first == o).unwrap_or(usize::MAX)).collect()
    } else {
        let mut starts = Vec::new();
        for (i, extent) in data.iter().enumerate() {
            if begins_codestream(&read(Extent { length: extent.length.min(12), ..*extent })?) {
                starts.push(i);
            }
        }
        starts
    };
    let from = starts.get(number).copied();
    let to = starts.get(number + 1).copied().unwrap_or(data.len());
    match from.and_then(|from| data.get(from..to)) {
        Some(extents) if starts.len() == frames && !extents.is_empty() => Ok(extents.to_vec()),
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
        assert_eq!(frame_fragments(&list, 0, 2, read).unwrap(), list[1..3]);
        assert_eq!(frame_fragments(&list, 1, 2, read).unwrap(), list[3..]);
        assert!(frame_fragments(&list, 2, 2, read).is_err());
        let mut tabled = list.clone();
        tabled[0].length = 8;
        let table = |_: Extent| Ok([0u32, 18].iter().flat_map(|n| n.to_le_bytes()).collect());
        assert_eq!(frame_fragments(&tabled, 1, 2, table).unwrap(), list[2..]);
    }
}
