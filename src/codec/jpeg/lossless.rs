//! JPEG lossless (ITU-T T.81 annex H) read: process 14 with every predictor, 2 to 16 bits. Never fills in what is not there: a stream that
//! ends early is an error.
//!
//! Our own because the maintained decoder takes a cut-off stream for a whole one, with one shade in place of what is missing.

use super::huffman::{Bits, Table};
use super::{Broken, segment};
use crate::codec::jpegls::Image;

#[derive(Default)]
struct Decoder {
    columns: usize,
    rows: usize,
    precision: u32,
    /// Names of the components, and whether their scan was read.
    components: Vec<(u8, bool)>,
    tables: [Option<Table>; 4],
    restart: usize,
    samples: Vec<u16>,
}

/// Decodes a stream of at most `most` samples.
///
/// # Errors
/// It is damaged, cut off, too large, or of another process.
pub fn decode(bytes: &[u8], most: usize) -> Result<Image, Broken> {
    let (mut rest, mut decoder) = (bytes, Decoder::default());
    while let Some((marker, content)) = segment(&mut rest)? {
        match marker {
            0xC3 => decoder.frame(content, most)?,
            0xC4 => decoder.huffman(content)?,
            0xDD => decoder.restart = content.first_chunk::<2>().map_or(0, |b| usize::from(u16::from_be_bytes(*b))),
            0xDA => rest = decoder.scan(content, rest)?,
            0xC0..=0xCF => return Err(Broken::Header("the coding process is not the lossless one")),
            _ => {}
        }
        if !decoder.components.is_empty() && decoder.components.iter().all(|(_, done)| *done) {
            break;
        }
    }
    let Decoder { columns, rows, precision, components, samples, .. } = decoder;
    if components.is_empty() || components.iter().any(|(_, done)| !done) {
        return Err(Broken::Ended);
    }
    Ok(Image { columns, rows, components: components.len(), precision, samples })
}

impl Decoder {
    fn frame(&mut self, content: &[u8], most: usize) -> Result<(), Broken> {
        let [precision, y1, y2, x1, x2, count, rest @ ..] = content else { return Err(Broken::Ended) };
        self.rows = usize::from(u16::from_be_bytes([*y1, *y2]));
        self.columns = usize::from(u16::from_be_bytes([*x1, *x2]));
        self.precision = u32::from(*precision);
        let listed: Vec<[u8; 3]> = rest.as_chunks::<3>().0.iter().take(usize::from(*count)).copied().collect();
        let possible = (2..=16).contains(precision) && listed.len() == usize::from(*count) && self.components.is_empty();
        if !possible || listed.is_empty() {
            return Err(Broken::Header("the frame header is not that of one lossless image"));
        }
        if listed.len() > 1 && listed.windows(2).any(|pair| matches!(pair, [[_, a, _], [_, b, _]] if a != b)) {
            return Err(Broken::Header("lossless colour with fewer samples of chroma is not decoded"));
        }
        let total = self.rows.saturating_mul(self.columns).saturating_mul(listed.len());
        if total == 0 || total > most {
            return Err(Broken::Header("the frame has another size than the header of the object promises"));
        }
        self.components = listed.iter().map(|[name, ..]| (*name, false)).collect();
        self.samples = vec![0; total];
        Ok(())
    }

    fn huffman(&mut self, mut content: &[u8]) -> Result<(), Broken> {
        while let Some((head, rest)) = content.split_first() {
            let (table, used) = Table::read(rest)?;
            *self.tables.get_mut(usize::from(head & 15)).ok_or(Broken::Header("a Huffman table has no such number"))? =
                Some(table);
            content = rest.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads a scan; gives what follows it.
    fn scan<'a>(&mut self, content: &[u8], rest: &'a [u8]) -> Result<&'a [u8], Broken> {
        let (count, listed) = content.split_first().ok_or(Broken::Ended)?;
        let count = usize::from(*count);
        let [predictor, _, transform, ..] = listed.get(2 * count..).unwrap_or_default() else { return Err(Broken::Ended) };
        let shift = u32::from(transform & 15);
        if !(1..=7).contains(predictor) || shift >= self.precision || count == 0 {
            return Err(Broken::Header("the scan header is not that of a lossless image"));
        }
        let mut parts = Vec::new();
        for [name, table] in listed.as_chunks::<2>().0.iter().take(count) {
            let place = self.components.iter().position(|c| c.0 == *name && !c.1);
            let place = place.ok_or(Broken::Header("a scan of no component"))?;
            if let Some((_, done)) = self.components.get_mut(place) {
                *done = true;
            }
            let table = self.tables.get(usize::from(table >> 4)).and_then(Option::as_ref);
            parts.push((place, table.ok_or(Broken::Header("a Huffman table is missing"))?));
        }
        let lines = Lines {
            width: self.columns * self.components.len(),
            step: self.components.len(),
            predictor: *predictor,
            first: 1 << (self.precision - shift - 1),
            shift,
            restart: self.restart,
        };
        let mut bits = Bits::new(rest);
        lines.read(&mut bits, &parts, &mut self.samples)?;
        Ok(bits.rest())
    }
}

