//! JPEG baseline (ITU-T T.81, sequential DCT of 8 bits) written: the pictures that people look at. Never reads, and never writes what is
//! stored: marked copies of lossy images are encoded elsewhere.
//!
//! Our own because the encoder is most of what a rendered image costs, and this one takes half the time of the crate that was here before.

#![expect(clippy::indexing_slicing, reason = "arrays of 8, 64 and 256 by constants, bytes and what is masked to their length")]

use super::out::{Bits, codes, segment};
use std::f32::consts::FRAC_1_SQRT_2;

/// Quantisation of T.81 annex K.1 for luminance and chrominance, by row and column.
const LUMA: [u8; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80,
    62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,
    112, 100, 103, 99,
];
const CHROMA: [u8; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99,
];

/// Where the coefficients of a block lie in the order of the scan, by row and column (T.81 figure A.6).
const ZIGZAG: [u8; 64] = [
    0, 1, 5, 6, 14, 15, 27, 28, 2, 4, 7, 13, 16, 26, 29, 42, 3, 8, 12, 17, 25, 30, 41, 43, 9, 11, 18, 24, 31, 40, 44, 53, 10,
    19, 23, 32, 39, 45, 52, 54, 20, 22, 33, 38, 46, 51, 55, 60, 21, 34, 37, 47, 50, 56, 59, 61, 35, 36, 48, 49, 57, 58, 62, 63,
];

/// The other way round: by place in the scan, where it lies by column and row.
const NATURAL: [u8; 64] = {
    let (mut out, mut at) = ([0; 64], 0);
    while at < 64 {
        out[ZIGZAG[at] as usize] = (at % 8 * 8 + at / 8) as u8;
        at += 1;
    }
    out
};

/// Codes of T.81 annex K.3: how many of each length from 1, and what they stand for.
struct Codes {
    class: u8,
    lengths: [u8; 16],
    symbols: &'static [u8],
}

const DC: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const CODES: [Codes; 4] = [
    Codes { class: 0x00, lengths: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], symbols: &DC },
    Codes {
        class: 0x10,
        lengths: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D],
        symbols: &[
            0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14,
            0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09,
            0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A,
            0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65,
            0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
            0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9,
            0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA,
            0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA,
            0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
        ],
    },
    Codes { class: 0x01, lengths: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], symbols: &DC },
    Codes {
        class: 0x11,
        lengths: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
        symbols: &[
            0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32,
            0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1, 0x0A, 0x16,
            0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36, 0x37, 0x38, 0x39,
            0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64,
            0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x82, 0x83, 0x84, 0x85, 0x86,
            0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7,
            0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8,
            0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9,
            0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
        ],
    },
];

/// Sixteen zeros, and no more but zeros (T.81 F.1.2.2).
const ZEROS: u8 = 0xF0;
const END: u8 = 0x00;

/// Bytes of a colour profile in one segment (ICC.1 annex B.4).
const PROFILE_PART: usize = 65_519;

/// Encodes a picture by pixel, greys or red, green and blue (`samples` 1 or 3), with a quality from 1 to 100 and the profile of its
/// colours. Chrominance keeps its full resolution: thin coloured lines of a Doppler image are findings.
///
/// # Errors
/// A side of it is over 65,535 pixels, or there are not as many samples as the sides say.
pub fn encode(
    size: (u32, u32),
    samples: usize,
    pixels: &[u8],
    quality: u8,
    icc: Option<&[u8]>,
) -> Result<Vec<u8>, &'static str> {
    let side = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0).ok_or("a side of a JPEG has 1 to 65,535 pixels");
    let (width, height) = (side(size.0)?, side(size.1)?);
    if !matches!(samples, 1 | 3) || pixels.len() != usize::from(width) * usize::from(height) * samples {
        return Err("there are more or fewer samples than rows and columns");
    }
    let tables = [&LUMA, &CHROMA].map(|of| quantisation(of, quality));
    let mut out = Vec::with_capacity(pixels.len() / 6 + 1024);
    headers(&mut out, (width, height), samples, &tables, icc);
    let components: Vec<Component> = [0, 1, 1].iter().take(samples).filter_map(|at| Component::of(*at, &tables)).collect();
    let mut bits = Bits::after(out);
    scan(&mut bits, components, usize::from(width), samples, pixels);
    let mut out = bits.end();
    out.extend_from_slice(&[0xFF, 0xD9]);
    Ok(out)
}

