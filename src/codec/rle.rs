//! RLE Lossless (PS3.5 annex G): one segment for each byte of each sample, most significant first. Never writes past what
//! the header promises, never reads past what came.

use super::{DecodeError, Frame};
use crate::dicom::image::Layout;

/// Decodes a frame.
///
/// # Errors
/// The segments do not hold what the header promises.
pub fn decode(layout: &Layout, bytes: &[u8]) -> Result<Frame, DecodeError> {
    let damaged = |why: &str| DecodeError::Damaged(why.to_string());
    let width = layout.bits_allocated.div_ceil(8) as usize;
    let samples = layout.samples as usize;
    let pixels = usize::try_from(u64::from(layout.rows) * u64::from(layout.columns)).map_err(|_| damaged("too many pixels"))?;
    let header: Vec<usize> = bytes.as_chunks::<4>().0.iter().take(16).map(|b| u32::from_le_bytes(*b) as usize).collect();
    let (count, offsets) =
        header.split_first().filter(|_| header.len() == 16).ok_or_else(|| damaged("the RLE header is cut off"))?;
    if *count != width * samples || *count > 15 {
        return Err(DecodeError::Damaged(format!("the RLE header names {count} segments, {} are due", width * samples)));
    }
    let mut out = vec![0u8; pixels * width * samples];
    for (segment, start) in offsets.iter().take(*count).enumerate() {
        let end = offsets.get(segment + 1).filter(|_| segment + 1 < *count).copied().unwrap_or(bytes.len());
        let packed = bytes.get(*start..end).ok_or_else(|| damaged("an RLE segment lies outside of the frame"))?;
        let plane = unpack(packed, pixels);
        if plane.len() < pixels {
            return Err(DecodeError::Short { got: plane.len() as u64, wanted: pixels as u64 });
        }
        // Segments hold the most significant byte first; samples are little endian.
        let (sample, byte) = (segment / width, width - 1 - segment % width);
        let slots = out.iter_mut().skip(sample * width + byte).step_by(width * samples);
        slots.zip(plane).for_each(|(slot, value)| *slot = value);
    }
    Ok(Frame { layout: Layout { planar: false, frames: 1, ..layout.clone() }, bytes: out })
}

/// PackBits, up to `wanted` bytes.
fn unpack(mut packed: &[u8], wanted: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(wanted);
    while out.len() < wanted {
        let Some((&control, rest)) = packed.split_first() else { break };
        packed = match control {
            0..=127 => {
                let (literal, rest) = rest.split_at((usize::from(control) + 1).min(rest.len()));
                out.extend_from_slice(literal);
                rest
            }
            128 => rest,
            129..=255 => {
                let Some((&value, rest)) = rest.split_first() else { break };
                out.resize(out.len() + 257 - usize::from(control), value);
                rest
            }
        };
    }
    out.truncate(wanted);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bits: u32, samples: u32) -> Layout {
        Layout {
            rows: 1,
            columns: 3,
            samples,
            bits_allocated: bits,
            bits_stored: bits,
            high_bit: bits - 1,
            signed: false,
            photometric: "MONOCHROME2".into(),
            planar: false,
            frames: 1,
        }
    }

    #[test]
    fn bytes_come_out_in_order_and_lies_are_refused() {
        let mut bytes = vec![0u8; 64];
        bytes[0] = 2;
        bytes[4] = 64;
        bytes[8] = 66;
        bytes.extend_from_slice(&[254, 1, 2, 7, 8, 9]);
        assert_eq!(decode(&layout(16, 1), &bytes).unwrap().bytes, [7, 1, 8, 1, 9, 1]);
        assert!(decode(&layout(8, 1), &bytes).is_err());
        assert!(matches!(decode(&layout(16, 1), &bytes[..68]), Err(DecodeError::Short { .. })));
        bytes[8] = 0xFF;
        assert!(decode(&layout(16, 1), &bytes).is_err());
        assert!(decode(&layout(16, 1), &bytes[..20]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decode(&layout(16, 1), &bytes);
        }
    }
}