/// How the samples of a scan follow from what was before them.
struct Lines {
    width: usize,
    step: usize,
    predictor: u8,
    /// What the first sample of all is predicted as.
    first: i32,
    shift: u32,
    /// Pixels between restart markers; 0 for none.
    restart: usize,
}

impl Lines {
    fn read(&self, bits: &mut Bits<'_>, parts: &[(usize, &Table)], samples: &mut [u16]) -> Result<(), Broken> {
        let columns = self.width / self.step;
        let mut above: Vec<u16> = Vec::new();
        if !self.restart.is_multiple_of(columns.max(1)) {
            return Err(Broken::Header("restart markers stand within a line"));
        }
        for (row, line) in samples.chunks_exact_mut(self.width).enumerate() {
            if self.restart > 0 && row > 0 && (row * columns).is_multiple_of(self.restart) {
                bits.restart()?;
                // All begins anew, as with the first line (H.1.1).
                above.clear();
            }
            for column in 0..columns {
                for (place, table) in parts {
                    let at = column * self.step + place;
                    let difference = match u32::from(bits.symbol(Some(table))?) {
                        16 => 32_768,
                        size => bits.signed(size)?,
                    };
                    let value = (self.predict(line, &above, at) + difference) & 0xFFFF;
                    if let Some(slot) = line.get_mut(at) {
                        *slot = u16::try_from(value).unwrap_or(0) << self.shift;
                    }
                }
            }
            above.clear();
            above.extend_from_slice(line);
        }
        Ok(())
    }

    /// Table H.1; at the edges what is there.
    #[inline]
    fn predict(&self, line: &[u16], above: &[u16], at: usize) -> i32 {
        let known = |v: Option<&u16>| v.map(|v| i32::from(*v >> self.shift));
        let left = at.checked_sub(self.step);
        let a = known(left.and_then(|left| line.get(left)));
        let b = known(above.get(at));
        match (a, b) {
            (None, None) => self.first,
            (Some(a), None) => a,
            (None, Some(b)) => b,
            (Some(a), Some(b)) => {
                let c = known(left.and_then(|left| above.get(left))).unwrap_or(b);
                match self.predictor {
                    1 => a,
                    2 => b,
                    3 => c,
                    4 => a + b - c,
                    5 => a + ((b - c) >> 1),
                    6 => b + ((a - c) >> 1),
                    _ => (a + b) >> 1,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::jpeg::write::encode;

    fn samples() -> Vec<u16> {
        (0..40 * 30 * 3u32).map(|i| u16::try_from((i * i / 7 + i * 31) % 4096).unwrap()).collect()
    }

    #[test]
    fn what_is_written_is_read_and_nothing_less() {
        let stream = encode(40, 30, &[1, 2, 3], 12, &samples()).unwrap();
        let image = decode(&stream, 3600).unwrap();
        assert_eq!((image.columns, image.rows, image.components, image.precision), (40, 30, 3, 12));
        assert_eq!(image.samples, samples());
        assert!(decode(&stream, 3599).is_err());
        for cut in (0..stream.len() - 6).step_by(7) {
            let mut short = stream[..cut].to_vec();
            assert!(decode(&short, 3600).is_err(), "{cut}");
            short.extend([0xFF, 0xD9]);
            assert!(decode(&short, 3600).is_err(), "{cut} with an end");
        }
    }

    proptest::proptest! {
        #[test]
        fn damaged_streams_never_panic(at in 0usize..6000, with in proptest::num::u8::ANY, again in 0usize..200, twice in proptest::num::u8::ANY) {
            let mut stream = encode(40, 30, &[1, 2, 3], 12, &samples()).unwrap();
            let (at, again) = (at % stream.len(), again % stream.len());
            stream[at] = with;
            stream[again] = twice;
            let _ = decode(&stream, 1 << 12);
        }
    }
}
