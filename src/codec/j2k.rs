//! JPEG 2000 code streams that were destroyed on the way and decode all the same: the decoder makes noise of them. Tells only what no encoder
//! writes; whoever destroys a stream with bytes that look like one is not found out here.

use super::reversible::segments;

/// So many equal bytes stand in no arithmetically coded data: what is so regular is coded in less.
const RUN: usize = 64;

/// Whether coded data are overwritten with one value, in a code stream bare or in a JP2 box. Streams whose blocks hold bits as they are
/// (selective bypass, ITU-T T.800 table A.19; HTJ2K) may be as regular as their image: of them nothing is told.
pub fn is_overwritten(stream: &[u8]) -> bool {
    const BYPASS: u8 = 1;
    const HIGH_THROUGHPUT: u8 = 0x40;
    let Some(begins) = stream.windows(4).position(|w| w == [0xFF, 0x4F, 0xFF, 0x51]) else { return false };
    let header = stream.get(begins + 2..).unwrap_or_default();
    // The style of blocks is the ninth byte of COD's content.
    let style = segments(header, 0x90).find(|(marker, _)| *marker == 0x52).and_then(|(_, content)| content.get(8));
    if style.is_none_or(|style| style & (BYPASS | HIGH_THROUGHPUT) != 0) {
        return false;
    }
    let Some(data) = stream.windows(2).position(|w| w == [0xFF, 0x93]).map(|at| at + 2) else { return false };
    let end = stream.windows(2).rposition(|w| w == [0xFF, 0xD9]).unwrap_or(stream.len());
    let coded = stream.get(data..end.max(data)).unwrap_or_default();
    let (mut run, mut last) = (0usize, None);
    coded.iter().any(|byte| {
        run = if last == Some(*byte) { run + 1 } else { 1 };
        last = Some(*byte);
        run >= RUN
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(style: u8, data: &[u8]) -> Vec<u8> {
        let mut s = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41];
        s.extend([0; 39]);
        s.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, style, 1]);
        s.extend([0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, 0x93]);
        s.extend(data);
        // Padding behind the end says nothing.
        s.extend([0xFF, 0xD9]);
        s.extend([0; 200]);
        s
    }

    #[test]
    fn coded_data_of_one_value_are_told() {
        let coded: Vec<u8> = (0..4000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert!(!is_overwritten(&stream(0, &coded)));
        for value in [0, 0x55] {
            let mut lost = coded.clone();
            lost[1000..1100].fill(value);
            assert!(is_overwritten(&stream(0, &lost)));
            assert!(!is_overwritten(&stream(1, &lost)) && !is_overwritten(&stream(0x40, &lost)));
        }
        assert!(!is_overwritten(&[]) && !is_overwritten(&[0xFF, 0x51, 0xFF, 0x93]));
    }
}
