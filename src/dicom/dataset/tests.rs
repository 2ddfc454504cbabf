use super::*;
use std::io::Cursor;

fn limits(total: usize) -> Limits {
    Limits { value: 1 << 16, stop_at_pixels: false, partial: false, total: Some(total as u64) }
}

fn read(bytes: &[u8], syntax: Syntax) -> Result<DataSet, ParseError> {
    parse(&mut Seeking(Cursor::new(bytes)), syntax, limits(bytes.len())).map(|p| p.data_set)
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let mut inner = DataSet::default();
    inner.put_text(tags::CODE_VALUE, VR::SH, "113072");
    let mut ds = DataSet::default();
    ds.put_text(tags::PATIENT_NAME, VR::PN, "Wang^XiaoDong");
    ds.put_u16(tags::ROWS, 512);
    ds.put(tags::DERIVATION_CODE_SEQUENCE, VR::SQ, Value::Items(vec![inner, DataSet::default()]));
    let mut bytes = Vec::new();
    ds.write_explicit(&mut bytes);
    let again = read(&bytes, Syntax::EXPLICIT).unwrap();
    assert_eq!(again.text(tags::PATIENT_NAME).as_deref(), Some("Wang^XiaoDong"));
    assert_eq!(again.u16(tags::ROWS), Some(512));
    assert_eq!(again.items(tags::DERIVATION_CODE_SEQUENCE).len(), 2);
    assert_eq!(again.elements.iter().map(|e| e.tag).collect::<Vec<_>>(), {
        let mut sorted: Vec<_> = again.elements.iter().map(|e| e.tag).collect();
        sorted.sort();
        sorted
    });
}

#[test]
fn a_huge_declared_length_is_an_error_and_costs_no_memory() {
    let mut bytes = Vec::new();
    write_header(&mut bytes, tags::ICC_PROFILE, VR::OB, 0xFFFF_FFF0);
    bytes.extend_from_slice(b"abc");
    assert!(matches!(read(&bytes, Syntax::EXPLICIT), Err(ParseError::Overrun { tag: tags::ICC_PROFILE, .. })));
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let mut bytes = Vec::new();
    for _ in 0..5_000 {
        write_header(&mut bytes, tags::REFERENCED_SERIES_SEQUENCE, VR::SQ, 0);
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&[0xFF; 4]);
        bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
    assert!(matches!(read(&bytes, Syntax::EXPLICIT), Err(ParseError::TooDeep(_))));
}

#[test]
fn big_endian_numbers_come_out_little_endian() {
    let mut bytes = vec![0x00, 0x28, 0x00, 0x10, b'U', b'S', 0, 2, 0x02, 0x00];
    bytes.extend_from_slice(&[0x7F, 0xE0, 0x00, 0x10, b'O', b'W', 0, 0, 0, 0, 0, 2, 1, 2]);
    let ds = read(&bytes, Syntax { big_endian: true, ..Syntax::EXPLICIT }).unwrap();
    assert_eq!(ds.u16(tags::ROWS), Some(512));
}

