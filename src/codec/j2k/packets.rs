//! Walks the packets of a tile: their headers say how long they are (ITU-T T.800 B.9, B.10). Nothing is decoded.

use super::BYPASS;
use super::blocks::{Precinct, order};
use super::header::Header;

/// What the packets of a tile amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// They fill the tile's data exactly.
    Fits {
        /// The fewest and the most coding passes that a code-block lacks up to its last bit; more than any has where packets are missing.
        left_out: (u32, u32),
    },
    /// A header asks for what is not there, data are left over, or a body is overwritten with one value.
    Broken,
}

/// Bits of a packet header; after a byte of ones the next holds seven (B.10.1).
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    byte: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Bits<'a> {
        Bits { data, at: 0, byte: 0, left: 0 }
    }

    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            self.left = if self.byte == 0xFF { 7 } else { 8 };
            self.byte = *self.data.get(self.at)?;
            // A stuffed bit is zero.
            if self.left == 7 && self.byte > 0x7F {
                return None;
            }
            self.at += 1;
        }
        self.left -= 1;
        Some(u32::from(self.byte >> self.left) & 1)
    }

    fn number(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0u32, |n, _| Some((n << 1) | self.bit()?))
    }

    /// Bytes up to the end of the header.
    fn end(self) -> Option<usize> {
        if self.byte != 0xFF {
            return Some(self.at);
        }
        // A header does not end in a byte of ones.
        self.data.get(self.at).filter(|stuffed| **stuffed <= 0x7F)?;
        Some(self.at + 1)
    }
}

/// A tag tree (B.10.2), its leaves first.
struct Tree {
    levels: Vec<(usize, Vec<Node>)>,
}

#[derive(Clone, Copy, Default)]
struct Node {
    value: u32,
    known: bool,
}

impl Tree {
    fn new(across: usize, down: usize) -> Tree {
        let (mut across, mut down) = (across, down);
        let mut levels = vec![(across, vec![Node::default(); across * down])];
        while across * down > 1 {
            (across, down) = (across.div_ceil(2), down.div_ceil(2));
            levels.push((across, vec![Node::default(); across * down]));
        }
        Tree { levels }
    }

    /// Reads until the leaf's value is known or at least `limit`; the value as far as it is known, and whether it is.
    fn read(&mut self, (x, y): (usize, usize), limit: u32, bits: &mut Bits<'_>) -> Option<(u32, bool)> {
        let mut least = 0;
        let mut last = Node::default();
        for (level, (across, nodes)) in self.levels.iter_mut().enumerate().rev() {
            let node = nodes.get_mut((y >> level) * *across + (x >> level))?;
            node.value = node.value.max(least);
            while !node.known && node.value < limit {
                if bits.bit()? == 1 {
                    node.known = true;
                } else {
                    node.value += 1;
                }
            }
            least = node.value;
            last = *node;
        }
        Some((last.value, last.known))
    }
}

/// What is known of a code-block so far.
#[derive(Clone, Copy)]
struct Block {
    included: bool,
    length_bits: u32,
    passes: u32,
    /// Magnitude bits that are coded.
    planes: u32,
}

struct BandState {
    across: usize,
    bits: Option<u32>,
    inclusion: Tree,
    zero_planes: Tree,
    blocks: Vec<Block>,
}

const TERMINATED: u8 = 4;
/// More bit planes than any sample has: the tag tree of a damaged header would be read on and on.
const MOST_PLANES: u32 = 80;

/// Walks the packets of one tile.
pub(super) fn walk(header: &Header, precincts: &[Precinct], mut data: &[u8]) -> Option<Walk> {
    let order = order(header, precincts)?;
    let mut states: Vec<Vec<BandState>> = precincts.iter().map(|p| p.bands.iter().map(BandState::new).collect()).collect();
    let mut missing = false;
    for (layer, index) in order {
        if data.is_empty() {
            missing = true;
            break;
        }
        let Some((head, body)) = states.get_mut(index).and_then(|bands| packet(header, bands, layer, data)) else {
            return Some(Walk::Broken);
        };
        let Some((body, rest)) = data.get(head..).and_then(|after| after.split_at_checked(body)) else {
            return Some(Walk::Broken);
        };
        if header.style & BYPASS == 0 && super::has_a_run(body) {
            return Some(Walk::Broken);
        }
        data = rest;
    }
    if !data.is_empty() {
        return Some(Walk::Broken);
    }
    let left_out = if missing { None } else { left_out(&states) };
    Some(Walk::Fits { left_out: left_out.unwrap_or((0, u32::MAX)) })
}