/// A table of annex K for a quality, as the Independent JPEG Group scales it.
fn quantisation(of: &[u8; 64], quality: u8) -> [u8; 64] {
    let quality = u32::from(quality.clamp(1, 100));
    let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    of.map(|step| u8::try_from((u32::from(step) * scale + 50) / 100).unwrap_or(u8::MAX).max(1))
}

fn headers(out: &mut Vec<u8>, (width, height): (u16, u16), samples: usize, tables: &[[u8; 64]; 2], icc: Option<&[u8]>) {
    out.extend_from_slice(&[0xFF, 0xD8]);
    segment(out, 0xE0, *b"JFIF\0\x01\x02\0\0\x01\0\x01\0\0");
    let parts: Vec<&[u8]> = icc.unwrap_or_default().chunks(PROFILE_PART).collect();
    // A profile of more than 255 parts cannot be said: without it colours are as those of any other file.
    if let Ok(count) = u8::try_from(parts.len()) {
        for (number, part) in (1..=count).zip(parts) {
            segment(out, 0xE2, b"ICC_PROFILE\0".iter().chain(&[number, count]).chain(part).copied());
        }
    }
    let used = samples.min(tables.len());
    for (number, table) in (0u8..).zip(tables).take(used) {
        let mut in_order = [0; 64];
        for (at, step) in ZIGZAG.iter().zip(table) {
            if let Some(slot) = in_order.get_mut(usize::from(*at)) {
                *slot = *step;
            }
        }
        segment(out, 0xDB, std::iter::once(number).chain(in_order));
    }
    let components = [[1, 0x11, 0], [2, 0x11, 1], [3, 0x11, 1]].into_iter().take(samples);
    let number = if samples == 1 { 1 } else { 3 };
    let sides = height.to_be_bytes().into_iter().chain(width.to_be_bytes());
    segment(out, 0xC0, std::iter::once(8).chain(sides).chain([number]).chain(components.flatten()));
    for codes in CODES.iter().take(2 * used) {
        segment(out, 0xC4, std::iter::once(codes.class).chain(codes.lengths).chain(codes.symbols.iter().copied()));
    }
    let components = [[1, 0x00], [2, 0x11], [3, 0x11]].into_iter().take(samples).flatten();
    segment(out, 0xDA, std::iter::once(number).chain(components).chain([0, 63, 0]));
}

/// What a component is encoded with, and the mean of its block before.
struct Component {
    /// What coefficients are multiplied by, by column and row: [`transform`] leaves them so.
    steps: [f32; 64],
    dc: [u32; 256],
    ac: [u32; 256],
    before: i32,
}

impl Component {
    fn of(at: usize, tables: &[[u8; 64]; 2]) -> Option<Component> {
        let table = tables.get(at)?;
        let (dc, ac) = (coded(CODES.get(2 * at)?), coded(CODES.get(2 * at + 1)?));
        // The transform leaves each coefficient larger by 8 and by these (Arai, Agui and Nakajima).
        let scale =
            |n: usize| if n == 0 { 1.0 } else { (std::f64::consts::PI * n as f64 / 16.0).cos() * std::f64::consts::SQRT_2 };
        let step = |column: usize, row: usize| {
            let step = table.get(8 * row + column).copied().unwrap_or(1);
            (1.0 / (f64::from(step) * scale(column) * scale(row) * 8.0)) as f32
        };
        let steps = std::array::from_fn(|at| step(at / 8, at % 8));
        Some(Component { steps, dc, ac, before: 0 })
    }

