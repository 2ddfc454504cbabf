//! Over streams of our own encoder (OpenJPEG); the many ways of others are in tests/interop/test_j2k.py.

use super::*;
use crate::codec::{Frame, encode};
use crate::dicom::image::Layout;
use crate::dicom::uids;

/// A picture with edges and noise, as a lossless stream.
fn stream(columns: u32, rows: u32) -> Vec<u8> {
    let layout = Layout {
        rows,
        columns,
        samples: 1,
        bits_allocated: 16,
        bits_stored: 12,
        high_bit: 11,
        signed: false,
        planar: false,
        photometric: "MONOCHROME2".into(),
        frames: 1,
    };
    let mut seed = 5u32;
    let bytes = (0..columns * rows).flat_map(|n| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let edge = if (n % columns / 16 + n / columns / 16).is_multiple_of(2) { 900 } else { 200 };
        u16::try_from(edge + (seed >> 26)).unwrap().to_le_bytes()
    });
    encode::encode(&Frame { layout, bytes: bytes.collect() }, uids::JPEG2000_LOSSLESS).unwrap()
}

#[test]
fn what_an_encoder_wrote_fits_and_leaves_out_nothing() {
    for (columns, rows) in [(64, 64), (512, 512), (131, 67), (1, 1), (7, 300)] {
        let stream = stream(columns, rows);
        assert_eq!((fault(&stream), leaves_out(&stream)), (None, Some(false)), "{columns} {rows}");
    }
}

#[test]
fn data_overwritten_with_one_value_with_bytes_or_with_what_looks_like_data_are_told() {
    let whole = stream(256, 256);
    let (from, to) = (whole.len() / 4, whole.len() / 4 * 3);
    let mut seed = 9u32;
    let random = (from..to).map(|_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    });
    let bytes: Vec<u8> = random.collect();
    // Nothing that could not stand there: only the packets tell.
    let tame: Vec<u8> = bytes.iter().map(|b| b & 0x7F).collect();
    for (name, with) in [("zero", vec![0; to - from]), ("bytes", bytes), ("tame", tame)] {
        let mut lost = whole.clone();
        lost[from..to].copy_from_slice(&with);
        assert!(fault(&lost).is_some(), "{name}");
    }
    let mut short = whole.clone();
    short.drain(from..from + 500);
    // The tile-part is longer than what is left of it: the decoder tells.
    assert_eq!(leaves_out(&short), None);
}

#[test]
fn damaged_streams_of_every_length_and_any_byte_are_no_fault_of_ours() {
    let whole = stream(64, 48);
    for cut in 0..whole.len() {
        let _ = (fault(&whole[..cut]), leaves_out(&whole[..cut]));
    }
    for at in 0..whole.len().min(400) {
        for value in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = (fault(&damaged), leaves_out(&damaged));
        }
    }
}

#[test]
fn padding_behind_the_end_says_nothing() {
    let mut padded = stream(64, 64);
    padded.extend([0; 200]);
    assert_eq!(fault(&padded), None);
    assert!(fault(&[]).is_none() && fault(&[0xFF, 0x4F, 0xFF, 0x51]).is_none());
}
