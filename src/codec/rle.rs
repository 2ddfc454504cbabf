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
        let (plane, rest) = unpack(packed, pixels);
        if plane.len() < pixels {
            return Err(DecodeError::Short { got: plane.len() as u64, wanted: pixels as u64 });
        }
        // Segments are padded to even length (G.3.1), some encoders fill more. More samples are those of another shape, or of a damaged run.
        if plane.len() > pixels + 1 || (rest.len() > 2 && rest.iter().any(|byte| !matches!(byte, 0 | 128))) {
            return Err(damaged(
                "an RLE segment holds more samples than the header says: it is damaged, or rows and columns are wrong",
            ));
        }
        // Segments hold the most significant byte first; samples are little endian.
        let (sample, byte) = (segment / width, width - 1 - segment % width);
        let slots = out.iter_mut().skip(sample * width + byte).step_by(width * samples);
        slots.zip(plane).for_each(|(slot, value)| *slot = value);
    }
    Ok(Frame { layout: Layout { planar: false, frames: 1, ..layout.clone() }, bytes: out })
}

/// Encodes a frame whose samples come by pixel; none when it needs more than 15 segments.
pub fn encode(frame: &Frame) -> Option<Vec<u8>> {
    let (width, samples) = (frame.layout.bits_allocated.div_ceil(8) as usize, frame.layout.samples as usize);
    let (columns, count) = (frame.layout.columns as usize, width * samples);
    if count > 15 {
        return None;
    }
    let mut header = vec![u32::try_from(count).ok()?];
    let mut body = Vec::new();
    for segment in 0..count {
        header.push(u32::try_from(64 + body.len()).ok()?);
        let (sample, byte) = (segment / width, width - 1 - segment % width);
        let plane: Vec<u8> = frame.bytes.iter().skip(sample * width + byte).step_by(count).copied().collect();
        // A run must not go over the end of a row (G.3.1).
        plane.chunks(columns.max(1)).for_each(|row| pack(row, &mut body));
        if body.len() % 2 == 1 {
            body.push(0);
        }
    }
    header.resize(16, 0);
    Some(header.iter().flat_map(|n| n.to_le_bytes()).chain(body).collect())
}

/// PackBits: three and more equal bytes as a run, everything else as it is.
fn pack(mut row: &[u8], out: &mut Vec<u8>) {
    let run = |bytes: &[u8]| bytes.iter().take(128).take_while(|b| Some(*b) == bytes.first()).count();
    while let Some(first) = row.first() {
        let equal = run(row);
        if equal >= 3 {
            out.push(u8::try_from(257 - equal).unwrap_or(128));
            out.push(*first);
            row = row.get(equal..).unwrap_or_default();
            continue;
        }
        let literal = (1..row.len().min(128)).find(|at| row.get(*at..).is_some_and(|r| run(r) >= 3));
        let (now, later) = row.split_at(literal.unwrap_or(row.len().min(128)));
        out.push(u8::try_from(now.len() - 1).unwrap_or(0));
        out.extend_from_slice(now);
        row = later;
    }
}

/// PackBits until there are `wanted` bytes, with what the last run has more; and what is left.
fn unpack(mut packed: &[u8], wanted: usize) -> (Vec<u8>, &[u8]) {
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
    (out, packed)
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
        fn what_is_encoded_is_decoded(bytes in proptest::collection::vec(0u8..3, 0..240), long in 1usize..300) {
            let columns = (bytes.len() / 2).max(1);
            let mut bytes = bytes;
            bytes.resize(columns * 2 * 3, 7);
            let bytes: Vec<u8> = bytes.iter().flat_map(|b| std::iter::repeat_n(*b, if *b == 1 { long } else { 1 })).collect();
            let columns = (bytes.len() / 6).max(1);
            let mut layout = layout(16, 3);
            layout.columns = columns as u32;
            let frame = Frame { bytes: bytes.into_iter().chain(std::iter::repeat(9)).take(columns * 6).collect(), layout };
            let packed = encode(&frame).unwrap();
            proptest::prop_assert_eq!(decode(&frame.layout, &packed).unwrap(), frame);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decode(&layout(16, 1), &bytes);
        }
    }
}