#[test]
fn un_of_undefined_length_holds_implicit_items() {
    let mut bytes = vec![0x09, 0x00, 0x10, 0x10, b'U', b'N', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
    bytes.extend_from_slice(&[0x10, 0x00, 0x20, 0x00, 2, 0, 0, 0, b'7', b' ']);
    bytes.extend_from_slice(&[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    let ds = read(&bytes, Syntax::EXPLICIT).unwrap();
    assert_eq!(ds.items(Tag(0x0009, 0x1010))[0].text(tags::PATIENT_ID).as_deref(), Some("7"));
}

#[test]
fn every_prefix_of_a_data_set_is_read_or_refused_without_a_panic() {
    let mut ds = DataSet::default();
    ds.put_text(tags::PATIENT_NAME, VR::PN, "A^B");
    ds.put(tags::DERIVATION_CODE_SEQUENCE, VR::SQ, Value::Items(vec![ds.clone()]));
    let mut bytes = Vec::new();
    ds.write_explicit(&mut bytes);
    let whole = read(&bytes, Syntax::EXPLICIT).unwrap();
    for cut in 0..bytes.len() {
        for syntax in [Syntax::EXPLICIT, Syntax::IMPLICIT, Syntax { big_endian: true, ..Syntax::EXPLICIT }] {
            if let Ok(part) = read(&bytes[..cut], syntax) {
                assert_ne!(part, whole, "a prefix of {cut} bytes reads as the whole");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        for syntax in [Syntax::EXPLICIT, Syntax::IMPLICIT, Syntax { big_endian: true, ..Syntax::EXPLICIT }] {
            let _ = read(&bytes, syntax);
        }
    }
}

#[test]
fn a_standard_attribute_that_was_written_as_unknown_is_known() {
    // (0010,0020) UN of 4 bytes; (0028,0010) UN; (0009,1001) UN stays.
    let bytes = [
        &[0x09, 0, 0x01, 0x10, b'U', b'N', 0, 0, 2, 0, 0, 0, b'a', b'b'][..],
        &[0x10, 0, 0x20, 0, b'U', b'N', 0, 0, 4, 0, 0, 0, b'H', b'T', b'7', b' '],
        &[0x28, 0, 0x10, 0, b'U', b'N', 0, 0, 2, 0, 0, 0, 0, 2],
    ]
    .concat();
    let limits = Limits { value: 100, stop_at_pixels: false, partial: false, total: Some(bytes.len() as u64) };
    let data_set = parse(&mut Seeking(std::io::Cursor::new(&bytes)), Syntax::EXPLICIT, limits).unwrap().data_set;
    let vrs: Vec<VR> = data_set.elements.iter().map(|e| e.vr).collect();
    assert_eq!(vrs, [VR::UN, VR::LO, VR::US]);
}

#[test]
fn padding_of_signed_pixels_is_signed_where_nothing_says_so() {
    let element = |tag: [u8; 4], value: [u8; 2]| [&tag[..], &[2, 0, 0, 0], &value].concat();
    for (sign, vr) in [(0, VR::US), (1, VR::SS)] {
        let bytes = [element([0x28, 0, 0x03, 0x01], [sign, 0]), element([0x28, 0, 0x20, 0x01], [0, 0x80])].concat();
        let limits = Limits { value: 100, stop_at_pixels: false, partial: false, total: Some(bytes.len() as u64) };
        let data_set = parse(&mut Seeking(std::io::Cursor::new(&bytes)), Syntax::IMPLICIT, limits).unwrap().data_set;
        assert_eq!(data_set.get(tags::PIXEL_PADDING_VALUE).unwrap().vr, vr);
    }
}

#[test]
fn a_sequence_that_was_written_as_unknown_has_its_items() {
    let item = [&[0x40, 0, 0x09, 0, 2, 0, 0, 0][..], b"S7"].concat();
    let items = [&[0xFE, 0xFF, 0, 0xE0, 10, 0, 0, 0][..], &item].concat();
    let unknown = |value: &[u8]| {
        let head = [0x40, 0, 0x75, 0x02, b'U', b'N', 0, 0, u8::try_from(value.len()).unwrap(), 0, 0, 0];
        let bytes = [&head[..], value].concat();
        let limits = Limits { value: 100, stop_at_pixels: false, partial: false, total: Some(bytes.len() as u64) };
        parse(&mut Seeking(std::io::Cursor::new(&bytes)), Syntax::EXPLICIT, limits).unwrap().data_set
    };
    let read = unknown(&items);
    assert_eq!(read.items(tags::REQUEST_ATTRIBUTES_SEQUENCE)[0].text(tags::SCHEDULED_PROCEDURE_STEP_ID).as_deref(), Some("S7"));
    // What is no item stays as it is.
    assert_eq!(unknown(b"no item!").elements[0].vr, VR::UN);
}
