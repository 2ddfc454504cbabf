//! The inverse discrete cosine transform of libjpeg ("islow": Loeffler, Ligtenberg and Moschytz with 13-bit constants), for 12-bit samples.

/// Bits of the constants.
const CONST: u32 = 13;
/// Bits that the first pass keeps below the point.
const KEPT: u32 = 1;
/// Middle and largest sample.
const MIDDLE: i64 = 2048;
const LARGEST: i64 = 4095;

/// Samples of a block, row by row.
pub fn inverse(block: &[i32; 64], quantisation: &[i32; 64]) -> [u16; 64] {
    let mut work = [0i64; 64];
    // No valid product comes near the bound; a damaged one must not overflow.
    let dequantised = |(c, q): (&i32, &i32)| (i64::from(*c) * i64::from(*q)).clamp(-(1 << 24), 1 << 24);
    work.iter_mut().zip(block.iter().zip(quantisation).map(dequantised)).for_each(|(slot, v)| *slot = v);
    for x in 0..8 {
        pass(&mut work, x, 8, CONST - KEPT);
    }
    for y in 0..8 {
        pass(&mut work, y * 8, 1, CONST + KEPT + 3);
    }
    work.map(|v| u16::try_from((v + MIDDLE).clamp(0, LARGEST)).unwrap_or(0))
}

/// One dimension, in place: eight values from `start` on, `step` apart.
fn pass(work: &mut [i64; 64], start: usize, step: usize, shift: u32) {
    let mut v = [0i64; 8];
    v.iter_mut().zip(work.iter().skip(start).step_by(step)).for_each(|(slot, value)| *slot = *value);
    let [c0, c1, c2, c3, c4, c5, c6, c7] = v;

    let z = (c2 + c6) * 4433;
    let (e2, e3) = (z - c6 * 15_137, z + c2 * 6270);
    let (e0, e1) = ((c0 + c4) << CONST, (c0 - c4) << CONST);
    let even = [e0 + e3, e1 + e2, e1 - e2, e0 - e3];

    let (z1, z2, z3, z4) = ((c7 + c1) * -7373, (c5 + c3) * -20_995, c7 + c3, c5 + c1);
    let z5 = (z3 + z4) * 9633;
    let (z3, z4) = (z3 * -16_069 + z5, z4 * -3196 + z5);
    let odd = [c1 * 12_299 + z1 + z4, c3 * 25_172 + z2 + z3, c5 * 16_819 + z2 + z4, c7 * 2446 + z1 + z3];

    let descaled = |value: i64| (value + (1 << (shift - 1))) >> shift;
    let first = even.iter().zip(&odd).map(|(e, o)| e + o);
    let second = even.iter().zip(&odd).rev().map(|(e, o)| e - o);
    let slots = work.iter_mut().skip(start).step_by(step);
    slots.zip(first.chain(second)).for_each(|(slot, value)| *slot = descaled(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The transform by its definition (T.81 A.3.3).
    fn by_definition(block: &[i32; 64], x: usize, y: usize) -> f64 {
        let scale = |n: usize| if n == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let cosine = |at: usize, n: usize| ((2 * at + 1) as f64 * n as f64 * std::f64::consts::PI / 16.0).cos();
        let term = |i: usize| scale(i % 8) * scale(i / 8) * f64::from(block[i]) * cosine(x, i % 8) * cosine(y, i / 8);
        (0..64).map(term).sum::<f64>() / 4.0 + 2048.0
    }

    proptest::proptest! {
        #[test]
        fn it_is_the_transform_within_rounding(values in proptest::collection::vec(-400i32..400, 64)) {
            let mut block = [0; 64];
            block.iter_mut().zip(&values).enumerate().for_each(|(i, (slot, v))| *slot = if i % 3 == 0 { *v } else { 0 });
            let samples = inverse(&block, &[1; 64]);
            for (i, sample) in samples.iter().enumerate() {
                let exact = by_definition(&block, i % 8, i / 8).clamp(0.0, 4095.0);
                proptest::prop_assert!((f64::from(*sample) - exact).abs() <= 1.0, "{} {}", sample, exact);
            }
        }
    }
}
