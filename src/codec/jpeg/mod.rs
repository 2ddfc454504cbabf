//! JPEG (ITU-T T.81): extended sequential and progressive DCT of 12 bits, Huffman coded, and lossless; and whether a stream of 8 bits is
//! whole. Never reads past what came, never fills in what is missing.
//!
//! Our own because the maintained decoders in Rust know 8 bits only, and take what was cut off for a whole image. The transform is the integer
//! one that libjpeg calls "islow", so that samples are those of DCMTK and GDCM, bit for bit. Colour of 12 bits with fewer chroma samples and
//! arithmetic coding are refused.

pub mod baseline;
mod entropy;
mod huffman;
pub mod lossless;
mod out;
mod transform;
pub mod write;

use entropy::scan_block;
use huffman::{Bits, Table};

/// Why a stream is not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Cut off.
    #[error("the JPEG stream is cut off")]
    Ended,
    /// Bits that no encoder writes.
    #[error("the JPEG scan holds an impossible code")]
    Code,
    /// A marker segment that is not as it must be, or asks for what is not decoded here.
    #[error("JPEG: {0}")]
    Header(&'static str),
}

/// A decoded image.
#[derive(Debug)]
pub struct Image {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// Samples of a pixel.
    pub components: usize,
    /// Samples, by pixel.
    pub samples: Vec<u16>,
}

/// Coefficients of one component, 64 for each block.
struct Component {
    id: u8,
    quantisation: usize,
    /// Blocks of a unit of several components, across and down.
    sampling: (usize, usize),
    /// Blocks in a line that is filled up to whole units.
    across: usize,
    /// Blocks that hold something, across and down: those of a scan of its own (A.2.2).
    own: (usize, usize),
    blocks: Vec<[i32; 64]>,
    /// A scan of its first coefficients was read.
    begun: bool,
}

/// A block's turn in a unit.
struct Turn {
    /// Whose it is, among the components of the scan.
    which: usize,
    /// How many blocks of it a unit has, across and down.
    sampling: (usize, usize),
    /// Which of them it is.
    offset: (usize, usize),
}

/// Which coefficients of a scan at which precision (G.1.1.1.1).
#[derive(Clone, Copy)]
struct Spectrum {
    first: usize,
    last: usize,
    high: u32,
    low: u32,
    progressive: bool,
}

#[derive(Default)]
struct Decoder<'a> {
    rest: &'a [u8],
    precision: u8,
    columns: usize,
    rows: usize,
    progressive: bool,
    /// Units of several components, in all.
    units: (usize, usize),
    components: Vec<Component>,
    quantisation: [Option<[i32; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart: usize,
}

/// Whether a stream is one of 12 bits that belongs here.
pub fn is_twelve_bit(mut bytes: &[u8]) -> bool {
    while let Ok(Some((marker, content))) = segment(&mut bytes) {
        match marker {
            0xC1 | 0xC2 => return content.first() == Some(&12),
            0xC0 | 0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF | 0xDA => return false,
            _ => {}
        }
    }
    false
}

/// Decodes a stream of 12 bits and at most `most` samples.
///
/// # Errors
/// It is damaged, too large, or of a process that is not decoded here.
pub fn decode(bytes: &[u8], most: usize) -> Result<Image, Broken> {
    scanned(bytes, 12, most)?.image()
}

/// Whether each block of a stream of 8 bits is there: what decodes it fills in the rest.
pub fn is_cut_off(bytes: &[u8], most: usize) -> bool {
    // Another fault is for the decoder to tell, if it is one.
    matches!(scanned(bytes, 8, most), Err(Broken::Ended))
}

fn scanned(bytes: &[u8], precision: u8, most: usize) -> Result<Decoder<'_>, Broken> {
    let mut decoder = Decoder { rest: bytes, precision, ..Decoder::default() };
    let mut scans = 0;
    while let Some((marker, content)) = segment(&mut decoder.rest)? {
        match marker {
            0xC0..=0xC2 => decoder.frame(content, marker == 0xC2, most)?,
            0xC4 => decoder.huffman(content)?,
            0xDB => decoder.quantisation(content)?,
            0xDD => decoder.restart = content.first_chunk::<2>().map_or(0, |b| usize::from(u16::from_be_bytes(*b))),
            0xDA => {
                decoder.scan(content)?;
                scans += 1;
                // A progressive stream has at most a scan for each bit of each coefficient.
                if scans > 1000 {
                    return Err(Broken::Header("there are too many scans"));
                }
            }
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => return Err(Broken::Header("the coding process is not decoded")),
            _ => {}
        }
    }
    let whole = !decoder.components.is_empty() && decoder.components.iter().all(|c| c.begun);
    if whole { Ok(decoder) } else { Err(Broken::Ended) }
}