    /// Encodes a block of 8 by 8, by row.
    fn put(&mut self, bits: &mut Bits, mut block: [Lanes; 8]) {
        transform(&mut block);
        let coefficients = self.quantised(&block);
        let mean = i32::from(coefficients[0]);
        let (size, value) = magnitude(mean - self.before);
        self.before = mean;
        put(bits, at(&self.dc, size), value, size);
        let mut there = in_scan_order(&coefficients) & !1;
        let mut last = 0;
        while there != 0 {
            let place = there.trailing_zeros();
            there &= there - 1;
            let mut zeros = place - last - 1;
            last = place;
            while zeros > 15 {
                put(bits, at(&self.ac, ZEROS), 0, 0);
                zeros -= 16;
            }
            let (size, value) = magnitude(i32::from(coefficients[usize::from(NATURAL[place as usize & 63])]));
            put(bits, at(&self.ac, (zeros as u8) << 4 | size), value, size);
        }
        if last < 63 {
            put(bits, at(&self.ac, END), 0, 0);
        }
    }

    #[inline]
    fn quantised(&self, block: &[Lanes; 8]) -> [i16; 64] {
        let mut out = [0; 64];
        for ((out, value), step) in out.iter_mut().zip(block.as_flattened()).zip(&self.steps) {
            // Adding so much rounds to a whole number, which the lowest bits then hold: unlike `round` it takes several at a time.
            *out = (value * step + 12_582_912.0).to_bits() as i16;
        }
        out
    }
}

/// Bits of what is not zero, in the order of the scan.
#[inline]
fn in_scan_order(coefficients: &[i16; 64]) -> u64 {
    let mut flags = [0u8; 64];
    for (flag, value) in flags.iter_mut().zip(coefficients) {
        *flag = u8::from(*value != 0);
    }
    let mut out = 0;
    for (flags, places) in flags.as_chunks::<8>().0.iter().zip(&PLACES) {
        // The product brings the eight flags together in its top byte.
        let set = u64::from_le_bytes(*flags).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        out |= places[set as usize & 255];
    }
    out
}

/// By column and by the bits of its rows: those of the same coefficients in the order of the scan.
static PLACES: [[u64; 256]; 8] = {
    let (mut out, mut at) = ([[0; 256]; 8], 0);
    while at < 8 * 256 * 8 {
        let (column, set, row) = (at / 2048, at / 8 % 256, at % 8);
        if set >> row & 1 == 1 {
            out[column][set] |= 1 << ZIGZAG[8 * row + column];
        }
        at += 1;
    }
    out
};

fn at(codes: &[u32; 256], symbol: u8) -> u32 {
    codes[usize::from(symbol)]
}

/// A code of a table, with its length above it, and so many bits of a value after it.
#[inline]
fn put(bits: &mut Bits, code: u32, value: u32, size: u8) {
    bits.put((code & 0xFFFF) << size | value, (code >> 16) + u32::from(size));
}

/// Codes by symbol, with their length in the upper half.
fn coded(table: &Codes) -> [u32; 256] {
    let mut out = [0; 256];
    for (symbol, (code, length)) in table.symbols.iter().zip(codes(table.lengths)) {
        out[usize::from(*symbol)] = length << 16 | code;
    }
    out
}

/// The category of a value, and the bits that tell it in there (T.81 F.1.2.1).
fn magnitude(value: i32) -> (u8, u32) {
    let size = 32 - value.unsigned_abs().leading_zeros();
    let bits = (value + (value >> 31)).cast_unsigned() & ((1 << size) - 1);
    (size as u8, bits)
}

