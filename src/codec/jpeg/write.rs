//! JPEG lossless (ITU-T T.81 annex H) written: process 14 with the first predictor, one table of codes made for the frame. Never reads:
//! that is `lossless.rs`.
//!
//! Our own because no maintained Rust crate writes it, and because many an archive takes pictures compressed in no other way.

use super::out::{Bits, codes, segment};

/// Categories of differences: how many bits follow the code (T.81 table H.2).
const CATEGORIES: usize = 17;

/// Longest code.
const LONGEST: usize = 16;

/// Encodes samples of at most `precision` bits (2 to 16), by pixel; `components` are the names of a pixel's samples. None where they are
/// not as many as the size says, or the size is over what the frame header holds.
pub fn encode(columns: u32, rows: u32, components: &[u8], precision: u32, samples: &[u16]) -> Option<Vec<u8>> {
    let (width, height) = (u16::try_from(columns).ok()?, u16::try_from(rows).ok()?);
    let line = usize::from(width) * components.len();
    if line == 0 || height == 0 || samples.len() != line * usize::from(height) || !(2..=16).contains(&precision) {
        return None;
    }
    let differences = differences(samples, line, components.len(), precision);
    let mut counts = [0u64; CATEGORIES];
    for difference in &differences {
        *counts.get_mut(category(*difference))? += 1;
    }
    let table = Table::of(&counts)?;
    let mut out = vec![0xFF, 0xD8];
    let number = u8::try_from(components.len()).ok()?;
    let parts = components.iter().flat_map(|name| [*name, 0x11, 0]);
    let [high, low] = height.to_be_bytes();
    let [left, right] = width.to_be_bytes();
    segment(&mut out, 0xC3, [u8::try_from(precision).ok()?, high, low, left, right, number].into_iter().chain(parts));
    segment(&mut out, 0xC4, table.written());
    let parts = components.iter().flat_map(|name| [*name, 0]);
    // Predictor 1, no point transform.
    segment(&mut out, 0xDA, std::iter::once(number).chain(parts).chain([1, 0, 0]));
    let mut bits = Bits::after(out);
    for difference in differences {
        table.put(&mut bits, difference)?;
    }
    let mut out = bits.end();
    out.extend_from_slice(&[0xFF, 0xD9]);
    Some(out)
}

/// Each sample less what stands left of it, at the left edge above it, at the first half of the range (T.81 H.1.2.1); modulo 65,536.
fn differences(samples: &[u16], line: usize, components: usize, precision: u32) -> Vec<i16> {
    let half = 1u16.checked_shl(precision - 1).unwrap_or(0);
    let mut out = Vec::with_capacity(samples.len());
    let mut above: &[u16] = &[];
    for row in samples.chunks_exact(line) {
        for (at, value) in row.iter().enumerate() {
            let before = at.checked_sub(components).and_then(|left| row.get(left)).or_else(|| above.get(at));
            out.push(value.wrapping_sub(*before.unwrap_or(&half)).cast_signed());
        }
        above = row;
    }
    out
}

fn category(difference: i16) -> usize {
    (16 - difference.unsigned_abs().leading_zeros()) as usize
}

/// Codes of the categories.
struct Table {
    /// Bits and how many, by category.
    codes: [(u32, u32); CATEGORIES],
    /// How many codes there are of each length from 1.
    lengths: [u8; LONGEST],
    /// The categories, those of short codes first.
    order: Vec<usize>,
}

