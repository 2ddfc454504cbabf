//! Bits of a JPEG-LS scan (T.87 A.1): most significant first; after a byte of 0xFF one 0 bit is stuffed, so that no marker can arise.

use super::Broken;

/// One direction of coding: what is read is returned, what is written was given.
pub trait Bits {
    /// Whether values are written.
    const WRITES: bool;

    /// One bit.
    ///
    /// # Errors
    /// The scan ended.
    fn bit(&mut self, value: u32) -> Result<u32, Broken>;

    /// `count` bits, at most 24.
    ///
    /// # Errors
    /// The scan ended.
    fn bits(&mut self, count: u32, value: u32) -> Result<u32, Broken>;

    /// A value in the limited-length Golomb code (A.5.3): `limit` bits at most, `escape` of them for a value written out.
    ///
    /// # Errors
    /// The scan ended, or no such code exists.
    fn golomb(&mut self, k: u32, limit: u32, escape: u32, value: u32) -> Result<u32, Broken>;
}

/// Reads bits until a marker.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    word: u64,
    held: u32,
    after_ff: bool,
    lent: u32,
}

/// Zero bits that may be read after the end: writers pad the last byte, and some drop it.
const LENT: u32 = 8;

impl<'a> Reader<'a> {
    /// Of the bytes after a scan's header.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, word: 0, held: 0, after_ff: false, lent: 0 }
    }

    /// Bytes taken: the next one begins a marker, or nothing is left.
    pub fn position(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.held <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            if self.after_ff {
                // A set top bit after 0xFF is a marker, which began one byte earlier.
                if byte & 0x80 != 0 {
                    return;
                }
                self.word |= u64::from(byte) << (64 - 7 - self.held);
                self.held += 7;
            } else {
                if byte == 0xFF && self.bytes.get(self.at + 1).is_none_or(|next| next & 0x80 != 0) {
                    return;
                }
                self.word |= u64::from(byte) << (64 - 8 - self.held);
                self.held += 8;
            }
            self.after_ff = byte == 0xFF;
            self.at += 1;
        }
    }

    fn need(&mut self, count: u32) -> Result<(), Broken> {
        if self.held < count {
            self.fill();
            if self.held < count {
                let short = count - self.held;
                self.lent += short;
                if self.lent > LENT {
                    return Err(Broken::Ended);
                }
                self.held += short;
            }
        }
        Ok(())
    }

    fn drop(&mut self, count: u32) {
        self.word <<= count;
        self.held -= count;
    }
}

impl Bits for Reader<'_> {
    const WRITES: bool = false;

    fn bit(&mut self, _: u32) -> Result<u32, Broken> {
        self.bits(1, 0)
    }

    fn bits(&mut self, count: u32, _: u32) -> Result<u32, Broken> {
        if count == 0 {
            return Ok(0);
        }
        self.need(count)?;
        let value = u32::try_from(self.word >> (64 - count)).unwrap_or(0);
        self.drop(count);
        Ok(value)
    }

    fn golomb(&mut self, k: u32, limit: u32, escape: u32, _: u32) -> Result<u32, Broken> {
        let most = limit.checked_sub(escape + 1).ok_or(Broken::Code)?;
        let mut zeros = 0;
        loop {
            self.need(1)?;
            let run = self.word.leading_zeros().min(self.held);
            zeros += run;
            if zeros > most {
                return Err(Broken::Code);
            }
            if run < self.held {
                self.drop(run + 1);
                break;
            }
            self.drop(run);
        }
        if zeros < most { Ok((zeros << k) | self.bits(k, 0)?) } else { Ok(self.bits(escape, 0)? + 1) }
    }
}

/// Writes bits.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    word: u64,
    held: u32,
    after_ff: bool,
}

impl Writer {
    /// Pads the last byte and gives the scan.
    pub fn finish(mut self) -> Vec<u8> {
        let width = if self.after_ff { 7 } else { 8 };
        // A last 0xFF asks for a byte after it, or a decoder would take it for the begin of a marker.
        if self.held > 0 || self.after_ff {
            self.push(width - self.held, 0);
        }
        self.bytes
    }

    fn push(&mut self, count: u32, value: u32) {
        self.word = (self.word << count) | u64::from(value);
        self.held += count;
        loop {
            let width = if self.after_ff { 7 } else { 8 };
            if self.held < width {
                return;
            }
            let byte = u8::try_from((self.word >> (self.held - width)) & ((1 << width) - 1)).unwrap_or(0);
            self.held -= width;
            self.word &= (1 << self.held) - 1;
            self.bytes.push(byte);
            self.after_ff = byte == 0xFF;
        }
    }
}

impl Bits for Writer {
    const WRITES: bool = true;

    fn bit(&mut self, value: u32) -> Result<u32, Broken> {
        self.bits(1, value)
    }

    fn bits(&mut self, count: u32, value: u32) -> Result<u32, Broken> {
        self.push(count, value);
        Ok(value)
    }

    fn golomb(&mut self, k: u32, limit: u32, escape: u32, value: u32) -> Result<u32, Broken> {
        let most = limit.checked_sub(escape + 1).ok_or(Broken::Code)?;
        let high = value >> k;
        let (zeros, rest, width) = if high < most { (high, value & ((1 << k) - 1), k) } else { (most, value - 1, escape) };
        let mut left = zeros;
        while left > 24 {
            self.push(24, 0);
            left -= 24;
        }
        self.push(left + 1, 1);
        self.push(width, rest);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec((0u32..70_000, 0u32..12), 0..300)) {
            let mut writer = Writer::default();
            for (value, k) in &values {
                writer.golomb(*k, 64, 17, *value).unwrap();
                writer.bits(*k, value & ((1 << k) - 1)).unwrap();
            }
            let bytes = writer.finish();
            proptest::prop_assert!(bytes.windows(2).all(|w| w[0] != 0xFF || w[1] < 0x80));
            proptest::prop_assert_ne!(bytes.last(), Some(&0xFF));
            let mut reader = Reader::new(&bytes);
            for (value, k) in &values {
                proptest::prop_assert_eq!(reader.golomb(*k, 64, 17, 0).unwrap(), *value);
                proptest::prop_assert_eq!(reader.bits(*k, 0).unwrap(), value & ((1 << k) - 1));
            }
        }
    }
}