/// The fewest and the most coding passes that blocks lack; none for a band that is quantised.
fn left_out(states: &[Vec<BandState>]) -> Option<(u32, u32)> {
    let lacks = |block: &Block| (3 * block.planes).saturating_sub(2).saturating_sub(block.passes);
    let mut extremes = (u32::MAX, 0);
    for band in states.iter().flatten() {
        band.bits?;
        for lacking in band.blocks.iter().filter(|b| b.included).map(lacks) {
            extremes = (extremes.0.min(lacking), extremes.1.max(lacking));
        }
    }
    Some((extremes.0.min(extremes.1), extremes.1))
}

impl BandState {
    fn new(band: &super::blocks::Band) -> BandState {
        let (across, down) = band.blocks;
        let none = Block { included: false, length_bits: 3, passes: 0, planes: 0 };
        BandState {
            across,
            bits: band.bits,
            inclusion: Tree::new(across, down),
            zero_planes: Tree::new(across, down),
            blocks: vec![none; across * down],
        }
    }
}

/// The lengths of the header, with its markers, and of the body of the packet that `data` begins with.
fn packet(header: &Header, bands: &mut [BandState], layer: u32, data: &[u8]) -> Option<(usize, usize)> {
    let skipped = if header.sop && data.starts_with(&[0xFF, 0x91, 0, 4]) { 6 } else { 0 };
    let data = data.get(skipped..)?;
    let mut bits = Bits::new(data);
    let mut body = 0usize;
    if bits.bit()? == 1 {
        for band in bands {
            for n in 0..band.blocks.len() {
                body = body.checked_add(block(band, n, layer, header.style, &mut bits)?)?;
            }
        }
    }
    let mut length = bits.end()?;
    if header.eph && data.get(length..)?.starts_with(&[0xFF, 0x92]) {
        length += 2;
    }
    Some((skipped.checked_add(length)?, body))
}

/// Bytes that a packet holds of one code-block.
fn block(band: &mut BandState, n: usize, layer: u32, style: u8, bits: &mut Bits<'_>) -> Option<usize> {
    let at = (n % band.across, n / band.across);
    let block = band.blocks.get_mut(n)?;
    let included = if block.included {
        bits.bit()? == 1
    } else {
        let (value, known) = band.inclusion.read(at, layer + 1, bits)?;
        known && value <= layer
    };
    if !included {
        return Some(0);
    }
    if !block.included {
        block.included = true;
        let mut zeros = (0, false);
        let mut limit = 1;
        while !zeros.1 {
            zeros = band.zero_planes.read(at, limit, bits)?;
            limit += 1;
            if limit > MOST_PLANES {
                return None;
            }
        }
        // A quantised band's number of planes is not looked at.
        block.planes = band.bits.map_or(Some(0), |all| all.checked_sub(zeros.0))?;
    }
    let passes = passes(bits)?;
    while bits.bit()? == 1 {
        block.length_bits += 1;
        if block.length_bits > 32 {
            return None;
        }
    }
    let mut length = 0usize;
    let mut left = passes;
    let mut done = block.passes;
    while left > 0 {
        let segment = left.min(segment(style, done));
        length = length.checked_add(bits.number((block.length_bits + segment.ilog2()).min(32))? as usize)?;
        (left, done) = (left - segment, done + segment);
    }
    block.passes = done;
    let most = (3 * block.planes).saturating_sub(2);
    (band.bits.is_none() || done <= most).then_some(length)
}

/// Passes after `done` that share one code word segment (D.4.2, table D.9).
fn segment(style: u8, done: u32) -> u32 {
    if style & TERMINATED != 0 {
        return 1;
    }
    if style & BYPASS == 0 {
        return u32::MAX;
    }
    // The first ten are coded arithmetically; then two raw ones and a coded one take turns.
    match done {
        0..10 => 10 - done,
        _ => match (done - 10) % 3 {
            0 => 2,
            _ => 1,
        },
    }
}

/// The number of coding passes (table B.4).
fn passes(bits: &mut Bits<'_>) -> Option<u32> {
    if bits.bit()? == 0 {
        return Some(1);
    }
    if bits.bit()? == 0 {
        return Some(2);
    }
    for (width, from) in [(2, 3), (5, 6), (7, 37)] {
        let number = bits.number(width)?;
        if number + 1 < 1 << width || width == 7 {
            return Some(from + number);
        }
    }
    None
}
