use super::*;

fn image(columns: usize, rows: usize, components: usize, precision: u32, sample: impl Fn(usize, usize) -> u16) -> Image {
    let samples = (0..rows * columns * components).map(|i| sample(i / components, i % components)).collect();
    Image { columns, rows, components, precision, samples }
}

/// The example of T.87 H.3: a 4 x 4 image of 8 bits and the stream that the standard prints for it.
#[test]
fn the_example_of_the_standard_comes_out() {
    let samples = [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];
    let source = image(4, 4, 1, 8, |i, _| samples[i]);
    let stream = encode(&source).unwrap();
    let scan = [0xC0u8, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00, 0x57, 0x40, 0x00, 0x00, 0x6E, 0xE6, 0x00];
    assert!(stream.windows(scan.len()).any(|w| w == scan), "{stream:02X?}");
    assert_eq!(decode(&stream, 16).unwrap(), source);
}

#[test]
fn flat_lines_edges_and_colour_survive() {
    for (columns, rows) in [(1, 1), (1, 7), (7, 1), (64, 5), (65, 3), (3000, 2)] {
        for components in [1, 3] {
            for precision in [2, 8, 12, 16] {
                let largest = (1u32 << precision) - 1;
                for kind in 0..4usize {
                    let value = |i: usize, c: usize| {
                        let v = match kind {
                            0 => 0,
                            1 => largest,
                            2 => {
                                if (i / 40).is_multiple_of(2) {
                                    0
                                } else {
                                    largest
                                }
                            }
                            _ => (i * 7919 + c * 31) as u32 % (largest + 1),
                        };
                        u16::try_from(v).unwrap()
                    };
                    let source = image(columns, rows, components, precision, value);
                    let stream = encode(&source).unwrap();
                    assert_eq!(decode(&stream, source.samples.len()).unwrap(), source, "{columns}x{rows} {precision} {kind}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_such_stream_is_an_error() {
    let source = image(40, 40, 1, 12, |i, _| (i * 37 % 4096) as u16);
    let stream = encode(&source).unwrap();
    assert!(decode(&stream, 1599).is_err());
    assert_eq!(decode(&stream[..stream.len() / 2], 1600), Err(Broken::Ended));
    assert!(decode(&[], 1600).is_err());
    assert!(encode(&image(4, 4, 1, 8, |_, _| 256)).is_err());
}

proptest::proptest! {
    #[test]
    fn any_image_survives(samples in proptest::collection::vec(0u16..4096, 1..400), columns in 1usize..20) {
        let rows = samples.len().div_ceil(columns);
        let source = image(columns, rows, 1, 12, |i, _| samples[i % samples.len()]);
        proptest::prop_assert_eq!(decode(&encode(&source).unwrap(), columns * rows).unwrap(), source);
    }

    #[test]
    fn damaged_streams_never_panic(at in 0usize..400, with in proptest::num::u8::ANY, cut in 0usize..400) {
        let source = image(20, 20, 3, 8, |i, c| ((i * 13 + c) % 256) as u16);
        let mut stream = encode(&source).unwrap();
        let at = at % stream.len();
        stream[at] = with;
        let _ = decode(&stream, 1 << 16);
        stream.truncate(cut);
        let _ = decode(&stream, 1 << 16);
    }
}
