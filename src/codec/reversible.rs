//! What a code stream says of itself: whether its encoder lost something. The transfer syntax is the sender's word; this is the
//! stream's. Reads headers only: layers of a JPEG 2000 stream that were left out are told by [`super::leaves_out`].

use crate::dicom::syntax;

/// Bytes from a stream's beginning that hold its headers; more only where an application put profiles before them.
pub const STREAM_HEADER: u64 = 16 << 10;

/// Whether decoding a frame gives other samples than the encoder was given; none where nobody can tell. `begins` is the frame's first
/// fragment, or its first [`STREAM_HEADER`] bytes.
pub fn loses(transfer_syntax: &str, begins: &[u8]) -> Option<bool> {
    match (stream_loses(begins), syntax::lossy_method(transfer_syntax)) {
        // The label allows to leave out layers, which the header of a reversible stream does not show.
        (Some(false), Some("ISO_15444_1" | "ISO_15444_2" | "ISO_15444_15")) => None,
        (Some(loses), _) => Some(loses),
        (None, None) => Some(false),
        (None, Some("ISO_10918_1")) => Some(true),
        (None, Some(_)) => None,
    }
}

/// What the stream alone says; none of a stream that is no JPEG, JPEG-LS, JPEG 2000 or HTJ2K.
pub fn stream_loses(begins: &[u8]) -> Option<bool> {
    if begins.starts_with(&[0xFF, 0xD8]) { jpeg(begins) } else { jpeg_2000(begins) }
}

/// The marker segments of a header: marker and contents. Ends at what is no marker, and after `last`.
pub(super) fn segments(stream: &[u8], last: u8) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = stream;
    let mut done = false;
    std::iter::from_fn(move || {
        // Fill bytes may stand before a marker (ITU-T T.81 B.1.1.2).
        while let [0xFF, 0xFF, ..] = rest {
            rest = rest.get(1..)?;
        }
        let (&[0xFF, marker], after) = rest.split_first_chunk::<2>()? else { return None };
        if done {
            return None;
        }
        done = marker == last;
        let &[high, low] = after.first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let contents = after.get(2..length)?;
        rest = after.get(length..)?;
        Some((marker, contents))
    })
}

/// JPEG and JPEG-LS: the process (ITU-T T.81 table B.1), and NEAR and the point transform of the first scan.
fn jpeg(stream: &[u8]) -> Option<bool> {
    const SCAN: u8 = 0xDA;
    let mut process = None;
    for (marker, contents) in segments(stream.get(2..)?, SCAN) {
        match marker {
            0xC3 | 0xC7 | 0xCB | 0xCF | 0xF7 => process = Some(marker),
            0xC0..=0xC2 | 0xC5 | 0xC6 | 0xC9 | 0xCA | 0xCD | 0xCE => return Some(true),
            SCAN => {
                process?;
                let components = usize::from(*contents.first()?);
                let parameters = contents.get(1 + 2 * components..)?;
                let &[near, _, point] = parameters.first_chunk::<3>()?;
                // In JPEG-LS the first is NEAR (ITU-T T.87 C.2.3), in lossless JPEG the predictor (ITU-T T.81 B.2.3).
                return Some(point & 0x0F > 0 || (process == Some(0xF7) && near > 0));
            }
            _ => {}
        }
    }
    None
}

