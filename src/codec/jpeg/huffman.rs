//! Bits of a scan and Huffman's codes in them (T.81 annexes C and F.2.2), for every process. Lends no more bits than an encoder's padding had.

use super::Broken;

/// Codes up to this length are found at once.
const QUICK: u32 = 9;

/// A Huffman table (annex C).
#[derive(Debug, Clone)]
pub struct Table {
    /// By the next bits: length and value; a length of 0 where the code is longer.
    quick: Vec<(u8, u8)>,
    /// For each length: the first code, how many there are, and where their values begin.
    lengths: [(u32, u32, usize); 16],
    values: Vec<u8>,
}

impl Table {
    /// From the counts and values of a segment; gives how many bytes they took.
    ///
    /// # Errors
    /// They are cut off, or no table.
    pub fn read(bytes: &[u8]) -> Result<(Table, usize), Broken> {
        let counts = bytes.get(..16).ok_or(Broken::Ended)?;
        let total: usize = counts.iter().map(|c| usize::from(*c)).sum();
        let values = bytes.get(16..16 + total).ok_or(Broken::Ended)?.to_vec();
        let mut lengths = [(0, 0, 0); 16];
        let (mut code, mut at) = (0u32, 0);
        for ((slot, count), bits) in lengths.iter_mut().zip(counts).zip(1u32..) {
            let count = u32::from(*count);
            if code + count > 1 << bits {
                return Err(Broken::Header("a Huffman table has more codes than there are"));
            }
            *slot = (code, count, at);
            at += count as usize;
            code = (code + count) << 1;
        }
        let mut table = Table { quick: Vec::new(), lengths, values };
        table.quick = (0..1u32 << QUICK).map(|bits| table.look(bits << (16 - QUICK), QUICK).unwrap_or((0, 0))).collect();
        Ok((table, 16 + total))
    }

    /// The code of at most `longest` bits at the top of 16: its length and value.
    fn look(&self, bits: u32, longest: u32) -> Option<(u8, u8)> {
        for ((first, count, at), length) in self.lengths.iter().zip(1..=longest) {
            let offset = (bits >> (16 - length)).wrapping_sub(*first);
            if offset < *count {
                return Some((u8::try_from(length).ok()?, *self.values.get(at + offset as usize)?));
            }
        }
        None
    }
}

/// Bits of a scan; a 0 follows each 0xFF that is no marker.
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the top.
    word: u64,
    held: u32,
    lent: u32,
}

/// Bits that may be read after the end: encoders pad the last byte with ones, and some objects lost theirs.
const LENT: u32 = 16;

impl<'a> Bits<'a> {
    /// Of the bytes after a scan's header.
    pub fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0, word: 0, held: 0, lent: 0 }
    }

    /// What follows the scan.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn fill(&mut self) {
        while self.held <= 48 {
            let Some(byte) = self.bytes.get(self.at) else { return };
            if *byte == 0xFF {
                if self.bytes.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.word |= u64::from(*byte) << (56 - self.held);
            self.held += 8;
        }
    }

    /// The next bits, at the top; ones after the end.
    #[inline]
    fn peek(&mut self) -> u64 {
        if self.held < 32 {
            self.fill();
        }
        self.word | u64::MAX.checked_shr(self.held).unwrap_or(0)
    }

    #[inline]
    fn take(&mut self, count: u32) -> Result<(), Broken> {
        if count > self.held {
            self.lent += count - self.held;
            (self.word, self.held) = (0, 0);
            return if self.lent > LENT { Err(Broken::Ended) } else { Ok(()) };
        }
        self.word = self.word.checked_shl(count).unwrap_or(0);
        self.held -= count;
        Ok(())
    }

    /// One bit.
    ///
    /// # Errors
    /// The scan ended.
    #[inline]
    pub fn bit(&mut self) -> Result<u32, Broken> {
        self.bits(1).map(i32::cast_unsigned)
    }

    /// At most 16 bits.
    ///
    /// # Errors
    /// The scan ended.
    #[inline]
    pub fn bits(&mut self, count: u32) -> Result<i32, Broken> {
        let value = self.peek().checked_shr(64 - count).unwrap_or(0);
        self.take(count)?;
        Ok(i32::try_from(value).unwrap_or(0))
    }

    /// The value of the next code.
    ///
    /// # Errors
    /// The scan ended, there is no table, or no such code.
    #[inline]
    pub fn symbol(&mut self, table: Option<&Table>) -> Result<u8, Broken> {
        let table = table.ok_or(Broken::Header("a Huffman table is missing"))?;
        let bits = u32::try_from(self.peek() >> 48).unwrap_or(0);
        let (length, value) = match table.quick.get((bits >> (16 - QUICK)) as usize) {
            Some((length, value)) if *length > 0 => (*length, *value),
            // Ones without an end are no code: then nothing is there any more.
            _ => table.look(bits, 16).ok_or(if self.held < 16 { Broken::Ended } else { Broken::Code })?,
        };
        self.take(u32::from(length))?;
        Ok(value)
    }

    /// A value of so many bits with its sign (F.2.2.1).
    ///
    /// # Errors
    /// The scan ended, or the value would be too long.
    #[inline]
    pub fn signed(&mut self, size: u32) -> Result<i32, Broken> {
        if size == 0 {
            return Ok(0);
        }
        if size > 16 {
            return Err(Broken::Code);
        }
        let value = self.bits(size)?;
        Ok(if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value })
    }

    /// Goes to the next restart marker.
    ///
    /// # Errors
    /// There is none.
    pub fn restart(&mut self) -> Result<(), Broken> {
        (self.word, self.held) = (0, 0);
        let marker = self.rest().windows(2).position(|w| matches!(w, [0xFF, 0xD0..=0xD7])).ok_or(Broken::Ended)?;
        self.at += marker + 2;
        Ok(())
    }
}