fn scan(bits: &mut Bits, mut components: Vec<Component>, width: usize, samples: usize, pixels: &[u8]) {
    let padded = width.next_multiple_of(8);
    let mut planes = vec![vec![0u8; 8 * padded]; samples];
    for strip in pixels.chunks(8 * width * samples) {
        let rows: Vec<&[u8]> = strip.chunks_exact(width * samples).collect();
        for at in 0..8 {
            // Edges go on outside: what is not shown costs little then.
            let Some(row) = rows.get(at).or(rows.last()) else { continue };
            let mut lines = planes.iter_mut().filter_map(|p| p.get_mut(at * padded..(at + 1) * padded));
            match (lines.next(), lines.next(), lines.next()) {
                (Some(grey), None, _) => grey.iter_mut().zip(*row).for_each(|(to, from)| *to = *from),
                (Some(luma), Some(blue), Some(red)) => to_ycc(row, luma, blue, red),
                _ => continue,
            }
        }
        for plane in &mut planes {
            for line in plane.chunks_exact_mut(padded) {
                let (shown, outside) = line.split_at_mut(width.min(padded));
                outside.fill(shown.last().copied().unwrap_or(0));
            }
        }
        for column in (0..padded).step_by(8) {
            for (component, plane) in components.iter_mut().zip(&planes) {
                component.put(bits, block(plane, padded, column));
            }
        }
    }
}

#[inline]
fn block(plane: &[u8], padded: usize, column: usize) -> [Lanes; 8] {
    let mut out = [[0.0; 8]; 8];
    for (lanes, line) in out.iter_mut().zip(plane.chunks_exact(padded)) {
        if let Some(part) = line.get(column..).and_then(|rest| rest.first_chunk::<8>()) {
            for (lane, value) in lanes.iter_mut().zip(part) {
                *lane = f32::from(*value) - 128.0;
            }
        }
    }
    out
}

/// JFIF's colours (ITU-T T.871).
fn to_ycc(row: &[u8], luma: &mut [u8], blue: &mut [u8], red: &mut [u8]) {
    for (((rgb, y), cb), cr) in row.as_chunks::<3>().0.iter().zip(luma).zip(blue).zip(red) {
        let [r, g, b] = rgb.map(f32::from);
        // All are positive, so what is cut off rounds.
        *y = (0.299 * r + 0.587 * g + 0.114 * b + 0.5) as u8;
        *cb = (-0.168_735_9 * r - 0.331_264_1 * g + 0.5 * b + 128.5) as u8;
        *cr = (0.5 * r - 0.418_687_6 * g - 0.081_312_4 * b + 128.5) as u8;
    }
}

/// Eight numbers that the processor takes together.
type Lanes = [f32; 8];

#[inline]
fn sum(mut a: Lanes, b: Lanes) -> Lanes {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
    a
}

#[inline]
fn less(mut a: Lanes, b: Lanes) -> Lanes {
    for (a, b) in a.iter_mut().zip(b) {
        *a -= b;
    }
    a
}

#[inline]
fn times(mut a: Lanes, factor: f32) -> Lanes {
    for a in &mut a {
        *a *= factor;
    }
    a
}

/// The discrete cosine transform of a block by row, to coefficients by column, scaled (see [`Component::of`]).
fn transform(block: &mut [Lanes; 8]) {
    along(block);
    turned(block);
    along(block);
}

/// Rows as columns: what two shuffles of cards do to the second of a pack's halves, three times.
#[inline(never)]
fn turned(block: &mut [Lanes; 8]) {
    for _ in 0..3 {
        let [a, b, c, d, e, f, g, h] = *block;
        let [(a, b), (c, d), (e, f), (g, h)] = [woven(a, e), woven(b, f), woven(c, g), woven(d, h)];
        *block = [a, b, c, d, e, f, g, h];
    }
}

#[inline]
fn woven([a, b, c, d, e, f, g, h]: Lanes, [i, j, k, l, m, n, o, p]: Lanes) -> (Lanes, Lanes) {
    ([a, i, b, j, c, k, d, l], [e, m, f, n, g, o, h, p])
}

