//! What every JPEG stream is written with (T.81 annexes B and C): marker segments, Huffman's codes, bits. Never reads.

/// A marker segment.
pub fn segment(out: &mut Vec<u8>, marker: u8, content: impl IntoIterator<Item = u8>) {
    let content: Vec<u8> = content.into_iter().collect();
    out.extend_from_slice(&[0xFF, marker]);
    out.extend_from_slice(&u16::try_from(content.len() + 2).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&content);
}

/// The codes of a table with so many of each length from 1, with their lengths (T.81 C.2).
pub fn codes(lengths: [u8; 16]) -> impl Iterator<Item = (u32, u32)> {
    let of_each = (1u32..).zip(lengths).flat_map(|(length, n)| std::iter::repeat_n(length, usize::from(n)));
    of_each.scan((0u32, 0u32), |(next, last), length| {
        let code = *next << (length - *last);
        (*next, *last) = (code + 1, length);
        Some((code, length))
    })
}

/// Bits of a scan, most significant first; a 0 byte follows each of ones (T.81 F.1.2.3).
pub struct Bits {
    out: Vec<u8>,
    /// From the top.
    word: u64,
    /// How many of it are free.
    room: u32,
}

impl Bits {
    /// After what is there already.
    pub fn after(out: Vec<u8>) -> Bits {
        Bits { out, word: 0, room: 64 }
    }

    /// At most 32 bits.
    #[inline]
    pub fn put(&mut self, bits: u32, count: u32) {
        self.room -= count;
        self.word |= u64::from(bits) << self.room;
        if self.room <= 32 {
            let [a, b, c, d, ..] = self.word.to_be_bytes();
            let upper = u32::from_be_bytes([a, b, c, d]);
            self.word <<= 32;
            self.room += 32;
            // Of a byte of ones the top bit is set, and in its successor is not. Between neighbours that carry it may be found where it is
            // none, never missed.
            if upper & 0x8080_8080 & !upper.wrapping_add(0x0101_0101) == 0 {
                self.out.extend_from_slice(&[a, b, c, d]);
            } else {
                [a, b, c, d].into_iter().for_each(|byte| self.byte(byte));
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
        if byte == 0xFF {
            self.out.push(0);
        }
    }

    /// The last byte is filled with ones.
    pub fn end(mut self) -> Vec<u8> {
        let held = 64 - self.room;
        let filled = self.word | u64::MAX.checked_shr(held).unwrap_or(0);
        for byte in filled.to_be_bytes().into_iter().take(held.div_ceil(8) as usize) {
            self.byte(byte);
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_in_order_and_a_zero_follows_every_byte_of_ones() {
        let mut bits = Bits::after(vec![7]);
        for (value, count) in [(0b1, 1), (0x7F, 7), (0xFFFF, 16), (0x00FF_00FE, 32), (0b101, 3)] {
            bits.put(value, count);
        }
        assert_eq!(bits.end(), [7, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0x00, 0xFF, 0, 0x00, 0xFE, 0b1011_1111]);
        assert!(Bits::after(Vec::new()).end().is_empty());
        // A carry between bytes hides no byte of ones.
        for word in [0xFEFF_FFFFu32, 0xFF00_FF7F, 0x7FFF_FF80, 0xFFFF_FFFF, 0x00FE_FFFE] {
            let mut bits = Bits::after(Vec::new());
            bits.put(word, 32);
            let stuffed: Vec<u8> =
                word.to_be_bytes().into_iter().flat_map(|b| if b == 0xFF { vec![b, 0] } else { vec![b] }).collect();
            assert_eq!(bits.end(), stuffed, "{word:08x}");
        }
    }

    #[test]
    fn codes_count_up_within_a_length_and_go_on_a_bit_longer() {
        let mut lengths = [0; 16];
        (lengths[0], lengths[2], lengths[3]) = (1, 2, 1);
        assert_eq!(codes(lengths).collect::<Vec<_>>(), [(0b0, 1), (0b100, 3), (0b101, 3), (0b1100, 4)]);
    }
}
