//! The upper layer and the command sets under any bytes at all: no panic, no endless loop, no answer that was not asked for. The corpus of
//! tests/fuzz is replayed, then bent in thousands of ways from a fixed seed; `tests/fuzz/README.md` says how to go further with coverage.

use super::serve::{command, serve, whole};
use hutong::dicom::uids;
use hutong::dimse::Command;
use std::path::Path;

/// Bytes bent by a number: cut, flipped, doubled, with lengths that lie.
fn bent(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let mut out = bytes.to_vec();
    for _ in 0..=next(6) {
        if out.is_empty() {
            break;
        }
        let at = next(out.len());
        match next(6) {
            0 => out[at] = next(256) as u8,
            1 => out[at] ^= 1 << next(8),
            2 => out.truncate(at),
            3 => {
                let to = (at + next(64)).min(out.len());
                let piece = out[at..to].to_vec();
                out.splice(at..at, piece);
            }
            4 => {
                let to = (at + 4).min(out.len());
                out[at..to].fill(if next(2) == 0 { 0xFF } else { 0 });
            }
            _ => {
                let to = (at + next(32)).min(out.len());
                out.drain(at..to);
            }
        }
    }
    out
}

#[test]
fn a_whole_association_is_understood() {
    assert_eq!(serve(&whole()), 5);
}

#[test]
fn the_corpus_and_what_can_be_bent_from_it_harms_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut corpus = vec![whole()];
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        corpus.push(std::fs::read(entry.path()).unwrap());
    }
    assert!(corpus.len() > 20, "the corpus is there");
    let mut understood = 0;
    for bytes in &corpus {
        understood += serve(bytes);
        understood += (0..1500).map(|seed| serve(&bent(bytes, seed))).sum::<usize>();
    }
    // Else the bending stops everything at the door, and nothing behind it was tried.
    assert!(understood > 1000, "{understood} messages were reached");
}

#[test]
fn command_sets_of_any_bytes_are_read_or_refused() {
    let good = Command::store_request(1, uids::CT_IMAGE_STORAGE, "1.2.3").with_comment("x").to_bytes();
    let read = (0..20_000).filter(|seed| command(&bent(&good, *seed))).count();
    assert!(read > 1000, "{read}");
    // Found with coverage: a value of odd length went back into the answer without its padding.
    assert!(command(&[0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 3, 0, 3, 0, 0, 0, b'1', b'.', b'2']));
}
