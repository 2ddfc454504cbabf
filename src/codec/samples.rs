//! Samples as numbers, and back (PS3.5 8.1.1): what is stored between high bit and low bit, with its sign.

use super::Frame;
use crate::dicom::image::Layout;

/// How raw words of a layout become numbers. Unsigned 32-bit values over the range of `i32` are cut to it.
fn decoder(l: &Layout) -> impl Fn(u32) -> i32 + use<> {
    let (shift, unused, signed) = (l.high_bit + 1 - l.bits_stored, 32 - l.bits_stored.min(32), l.signed);
    move |raw| {
        let stored = raw >> shift;
        if signed {
            ((stored << unused).cast_signed()) >> unused
        } else {
            i32::try_from((stored << unused) >> unused).unwrap_or(i32::MAX)
        }
    }
}

/// Every sample of a frame of 8, 16 or 32 bits allocated.
pub fn read(frame: &Frame) -> Vec<i32> {
    let value = decoder(&frame.layout);
    match frame.layout.bits_allocated {
        8 => frame.bytes.iter().map(|b| value(u32::from(*b))).collect(),
        16 => frame.bytes.as_chunks::<2>().0.iter().map(|b| value(u32::from(u16::from_le_bytes(*b)))).collect(),
        32 => frame.bytes.as_chunks::<4>().0.iter().map(|b| value(u32::from_le_bytes(*b))).collect(),
        _ => Vec::new(),
    }
}

/// As [`read`], with the whole range of unsigned 32-bit values.
pub fn read_wide(frame: &Frame) -> Vec<i64> {
    if frame.layout.bits_allocated == 32 {
        return frame.bytes.as_chunks::<4>().0.iter().map(|b| wide(&frame.layout, u32::from_le_bytes(*b))).collect();
    }
    read(frame).into_iter().map(i64::from).collect()
}

/// Every sample of a frame of 8 or 16 bits allocated, shown as a byte; nothing for deeper ones. Where there are more samples than values
/// that can be stored, each value is shown once.
pub fn shown(frame: &Frame, shade: impl Fn(i32) -> u8) -> Vec<u8> {
    let (value, bits) = (decoder(&frame.layout), frame.layout.bits_stored.min(16));
    let shift = (frame.layout.high_bit + 1).saturating_sub(frame.layout.bits_stored).min(16);
    match frame.layout.bits_allocated {
        8 => frame.bytes.iter().map(|b| shade(value(u32::from(*b)))).collect(),
        16 => {
            let words = frame.bytes.as_chunks::<2>().0.iter().map(|b| u32::from(u16::from_le_bytes(*b)));
            if words.len() <= 1 << bits {
                return words.map(|raw| shade(value(raw))).collect();
            }
            let shades: Vec<u8> = (0..1u32 << bits).map(|stored| shade(value(stored << shift))).collect();
            let mask = (1 << bits) - 1;
            words.map(|raw| shades.get(((raw >> shift) & mask) as usize).copied().unwrap_or(0)).collect()
        }
        _ => Vec::new(),
    }
}

/// One sample.
pub fn get(frame: &Frame, at: usize) -> Option<i64> {
    let width = frame.layout.bits_allocated as usize / 8;
    let bytes = frame.bytes.get(at.checked_mul(width)?..)?.get(..width)?;
    let raw = bytes.iter().rev().fold(0u32, |word, b| (word << 8) | u32::from(*b));
    Some(wide(&frame.layout, raw))
}

/// As [`decoder`], with the whole range of unsigned 32-bit values.
fn wide(l: &Layout, raw: u32) -> i64 {
    if l.signed || l.bits_allocated < 32 {
        return i64::from(decoder(l)(raw));
    }
    let unused = 32 - l.bits_stored.min(32);
    i64::from((raw >> (l.high_bit + 1 - l.bits_stored) << unused) >> unused)
}

