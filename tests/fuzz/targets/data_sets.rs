//! Data sets in each way they can be written; what was read is written, and read again.
#![no_main]

use hutong::dicom::Syntax;
use hutong::dicom::dataset::{DataSet, Limits, Seeking, Value, parse};
use std::io::Cursor;

const BIG: Syntax = Syntax { big_endian: true, ..Syntax::EXPLICIT };

fn read(bytes: &[u8], syntax: Syntax) -> Option<DataSet> {
    let limits = Limits { value: 1 << 16, stop_at_pixels: false, partial: false, total: Some(bytes.len() as u64) };
    parse(&mut Seeking(Cursor::new(bytes)), syntax, limits).ok().map(|parsed| parsed.data_set)
}

/// Whether a data set has what is left out when it is written, or tags of delimiters, which are read otherwise by their place.
fn is_partial(data_set: &DataSet) -> bool {
    data_set.elements.iter().any(|e| match &e.value {
        Value::Deferred(_) | Value::Fragments(_) => true,
        Value::Items(items) => items.iter().any(is_partial),
        Value::Bytes(_) => e.tag.0 == 0xFFFE,
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for syntax in [Syntax::EXPLICIT, Syntax::IMPLICIT, BIG] {
        let Some(data_set) = read(bytes, syntax) else { continue };
        if is_partial(&data_set) {
            continue;
        }
        // What is damaged may read otherwise once it is padded, and then no more.
        let mut last = data_set;
        let passes: Vec<Vec<u8>> = (0..3)
            .map(|_| {
                let mut written = Vec::new();
                last.write_as(syntax, &mut written);
                last = read(&written, syntax).expect("what was written is read");
                written
            })
            .collect();
        assert_eq!(passes[1], passes[2], "what was read is written again");
    }
});