/// JPEG 2000 and HTJ2K, bare or in a JP2 box: the transforms of the main header (ITU-T T.800 A.6.1, A.6.2).
fn jpeg_2000(stream: &[u8]) -> Option<bool> {
    const TILE: u8 = 0x90;
    let begins = stream.windows(4).position(|w| w == [0xFF, 0x4F, 0xFF, 0x51])?;
    let mut reversible = None;
    let mut wide = false;
    for (marker, contents) in segments(stream.get(begins + 2..)?, TILE) {
        let transform = match marker {
            // More than 256 components have indices of two bytes in what follows (Csiz).
            0x51 => {
                wide = contents.get(34..).and_then(<[u8]>::first_chunk).is_some_and(|c| u16::from_be_bytes(*c) > 256);
                None
            }
            // Scod, four bytes of SGcod, levels, block width, height and style, then the transform.
            0x52 => Some(*contents.get(9)?),
            0x53 => Some(*contents.get(6 + usize::from(wide))?),
            TILE => break,
            _ => None,
        };
        if let Some(transform) = transform {
            reversible = Some(reversible.unwrap_or(true) && transform == 1);
        }
    }
    reversible.map(|reversible: bool| !reversible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::uids;

    fn jls(near: u8) -> Vec<u8> {
        let mut s = vec![0xFF, 0xD8, 0xFF, 0xF7, 0, 11, 8, 0, 4, 0, 4, 1, 1, 0x11, 0];
        s.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, near, 0, 0]);
        s
    }

    fn jpeg_of(process: u8, point: u8) -> Vec<u8> {
        // An application segment that holds what looks like a scan of JPEG-LS.
        let mut s = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 8, 0xFF, 0xDA, 1, 1, 0, 9];
        s.extend([0xFF, process, 0, 11, 8, 0, 4, 0, 4, 1, 1, 0x11, 0]);
        s.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 0, point]);
        s
    }

    fn j2k(transform: u8, of_component: Option<u8>) -> Vec<u8> {
        let mut s = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41];
        s.extend([0; 34]);
        s.extend([0, 1, 7, 1, 1]);
        s.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, transform]);
        if let Some(transform) = of_component {
            s.extend([0xFF, 0x53, 0, 9, 0, 0, 5, 4, 4, 0, transform]);
        }
        s.extend([0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1]);
        s
    }

    #[test]
    fn the_stream_is_believed_and_not_the_label() {
        for (label, stream, expected) in [
            (uids::JPEGLS_LOSSLESS, jls(0), Some(false)),
            (uids::JPEGLS_LOSSLESS, jls(2), Some(true)),
            (uids::JPEGLS_NEAR_LOSSLESS, jls(0), Some(false)),
            (uids::JPEG_LOSSLESS_SV1, jpeg_of(0xC3, 0), Some(false)),
            (uids::JPEG_LOSSLESS_SV1, jpeg_of(0xC3, 2), Some(true)),
            (uids::JPEG_LOSSLESS_SV1, jpeg_of(0xC0, 0), Some(true)),
            (uids::JPEG_BASELINE8_BIT, jpeg_of(0xC0, 0), Some(true)),
            (uids::JPEG2000_LOSSLESS, j2k(1, None), Some(false)),
            (uids::JPEG2000_LOSSLESS, j2k(0, None), Some(true)),
            (uids::JPEG2000_LOSSLESS, j2k(1, Some(0)), Some(true)),
            (uids::HTJ2K_LOSSLESS, j2k(0, None), Some(true)),
            (uids::JPEG2000, j2k(1, None), None),
            (uids::JPEG2000, j2k(0, None), Some(true)),
            // No stream that is known here: the label is all there is.
            (uids::RLE_LOSSLESS, vec![1, 0, 0, 0], Some(false)),
            (uids::JPEG_BASELINE8_BIT, vec![], Some(true)),
            (uids::JPEG2000, vec![0xFF, 0x4F], None),
            (uids::JPEGXL, vec![0xFF, 0x0A], None),
        ] {
            assert_eq!(loses(label, &stream), expected, "{label} {stream:02x?}");
        }
    }

    #[test]
    fn a_stream_cut_anywhere_is_no_fault_of_ours() {
        for whole in [jls(2), jpeg_of(0xC3, 2), j2k(0, Some(1))] {
            for cut in 0..whole.len() {
                let _ = loses(uids::JPEG2000, whole.get(..cut).unwrap());
            }
        }
    }
}