/// The smallest and largest sample, those of a range (padding) left out.
pub fn extent(frame: &Frame, without: Option<(i64, i64)>) -> Option<(i64, i64)> {
    let value = decoder(&frame.layout);
    let bytes = &frame.bytes;
    if frame.layout.bits_allocated == 32 && !frame.layout.signed {
        let real = bytes.as_chunks::<4>().0.iter().map(|b| wide(&frame.layout, u32::from_le_bytes(*b)));
        let real = real.filter(|v| without.is_none_or(|(from, to)| !(from..=to).contains(v)));
        return real.fold(None, |e, v| e.map_or(Some((v, v)), |(l, h): (i64, i64)| Some((l.min(v), h.max(v)))));
    }
    let (low, high) = match frame.layout.bits_allocated {
        8 => ends(bytes.iter().map(|b| value(u32::from(*b))), without),
        16 if without.is_none() => ends_of_words(&frame.layout, bytes.as_chunks::<2>().0),
        16 => ends(bytes.as_chunks::<2>().0.iter().map(|b| value(u32::from(u16::from_le_bytes(*b)))), without),
        32 => ends(bytes.as_chunks::<4>().0.iter().map(|b| value(u32::from_le_bytes(*b))), without),
        _ => NONE,
    };
    (low <= high).then_some((i64::from(low), i64::from(high)))
}

/// The ends of no samples.
const NONE: (i32, i32) = (i32::MAX, i32::MIN);

/// In words of 16 bits the processor takes twice as many at a time.
fn ends_of_words(l: &Layout, words: &[[u8; 2]]) -> (i32, i32) {
    let (shift, unused) = ((l.high_bit + 1).saturating_sub(l.bits_stored).min(15), 16 - l.bits_stored.clamp(1, 16));
    // Unsigned numbers in the order of signed ones.
    let turn = if l.signed { 0 } else { i16::MIN };
    let (mut low, mut high) = (i16::MAX, i16::MIN);
    for word in words {
        let stored = (u16::from_le_bytes(*word) >> shift) << unused;
        let value = if l.signed { stored.cast_signed() >> unused } else { (stored >> unused).cast_signed() ^ turn };
        (low, high) = (low.min(value), high.max(value));
    }
    if low > high {
        return NONE;
    }
    let real = |value: i16| if l.signed { i32::from(value) } else { i32::from((value ^ turn).cast_unsigned()) };
    (real(low), real(high))
}

fn ends(values: impl Iterator<Item = i32>, without: Option<(i64, i64)>) -> (i32, i32) {
    let widen = |(low, high): (i32, i32), v: i32| (low.min(v), high.max(v));
    match without {
        // Without a condition inside, the loop takes many samples at a time.
        None => values.fold(NONE, widen),
        Some((from, to)) => values.filter(|v| !(from..=to).contains(&i64::from(*v))).fold(NONE, widen),
    }
}

/// What the bits above the stored ones become where a sample is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Above {
    /// They stay: overlays of old objects.
    Kept,
    /// They repeat the sign: whole words read as numbers.
    Sign,
}

/// Whether the bits above the stored ones repeat the sign of every sample, as most devices write signed numbers. Readers that take whole
/// words rely on it.
pub fn is_sign_extended(frame: &Frame) -> bool {
    let l = &frame.layout;
    if !l.signed || l.high_bit + 1 >= l.bits_allocated {
        return false;
    }
    // Shifted up to where the sign of a word of 32 bits is: what is above the high bit must be the high bit's.
    let repeats = |word: i32, bits: u32| {
        let above = (word << (32 - bits)) >> (32 - bits + l.high_bit);
        above == 0 || above == -1
    };
    match l.bits_allocated {
        8 => frame.bytes.iter().all(|b| repeats(i32::from(*b), 8)),
        16 => frame.bytes.as_chunks::<2>().0.iter().all(|b| repeats(i32::from(u16::from_le_bytes(*b)), 16)),
        32 => frame.bytes.as_chunks::<4>().0.iter().all(|b| repeats(i32::from_le_bytes(*b), 32)),
        _ => false,
    }
}