impl Table {
    /// Huffman's, none longer than 16 bits, none of ones alone (T.81 K.2).
    fn of(counts: &[u64; CATEGORIES]) -> Option<Table> {
        let mut counts = *counts;
        let mut found = depths(&counts);
        // Counts that differ less make a flatter tree.
        while found.iter().any(|depth| *depth > LONGEST) {
            counts = counts.map(|n| n.div_ceil(2));
            found = depths(&counts);
        }
        let of_category = |category: &usize| found.get(*category).copied().unwrap_or(0);
        let mut order: Vec<usize> = (0..CATEGORIES).filter(|c| of_category(c) > 0).collect();
        order.sort_by_key(of_category);
        let number = |length| order.iter().filter(|c| of_category(c) == length).count();
        let lengths = std::array::from_fn(|at| u8::try_from(number(at + 1)).unwrap_or(0));
        let mut table = Table { codes: [(0, 0); CATEGORIES], lengths, order };
        for (category, code) in table.order.iter().zip(codes(table.lengths)) {
            *table.codes.get_mut(*category)? = code;
        }
        Some(table)
    }

    /// The content of the marker segment (T.81 B.2.4.2).
    fn written(&self) -> impl Iterator<Item = u8> {
        let order = self.order.iter().map(|c| u8::try_from(*c).unwrap_or(u8::MAX));
        std::iter::once(0).chain(self.lengths).chain(order)
    }

    fn put(&self, bits: &mut Bits, difference: i16) -> Option<()> {
        let category = category(difference);
        let (code, length) = *self.codes.get(category)?;
        bits.put(code, length);
        // 32,768 is alone in its category (T.81 H.1.2.2).
        if category < 16 && category > 0 {
            let value = if difference < 0 { difference.wrapping_sub(1) } else { difference };
            let mask = (1u32 << category) - 1;
            bits.put(u32::from(value.cast_unsigned()) & mask, u32::try_from(category).ok()?);
        }
        Some(())
    }
}

/// How deep each category lies in Huffman's tree, 0 where it never comes; behind them one more that never comes, which takes the code of
/// ones alone.
fn depths(counts: &[u64; CATEGORIES]) -> [usize; CATEGORIES + 1] {
    let mut trees: Vec<(u64, Vec<usize>)> = vec![(0, vec![CATEGORIES])];
    trees.extend(counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(category, n)| (*n, vec![category])));
    let mut depths = [0; CATEGORIES + 1];
    while trees.len() > 1 {
        trees.sort_by_key(|tree| std::cmp::Reverse(tree.0));
        let (Some(rarest), Some(rare)) = (trees.pop(), trees.pop()) else { break };
        let both = [rare.1, rarest.1].concat();
        for leaf in &both {
            if let Some(depth) = depths.get_mut(*leaf) {
                *depth += 1;
            }
        }
        trees.push((rare.0 + rarest.0, both));
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_none_longer_than_sixteen_bits_none_the_beginning_of_another_and_none_of_ones() {
        let mut counts = [0; CATEGORIES];
        let (mut a, mut b) = (1u64, 1);
        for slot in &mut counts {
            // Fibonacci's numbers make the deepest tree.
            (*slot, a, b) = (a, b, a + b);
        }
        for counts in [counts, [1; CATEGORIES], std::array::from_fn(|i| u64::from(i == 3))] {
            let table = Table::of(&counts).unwrap();
            let used: Vec<(u32, u32)> = table.codes.into_iter().filter(|(_, length)| *length > 0).collect();
            assert_eq!(used.len(), counts.iter().filter(|n| **n > 0).count());
            for (i, (code, length)) in used.iter().enumerate() {
                assert!(*length <= 16 && *code != (1 << length) - 1, "{code:b} of {length}");
                let begins = |(other, longer): &(u32, u32)| longer >= length && other >> (longer - length) == *code;
                assert_eq!(used.iter().filter(|other| begins(other)).count(), 1, "{i}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(encode(2, 2, &[1], 8, &[0; 4]).is_some());
        assert!(encode(2, 2, &[1], 8, &[0; 3]).is_none());
        assert!(encode(70_000, 1, &[1], 8, &[0; 70_000]).is_none());
        assert!(encode(2, 2, &[1], 17, &[0; 4]).is_none());
        assert!(encode(0, 2, &[1], 8, &[]).is_none());
    }
}