/// The next segment: its marker and content. None at the end of the image.
///
/// # Errors
/// It is cut off.
fn segment<'a>(rest: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, Broken> {
    loop {
        // What stands between segments is padding, or what a damaged scan left.
        let Some(at) = rest.windows(2).position(|w| matches!(w, [0xFF, m] if !matches!(m, 0 | 0xFF | 0xD0..=0xD7))) else {
            return Ok(None);
        };
        let marker = rest.get(at + 1).copied().unwrap_or(0xD9);
        *rest = rest.get(at + 2..).unwrap_or_default();
        match marker {
            0xD8 | 0x01 => {}
            0xD9 => return Ok(None),
            _ => {
                let [high, low, ..] = *rest else { return Err(Broken::Ended) };
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let content = rest.get(2..length).ok_or(Broken::Ended)?;
                *rest = rest.get(length..).unwrap_or_default();
                return Ok(Some((marker, content)));
            }
        }
    }
}

impl<'a> Decoder<'a> {
    fn frame(&mut self, segment: &[u8], progressive: bool, most: usize) -> Result<(), Broken> {
        let [precision, y1, y2, x1, x2, count, rest @ ..] = segment else { return Err(Broken::Ended) };
        self.rows = usize::from(u16::from_be_bytes([*y1, *y2]));
        self.columns = usize::from(u16::from_be_bytes([*x1, *x2]));
        let listed: Vec<[u8; 3]> = rest.as_chunks::<3>().0.iter().take(usize::from(*count)).copied().collect();
        let possible = *precision == self.precision && listed.len() == usize::from(*count) && self.components.is_empty();
        let sampling = |s: u8| (usize::from(s >> 4), usize::from(s & 15));
        let most_of = |side: fn((usize, usize)) -> usize| listed.iter().map(|[_, s, _]| side(sampling(*s))).max().unwrap_or(1);
        let (wide, tall) = (most_of(|s| s.0), most_of(|s| s.1));
        let usual = |s: u8| (1..=4).contains(&sampling(s).0) && (1..=4).contains(&sampling(s).1);
        if !possible || listed.is_empty() || !listed.iter().all(|[_, s, _]| usual(*s)) {
            return Err(Broken::Header("the frame header is not that of one image of so many bits"));
        }
        if self.precision == 12 && listed.len() > 1 && (wide, tall) != (1, 1) {
            return Err(Broken::Header("12-bit colour with fewer samples of chroma is not decoded"));
        }
        let total = self.rows.saturating_mul(self.columns).saturating_mul(listed.len());
        if self.rows == 0 || self.columns == 0 || total > most {
            return Err(Broken::Header("the frame has another size than the header of the object promises"));
        }
        self.progressive = progressive;
        self.units = (self.columns.div_ceil(8 * wide), self.rows.div_ceil(8 * tall));
        let component = |[id, s, q]: &[u8; 3]| {
            let (h, v) = sampling(*s);
            let (across, down) = (self.units.0 * h, self.units.1 * v);
            Component {
                id: *id,
                quantisation: usize::from(*q),
                sampling: (h, v),
                across,
                own: ((self.columns * h).div_ceil(8 * wide), (self.rows * v).div_ceil(8 * tall)),
                blocks: vec![[0; 64]; across * down],
                begun: false,
            }
        };
        self.components = listed.iter().map(component).collect();
        Ok(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Result<(), Broken> {
        while let Some((head, rest)) = segment.split_first() {
            let (table, used) = Table::read(rest)?;
            let tables = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(head & 15)).ok_or(Broken::Header("a Huffman table has no such number"))? = Some(table);
            segment = rest.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    fn quantisation(&mut self, mut segment: &[u8]) -> Result<(), Broken> {
        while let Some((head, rest)) = segment.split_first() {
            let width = if head >> 4 == 0 { 1 } else { 2 };
            let bytes = rest.get(..64 * width).ok_or(Broken::Ended)?;
            let mut table = [0; 64];
            for (place, value) in entropy::ZIGZAG.iter().zip(bytes.chunks_exact(width)) {
                if let Some(slot) = table.get_mut(*place) {
                    *slot = value.iter().fold(0, |n, b| (n << 8) | i32::from(*b));
                }
            }
            let slot = self.quantisation.get_mut(usize::from(head & 15));
            *slot.ok_or(Broken::Header("a quantisation table has no such number"))? = Some(table);
            segment = rest.get(64 * width..).unwrap_or_default();
        }
        Ok(())
    }

    fn scan(&mut self, segment: &[u8]) -> Result<(), Broken> {
        let (count, rest) = segment.split_first().ok_or(Broken::Ended)?;
        let count = usize::from(*count);
        let [first, last, approximation, ..] = rest.get(2 * count..).unwrap_or_default() else { return Err(Broken::Ended) };
        let spectrum = Spectrum {
            first: usize::from(*first),
            last: if self.progressive { usize::from(*last) } else { 63 },
            high: u32::from(approximation >> 4),
            low: u32::from(approximation & 15),
            progressive: self.progressive,
        };
        let dc_only = spectrum.first == 0 && spectrum.last == 0;
        let possible = spectrum.first <= spectrum.last
            && spectrum.last < 64
            && (!self.progressive || dc_only || (spectrum.first > 0 && count == 1))
            && (self.progressive || spectrum.first == 0)
            && spectrum.low <= 13;
        if !possible || count == 0 {
            return Err(Broken::Header("the scan header is damaged"));
        }
        let mut places = Vec::new();
        for [id, tables] in rest.as_chunks::<2>().0.iter().take(count) {
            let place = self.components.iter().position(|c| c.id == *id).ok_or(Broken::Header("a scan of no component"))?;
            places.push((place, usize::from(tables >> 4), usize::from(tables & 15)));
        }
        self.blocks(&places, spectrum)
    }

    fn blocks(&mut self, places: &[(usize, usize, usize)], spectrum: Spectrum) -> Result<(), Broken> {
        let order = self.order(places);
        let mut bits = Bits::new(self.rest);
        let mut before = vec![0i32; places.len()];
        let mut ended = 0;
        let units = if places.len() == 1 { self.single(places) } else { self.units };
        for number in 0..units.0 * units.1 {
            if self.restart > 0 && number > 0 && number % self.restart == 0 {
                bits.restart()?;
                before.fill(0);
                ended = 0;
            }
            let (x, y) = (number % units.0, number / units.0);
            for Turn { which, sampling, offset } in &order {
                let Some((place, dc, ac)) = places.get(*which) else { continue };
                let (dc, ac) = (self.dc.get(*dc).and_then(Option::as_ref), self.ac.get(*ac).and_then(Option::as_ref));
                let component = self.components.get_mut(*place).ok_or(Broken::Code)?;
                component.begun |= spectrum.first == 0;
                let at = (y * sampling.1 + offset.1) * component.across + x * sampling.0 + offset.0;
                let block = component.blocks.get_mut(at).ok_or(Broken::Code)?;
                let before = before.get_mut(*which).ok_or(Broken::Code)?;
                scan_block(&mut bits, block, dc, ac, spectrum, before, &mut ended)?;
            }
        }
        self.rest = bits.rest();
        Ok(())
    }

    /// Blocks of a scan of one component, across and down.
    fn single(&self, places: &[(usize, usize, usize)]) -> (usize, usize) {
        let component = places.first().and_then(|(place, ..)| self.components.get(*place));
        component.map_or((0, 0), |c| c.own)
    }

    /// The blocks of a unit, in order (A.2). A scan of one component has units of one block.
    fn order(&self, places: &[(usize, usize, usize)]) -> Vec<Turn> {
        let mut order = Vec::new();
        for (which, (place, ..)) in places.iter().enumerate() {
            let sampling = self.components.get(*place).filter(|_| places.len() > 1).map_or((1, 1), |c| c.sampling);
            let (h, v) = sampling;
            let offsets = (0..v).flat_map(|down| (0..h).map(move |right| (right, down)));
            order.extend(offsets.map(|offset| Turn { which, sampling, offset }));
        }
        order
    }

    fn image(self) -> Result<Image, Broken> {
        let (columns, rows, components) = (self.columns, self.rows, self.components.len());
        let mut samples = vec![0u16; rows * columns * components];
        for (i, component) in self.components.iter().enumerate() {
            let table = self.quantisation.get(component.quantisation).copied().flatten();
            let table = table.ok_or(Broken::Header("a quantisation table is missing"))?;
            for (number, block) in component.blocks.iter().enumerate() {
                let pixels = transform::inverse(block, &table);
                let (x, y) = (number % component.across * 8, number / component.across * 8);
                for (row, line) in pixels.chunks_exact(8).enumerate().take(rows.saturating_sub(y)) {
                    let start = ((y + row) * columns + x) * components + i;
                    let slots = samples.get_mut(start..).unwrap_or_default().iter_mut().step_by(components);
                    slots.zip(line).take(columns.saturating_sub(x)).for_each(|(slot, value)| *slot = *value);
                }
            }
        }
        Ok(Image { columns, rows, components, samples })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grey image of 8 x 8 at 12 bits: its DC difference is 5 bits of 1, everything else zero.
    fn flat() -> Vec<u8> {
        let mut s = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
        s.extend([8; 64]);
        s.extend([0xFF, 0xC1, 0, 11, 12, 0, 8, 0, 8, 1, 1, 0x11, 0]);
        // DC: category 5 is the code "0"; AC: end of block is the code "0".
        s.extend([0xFF, 0xC4, 0, 20, 0x00, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        s.extend([0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        s.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0b0111_1101, 0xFF, 0xD9]);
        s
    }

    #[test]
    fn a_flat_block_has_the_level_of_its_first_coefficient() {
        assert!(is_twelve_bit(&flat()));
        let image = decode(&flat(), 64).unwrap();
        // 31 times the quantiser 8, over 8, above the middle of 12 bits.
        assert_eq!((image.columns, image.rows, image.components), (8, 8, 1));
        assert_eq!(image.samples, vec![2048 + 31; 64]);
    }

    #[test]
    fn what_is_no_such_stream_is_an_error() {
        assert!(decode(&flat(), 63).is_err());
        assert!(decode(&[], 64).is_err());
        assert!(!is_twelve_bit(&[0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8]));
        for cut in 0..flat().len() - 4 {
            assert!(decode(&flat()[..cut], 64).is_err(), "{cut}");
        }
    }

    proptest::proptest! {
        #[test]
        fn damaged_streams_never_panic(at in 0usize..1000, with in proptest::num::u8::ANY, again in 0usize..1000, twice in proptest::num::u8::ANY) {
            let mut stream = flat();
            let (at, again) = (at % stream.len(), again % stream.len());
            stream[at] = with;
            stream[again] = twice;
            let _ = decode(&stream, 1 << 12);
        }
    }
}