/// Replaces one sample; bits below the stored ones stay as they are.
pub fn put(frame: &mut Frame, at: usize, value: i64, above: Above) {
    let Layout { bits_stored, high_bit, bits_allocated, .. } = frame.layout;
    let shift = high_bit + 1 - bits_stored;
    let stored = if bits_stored >= 32 { u32::MAX } else { ((1u32 << bits_stored) - 1) << shift };
    let mask = if above == Above::Sign { u32::MAX << shift } else { stored };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the low bits are what is stored")]
    let bits = ((value as u32) << shift) & mask;
    let width = bits_allocated as usize / 8;
    let Some(slot) = frame.bytes.get_mut(at * width..at * width + width) else { return };
    let mut raw = [0u8; 4];
    for (to, from) in raw.iter_mut().zip(slot.iter()) {
        *to = *from;
    }
    let merged = (u32::from_le_bytes(raw) & !mask) | bits;
    slot.copy_from_slice(merged.to_le_bytes().get(..width).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read_and_foreign_bits_stay() {
        let layout = Layout {
            rows: 1,
            columns: 3,
            samples: 1,
            bits_allocated: 16,
            bits_stored: 12,
            high_bit: 13,
            signed: true,
            photometric: "MONOCHROME2".into(),
            planar: false,
            frames: 1,
        };
        let mut frame = Frame { layout, bytes: vec![0xFF; 6] };
        assert!(is_sign_extended(&frame));
        put(&mut frame, 1, -2048, Above::Kept);
        put(&mut frame, 2, 5, Above::Kept);
        assert_eq!(read(&frame), [-1, -2048, 5]);
        assert_eq!((get(&frame, 1), get(&frame, 3)), (Some(-2048), None));
        assert_eq!((extent(&frame, None), extent(&frame, Some((-3000, -1)))), (Some((-2048, 5)), Some((5, 5))));
        // Bits 0, 1, 14 and 15 were not ours.
        assert_eq!(frame.bytes[2..4], [0x03, 0xE0]);
    }

    #[test]
    fn ends_and_shades_of_many_words_are_those_of_each() {
        let mut noise = 1u32;
        for (bits_stored, high_bit, signed) in
            [(16, 15, false), (16, 15, true), (12, 11, true), (12, 11, false), (10, 13, true), (1, 0, false)]
        {
            let layout = Layout {
                rows: 300,
                columns: 300,
                samples: 1,
                bits_allocated: 16,
                bits_stored,
                high_bit,
                signed,
                photometric: "MONOCHROME2".into(),
                planar: false,
                frames: 1,
            };
            let word = |_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let [.., a, b] = noise.to_be_bytes();
                [b, a]
            };
            let frame = Frame { layout, bytes: (0..90_000).flat_map(word).collect() };
            let values = read(&frame);
            let ends = (i64::from(*values.iter().min().unwrap()), i64::from(*values.iter().max().unwrap()));
            assert_eq!(extent(&frame, None), Some(ends), "{bits_stored} {high_bit} {signed}");
            let shade = |v: i32| v.cast_unsigned().wrapping_mul(7).to_le_bytes()[0];
            assert_eq!(shown(&frame, shade), values.into_iter().map(shade).collect::<Vec<_>>());
        }
    }

    #[test]
    fn words_that_repeat_the_sign_go_on_to() {
        let layout = Layout {
            rows: 1,
            columns: 4,
            samples: 1,
            bits_allocated: 16,
            bits_stored: 12,
            high_bit: 11,
            signed: true,
            photometric: "MONOCHROME2".into(),
            planar: false,
            frames: 1,
        };
        let words = |frame: &Frame| frame.bytes.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b)).collect::<Vec<_>>();
        let bytes = [-80i16, 1556, -1, 0].iter().flat_map(|w| w.to_le_bytes()).collect();
        let mut frame = Frame { layout, bytes };
        assert!(is_sign_extended(&frame));
        for (at, value) in [2047, -2048, 5, -7].into_iter().enumerate() {
            put(&mut frame, at, value, Above::Sign);
        }
        assert_eq!(words(&frame), [2047, -2048, 5, -7]);
        assert_eq!(read(&frame), [2047, -2048, 5, -7]);
        // A word of 4095 is -1 with nothing above it: bits that are somebody else's.
        frame.bytes[..2].copy_from_slice(&4095i16.to_le_bytes());
        assert!(!is_sign_extended(&frame));
        frame.layout.signed = false;
        assert!(!is_sign_extended(&frame));
    }
}