/// Of eight numbers, in each lane: Arai, Agui and Nakajima's transform (1988).
#[inline(never)]
fn along(block: &mut [Lanes; 8]) {
    let [d0, d1, d2, d3, d4, d5, d6, d7] = *block;
    let (s07, s16, s25, s34) = (sum(d0, d7), sum(d1, d6), sum(d2, d5), sum(d3, d4));
    let (t07, t16, t25, t34) = (less(d0, d7), less(d1, d6), less(d2, d5), less(d3, d4));
    // Even.
    let (outer, inner) = (sum(s07, s34), sum(s16, s25));
    let (out0, out4) = (sum(outer, inner), less(outer, inner));
    let (a, b) = (less(s07, s34), less(s16, s25));
    let turned = times(sum(a, b), FRAC_1_SQRT_2);
    let (out2, out6) = (sum(a, turned), less(a, turned));
    // Odd.
    let (e, f, g) = (sum(t34, t25), sum(t25, t16), sum(t16, t07));
    let both = times(less(e, g), 0.382_683_43);
    let (z2, z4) = (sum(times(e, 0.541_196_1), both), sum(times(g, 1.306_563), both));
    let z3 = times(f, FRAC_1_SQRT_2);
    let (z11, z13) = (sum(t07, z3), less(t07, z3));
    *block = [out0, sum(z11, z4), out2, less(z13, z2), out4, sum(z13, z2), out6, less(z11, z4)];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(stream: &[u8]) -> Vec<u8> {
        image::load_from_memory_with_format(stream, image::ImageFormat::Jpeg).unwrap().into_bytes()
    }

    /// Soft and sharp, flat and noisy parts, and sides that are no multiples of eight.
    fn picture(width: u32, height: u32, samples: usize) -> Vec<u8> {
        let mut noise = 12_345u32;
        let mut out = Vec::new();
        for at in 0..width * height {
            let (x, y) = (at % width, at / width);
            for sample in 0..samples {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let soft = (x * 3 + y * 2 + 40 * sample as u32) % 256;
                out.push(match (x / 16 + y / 16) % 3 {
                    0 => soft as u8,
                    1 => (noise >> 24) as u8,
                    _ => [0, 255][(x / 3 % 2) as usize],
                });
            }
        }
        out
    }

    #[test]
    fn what_another_decoder_reads_is_as_near_as_the_quality_says() {
        for samples in [1, 3] {
            for (width, height) in [(64, 64), (61, 35), (1, 1), (8, 9), (200, 3)] {
                let pixels = picture(width, height, samples);
                let worst = |quality| {
                    let back = decoded(&encode((width, height), samples, &pixels, quality, None).unwrap());
                    assert_eq!(back.len(), pixels.len());
                    pixels.iter().zip(&back).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
                };
                // Greys are off by rounding alone; of colours each of three is rounded on the way.
                assert!(worst(100) <= if samples == 1 { 2 } else { 4 }, "{samples} {width} {height}: {}", worst(100));
            }
        }
        let pixels = picture(200, 200, 1);
        let sizes = [1, 10, 50, 75, 95, 100].map(|q| encode((200, 200), 1, &pixels, q, None).unwrap().len());
        assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
    }

    #[test]
    fn a_long_profile_goes_into_numbered_parts() {
        let profile: Vec<u8> = (0..150_000u32).map(|n| (n % 251) as u8).collect();
        let stream = encode((2, 2), 3, &[9; 12], 90, Some(&profile)).unwrap();
        let mut reader = image::codecs::jpeg::JpegDecoder::new(std::io::Cursor::new(&stream)).unwrap();
        assert_eq!(image::ImageDecoder::icc_profile(&mut reader).unwrap(), Some(profile));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(encode((2, 2), 1, &[0; 3], 90, None).is_err());
        assert!(encode((70_000, 1), 1, &[0; 70_000], 90, None).is_err());
        assert!(encode((0, 1), 1, &[], 90, None).is_err());
        assert!(encode((1, 1), 2, &[0; 2], 90, None).is_err());
    }
}
