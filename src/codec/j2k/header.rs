//! The main header of a JPEG 2000 code stream and its tile-parts (ITU-T T.800 annex A), as far as its packets depend on them. What is seldom
//! written (changes of progression, packed packet headers, parameters of single tiles) makes the answer "cannot be told", never a guess.

use crate::codec::reversible::segments;
use std::collections::BTreeMap;

/// A rectangle, its ends exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub x: (u64, u64),
    pub y: (u64, u64),
}

/// How one component is coded.
#[derive(Debug, Clone)]
pub(super) struct Component {
    /// Distance of its samples on the reference grid.
    pub apart: (u64, u64),
    /// Magnitude bits by sub-band: LL, then HL, LH, HH of every level (Mb, equation E-2); empty where it is quantised.
    pub bits: Vec<u32>,
}

/// What the packets of a code stream depend on.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub image: Area,
    /// Width, height and origin of the tiles.
    pub tile: ((u64, u64), (u64, u64)),
    pub components: Vec<Component>,
    pub progression: u8,
    pub layers: u32,
    pub levels: u32,
    /// Exponents of a code-block's width and height.
    pub block: (u32, u32),
    pub style: u8,
    /// Exponents of the precincts' width and height, by resolution.
    pub precincts: Vec<(u32, u32)>,
    /// Markers may stand before (SOP) and after (EPH) packet headers.
    pub sop: bool,
    pub eph: bool,
}

/// Bytes read from the front; none when they end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn long(&mut self) -> Option<u64> {
        Some((u64::from(self.short()?) << 16) | u64::from(self.short()?))
    }
}

const TILE_PART: u8 = 0x90;

/// More components than this are no picture of a body.
const MOST_COMPONENTS: u16 = 4;

impl Header {
    /// Of a code stream without a box around it; none where it is damaged or holds what is not known here.
    pub fn of(stream: &[u8]) -> Option<Header> {
        let (mut size, mut coding, mut quantisation) = (None, None, None);
        for (marker, contents) in segments(stream.get(2..)?, TILE_PART) {
            match marker {
                0x51 => size = Some(contents),
                0x52 => coding = Some(contents),
                0x5C => quantisation = Some(contents),
                // Lengths and comments; Part 15 capabilities come with a style that is refused below.
                0x50 | 0x55 | 0x57 | 0x58 | 0x63 | 0x64 | TILE_PART => {}
                // COC, QCC, RGN, POC, PPM and what is not known.
                _ => return None,
            }
        }
        let (image, tile, apart) = sizes(size?)?;
        let mut fields = Fields(coding?);
        let scod = fields.byte()?;
        let (progression, layers, _, levels) = (fields.byte()?, fields.short()?, fields.byte()?, fields.byte()?);
        let (across, down, style, _transform) = (fields.byte()?, fields.byte()?, fields.byte()?, fields.byte()?);
        // Part 1 has up to 32 levels and blocks of 1024 by 4; part 15 blocks are coded otherwise.
        if levels > 32 || across > 8 || down > 8 || style & !0x3F != 0 {
            return None;
        }
        let levels = u32::from(levels);
        let precincts = (0..=levels).map(|_| {
            let sizes = if scod & 1 == 0 { 0xFF } else { fields.byte()? };
            Some((u32::from(sizes & 15), u32::from(sizes >> 4)))
        });
        let precincts = precincts.collect::<Option<Vec<_>>>()?;
        let bits = magnitude_bits(quantisation?, levels)?;
        Some(Header {
            image,
            tile,
            components: apart.into_iter().map(|apart| Component { apart, bits: bits.clone() }).collect(),
            progression,
            layers: u32::from(layers),
            levels,
            block: (u32::from(across) + 2, u32::from(down) + 2),
            style,
            precincts,
            sop: scod & 2 != 0,
            eph: scod & 4 != 0,
        })
    }
}

type Sizes = (Area, ((u64, u64), (u64, u64)), Vec<(u64, u64)>);

