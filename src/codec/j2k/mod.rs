//! JPEG 2000 code streams that were destroyed on the way and decode all the same: the decoder makes noise of them. Nothing is decoded here:
//! what no encoder writes is told, and the packets are walked by their headers (ITU-T T.800 annexes A, B), which must fill the data exactly.

mod blocks;
mod header;
mod packets;
#[cfg(test)]
mod tests;

use super::reversible::segments;
use header::{Header, Tiles};
use packets::Walk;

/// So many equal bytes stand in no arithmetically coded data: what is so regular is coded in less.
const RUN: usize = 64;
/// Codes of blocks that hold bits as they are: selective bypass (ITU-T T.800 table A.19), HTJ2K.
const BYPASS: u8 = 1;
const HIGH_THROUGHPUT: u8 = 0x40;

/// What is wrong with a code stream, bare or in a JP2 box; none where nothing is or nobody can tell.
pub fn fault(stream: &[u8]) -> Option<&'static str> {
    let stream = bare(stream)?;
    match walk(stream) {
        Some(Walk::Broken) => Some("the packets of the code stream do not fill it: a part was overwritten or is missing"),
        // Empty packets are equal bytes, and there may be many: where packets were walked, runs were looked for within them.
        walked => is_overwritten(stream, walked.is_none()).then_some("a part of the code stream was overwritten"),
    }
}

/// Encoders that state more bit planes than they code lack as many passes in every block, or a plane more where it is empty; who leaves out
/// layers or keeps to a rate takes from each block what it is worth.
const ENCODERS_HABIT: u32 = 3;

/// Whether a stream of the reversible transform leaves out coding passes or packets; none where nobody can tell.
pub fn leaves_out(stream: &[u8]) -> Option<bool> {
    match walk(bare(stream)?)? {
        Walk::Broken => None,
        Walk::Fits { left_out: (_, 0) } => Some(false),
        Walk::Fits { left_out: (fewest, most) } => (most - fewest > ENCODERS_HABIT).then_some(true),
    }
}

/// Whether these are the first bytes of a code stream, bare or in a JP2 box.
pub fn is_jpeg_2000(begins: &[u8]) -> bool {
    bare(begins).is_some()
}

/// The code stream, without the boxes around it.
fn bare(stream: &[u8]) -> Option<&[u8]> {
    let begins = stream.windows(4).position(|w| w == [0xFF, 0x4F, 0xFF, 0x51])?;
    stream.get(begins..)
}

/// Walks all tiles.
fn walk(stream: &[u8]) -> Option<Walk> {
    let header = Header::of(stream)?;
    let (mut extremes, mut budget) = ((u32::MAX, 0), blocks::MOST_BLOCKS);
    let Tiles::Joined(tiles) = header::tiles(stream)? else { return Some(Walk::Broken) };
    for (tile, data) in tiles {
        let precincts = blocks::precincts(&header, tile, data.len(), &mut budget)?;
        match packets::walk(&header, &precincts, &data)? {
            Walk::Broken => return Some(Walk::Broken),
            Walk::Fits { left_out: (fewest, most) } => extremes = (extremes.0.min(fewest), extremes.1.max(most)),
        }
    }
    Some(Walk::Fits { left_out: (extremes.0.min(extremes.1), extremes.1) })
}

/// Whether coded data hold what none holds: a long run of one value, or a marker where no marker is.
fn is_overwritten(stream: &[u8], by_runs: bool) -> bool {
    // The style of blocks is the ninth byte of COD's content; SOP and EPH markers are announced in the first.
    let coding = segments(stream.get(2..).unwrap_or_default(), 0x90).find(|(marker, _)| *marker == 0x52);
    let Some((Some(style), Some(markers))) = coding.map(|(_, content)| (content.get(8), content.first())) else { return false };
    let Some(Tiles::Joined(tiles)) = header::tiles(stream) else { return false };
    if style & HIGH_THROUGHPUT != 0 {
        return false;
    }
    tiles.values().any(|data| (style & BYPASS == 0 && by_runs && has_a_run(data)) || has_a_marker(data, markers & 6 != 0))
}

fn has_a_run(data: &[u8]) -> bool {
    let (mut run, mut last) = (0usize, None);
    data.iter().any(|byte| {
        run = if last == Some(*byte) { run + 1 } else { 1 };
        last = Some(*byte);
        run >= RUN
    })
}

/// Behind a byte of ones stands nothing over 8F (B.10.1, C.2.10), but the markers of packets where they are announced.
fn has_a_marker(data: &[u8], announced: bool) -> bool {
    data.windows(2).any(|w| matches!(w, [0xFF, marker] if *marker > 0x8F && !(announced && matches!(marker, 0x91 | 0x92))))
}
