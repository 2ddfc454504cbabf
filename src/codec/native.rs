//! Uncompressed frames: bytes in place, put in order.

use super::{DecodeError, Frame};
use crate::dicom::dataset::swap;
use crate::dicom::image::Layout;

/// A native frame from its bytes. `swapped` is the width of the numbers to reverse (big endian sources), 1 for none.
///
/// # Errors
/// Too few bytes.
pub fn native_frame(layout: &Layout, mut bytes: Vec<u8>, swapped: usize) -> Result<Frame, DecodeError> {
    let wanted = layout.frame_bytes();
    if (bytes.len() as u64) < wanted {
        return Err(DecodeError::Short { got: bytes.len() as u64, wanted });
    }
    bytes.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    swap(&mut bytes, swapped);
    let mut layout = Layout { frames: 1, ..layout.clone() };
    if layout.photometric == "YBR_FULL_422" || layout.photometric == "YBR_PARTIAL_422" {
        // Studio range is retired and would need another conversion.
        if layout.photometric == "YBR_PARTIAL_422" {
            return Err(DecodeError::Unsupported("native YBR_PARTIAL_422".into()));
        }
        if layout.bits_allocated != 8 || layout.samples != 3 {
            return Err(DecodeError::Damaged(format!("{} needs three samples of 8 bits", layout.photometric)));
        }
        bytes = unpack_422(&bytes, layout.rows, layout.columns);
        layout.photometric = "YBR_FULL".into();
    }
    if layout.planar && layout.samples > 1 {
        bytes = interleave(&bytes, layout.samples as usize, (layout.bits_allocated as usize).div_ceil(8));
    }
    layout.planar = false;
    Ok(Frame { layout, bytes })
}

/// A frame of 1-bit samples, of which `skip` bits belong to earlier frames, as one byte a sample.
///
/// # Errors
/// Too few bytes.
pub fn packed_bits_frame(layout: &Layout, bytes: &[u8], skip: usize) -> Result<Frame, DecodeError> {
    let count = usize::try_from(layout.frame_samples()).unwrap_or(usize::MAX);
    let bit = |i: usize| bytes.get(i / 8).map(|byte| (byte >> (i % 8)) & 1);
    let unpacked: Option<Vec<u8>> = (skip..skip.saturating_add(count)).map(bit).collect();
    let short = DecodeError::Short { got: bytes.len() as u64, wanted: ((skip + count) as u64).div_ceil(8) };
    let layout = Layout { frames: 1, bits_allocated: 8, bits_stored: 1, high_bit: 0, planar: false, ..layout.clone() };
    Ok(Frame { layout, bytes: unpacked.ok_or(short)? })
}

/// Y1 Y2 Cb Cr to two pixels (PS3.3 C.7.6.3.1.2).
fn unpack_422(bytes: &[u8], rows: u32, columns: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 2 * 3);
    let row_bytes = columns.div_ceil(2) as usize * 4;
    for row in bytes.chunks(row_bytes).take(rows as usize) {
        let pixels = row.as_chunks::<4>().0.iter().flat_map(|[y1, y2, cb, cr]| [[*y1, *cb, *cr], [*y2, *cb, *cr]]);
        out.extend(pixels.take(columns as usize).flatten());
    }
    out
}

/// Samples of a byte each, 0 or 1, to bits, the first one lowest (PS3.5 8.1.1).
pub fn pack_bits(samples: &[u8]) -> Vec<u8> {
    samples.chunks(8).map(|eight| eight.iter().zip(0..).fold(0, |byte, (sample, bit)| byte | (sample & 1) << bit)).collect()
}

/// Pixels to planes.
pub fn planes(bytes: &[u8], samples: usize, width: usize) -> Vec<u8> {
    let pixel = (samples * width).max(1);
    let of_sample = |sample: usize| bytes.chunks_exact(pixel).flat_map(move |p| p.get(sample * width..(sample + 1) * width));
    (0..samples).flat_map(of_sample).flatten().copied().collect()
}

/// Planes to pixels.
fn interleave(bytes: &[u8], samples: usize, width: usize) -> Vec<u8> {
    let plane = bytes.len() / samples;
    let mut out = Vec::with_capacity(bytes.len());
    for pixel in 0..plane / width {
        for sample in 0..samples {
            let at = sample * plane + pixel * width;
            out.extend_from_slice(bytes.get(at..at + width).unwrap_or_default());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(photometric: &str, planar: bool) -> Layout {
        Layout {
            rows: 1,
            columns: 2,
            samples: 3,
            bits_allocated: 8,
            bits_stored: 8,
            high_bit: 7,
            signed: false,
            photometric: photometric.into(),
            planar,
            frames: 1,
        }
    }

    #[test]
    fn planes_and_bits_go_back_to_where_they_were() {
        assert_eq!(planes(&interleave(&[1, 2, 3, 4, 5, 6], 3, 1), 3, 1), [1, 2, 3, 4, 5, 6]);
        assert_eq!(planes(&interleave(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 3, 2), 3, 2), (1..=12).collect::<Vec<u8>>());
        let bits = Layout { samples: 1, bits_allocated: 1, columns: 5, rows: 3, ..layout("MONOCHROME2", false) };
        let frame = packed_bits_frame(&bits, &[0b1010_0110, 0b0110_1001, 0b11], 3).unwrap();
        assert_eq!(pack_bits(&frame.bytes), [0b0011_0100, 0b0110_1101]);
    }

    #[test]
    fn planes_and_half_rate_colour_come_out_by_pixel() {
        let planar = native_frame(&layout("RGB", true), vec![1, 2, 3, 4, 5, 6], 1).unwrap();
        assert_eq!((planar.bytes, planar.layout.planar), (vec![1, 3, 5, 2, 4, 6], false));
        let half = native_frame(&layout("YBR_FULL_422", false), vec![10, 20, 30, 40], 1).unwrap();
        assert_eq!((half.bytes, half.layout.photometric.as_str()), (vec![10, 30, 40, 20, 30, 40], "YBR_FULL"));
        // Found by made-up attributes: half-rate colour of other depths has no such packing.
        let deep = Layout { bits_allocated: 32, ..layout("YBR_FULL_422", false) };
        assert!(matches!(native_frame(&deep, vec![0; 64], 1), Err(DecodeError::Damaged(_))));
        assert!(matches!(native_frame(&layout("RGB", false), vec![0; 5], 1), Err(DecodeError::Short { got: 5, wanted: 6 })));
    }
}