/// SIZ (A.5.1): the image and its tiles on the reference grid, and how far the samples of each component are apart.
fn sizes(contents: &[u8]) -> Option<Sizes> {
    let mut fields = Fields(contents.get(2..)?);
    let mut pair = || Some((fields.long()?, fields.long()?));
    let (end, origin, tile, tile_origin) = (pair()?, pair()?, pair()?, pair()?);
    let components = fields.short()?;
    if components > MOST_COMPONENTS || tile.0 == 0 || tile.1 == 0 || tile_origin.0 > origin.0 || tile_origin.1 > origin.1 {
        return None;
    }
    let apart = (0..components).map(|_| {
        let _bits = fields.byte()?;
        let apart = (u64::from(fields.byte()?), u64::from(fields.byte()?));
        (apart.0 > 0 && apart.1 > 0).then_some(apart)
    });
    let apart = apart.collect::<Option<Vec<_>>>()?;
    let image = Area { x: (origin.0, end.0), y: (origin.1, end.1) };
    (image.x.0 < image.x.1 && image.y.0 < image.y.1).then_some((image, (tile, tile_origin), apart))
}

/// QCD (A.6.4) without quantisation: guard bits and an exponent for each sub-band; empty where it is quantised.
fn magnitude_bits(contents: &[u8], levels: u32) -> Option<Vec<u32>> {
    let (style, exponents) = contents.split_first()?;
    if style & 0x1F != 0 {
        return Some(Vec::new());
    }
    let bits: Vec<u32> = exponents.iter().map(|e| (u32::from(style >> 5) + u32::from(e >> 3)).saturating_sub(1)).collect();
    (bits.len() > 3 * levels as usize).then_some(bits)
}

/// The coded data of a stream.
pub(super) enum Tiles {
    /// Of every tile, its parts joined.
    Joined(BTreeMap<u16, Vec<u8>>),
    /// Where a tile-part or the end must stand, something else does.
    Broken,
}

/// Joins the tile-parts; none where one says more than that it begins, or is not all there: that is the decoder's to tell.
pub(super) fn tiles(stream: &[u8]) -> Option<Tiles> {
    let mut tiles: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    let mut rest = main_header_left_out(stream)?;
    while let [0xFF, TILE_PART, part @ ..] = rest {
        let mut fields = Fields(part);
        let (_length, tile, length) = (fields.short()?, fields.short()?, usize::try_from(fields.long()?).ok()?);
        // The last tile-part may leave its length open (A.4.2).
        let end = if length == 0 { end_of(rest) } else { length };
        let data = match behind_comments(rest.get(..end)?.get(12..)?)? {
            [0xFF, 0x93, data @ ..] => data,
            [0xFF, ..] => return None,
            _ => return Some(Tiles::Broken),
        };
        tiles.entry(tile).or_default().extend(data);
        rest = rest.get(end..)?;
    }
    let ended = rest.starts_with(&[0xFF, 0xD9]) || rest.iter().all(|byte| *byte == 0);
    Some(if ended { Tiles::Joined(tiles) } else { Tiles::Broken })
}

/// From the first tile-part on.
fn main_header_left_out(stream: &[u8]) -> Option<&[u8]> {
    let mut rest = stream.get(2..)?;
    while let [0xFF, marker, high, low, ..] = rest {
        if *marker == TILE_PART {
            return Some(rest);
        }
        rest = rest.get(2 + usize::from(u16::from_be_bytes([*high, *low]))..)?;
    }
    None
}

/// Comments and packet lengths in the header of a tile-part say nothing of how packets are read.
fn behind_comments(mut header: &[u8]) -> Option<&[u8]> {
    while let [0xFF, 0x64 | 0x58, high, low, ..] = header {
        header = header.get(2 + usize::from(u16::from_be_bytes([*high, *low]))..)?;
    }
    Some(header)
}

fn end_of(rest: &[u8]) -> usize {
    rest.windows(2).rposition(|w| w == [0xFF, 0xD9]).unwrap_or(rest.len())
}
