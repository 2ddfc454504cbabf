//! Marking objects whose pixel attributes are made up: never a panic, never a sample outside the box or the stored range.

use crate::support::PROGRAM;
use hutong::codec::{Limits, Pool, native_frame, samples};
use hutong::dicom::displayed::Displayed;
use hutong::dicom::image::Layout;
use hutong::dicom::{Attributes, DataSet, Tag, Uid, VR, Value, tags, uids};
use hutong::mark::Form;
use hutong::mark::derive::Source;
use hutong::mark::layout::{Canvas, place};
use hutong::procedure::{Mark, embedded, load};
use hutong::retrieve::{NoCopy, Object, marked};
use proptest::prelude::*;
use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool::new(PROGRAM.into(), Limits { workers: 1, memory_mib: 512, time: Duration::from_secs(5) }))
}

fn mark() -> &'static Mark {
    static MARK: OnceLock<Mark> = OnceLock::new();
    MARK.get_or_init(|| load(embedded::FILES).unwrap().region_for("20260310").unwrap().mark.clone())
}

/// Where the mark is to stand: left, upper, right, lower.
fn place_of(data_set: &DataSet) -> [u32; 4] {
    let layout = Layout::of_data_set(data_set).unwrap();
    let mut canvas = Canvas::of(data_set, &Attributes::decode(data_set, |_| true), layout.rows, layout.columns);
    if Displayed::has_embedded(data_set) {
        let frames = data_set.bytes(tags::PIXEL_DATA).unwrap().chunks(usize::try_from(layout.frame_bytes()).unwrap());
        frames.zip(0..layout.frames).for_each(|(f, n)| canvas.displayed.embed(data_set, &layout, f, n));
    }
    let placed = place(mark(), &canvas).unwrap();
    [placed.x, placed.y, placed.x + placed.mask.width, placed.y + placed.mask.height]
}

/// The marked copy's elements.
fn copy_of(data_set: &DataSet, output: &'static str) -> Result<(DataSet, Object), NoCopy> {
    let mut bytes = Vec::new();
    data_set.write_explicit(&mut bytes);
    let object = Object::of_bytes(bytes, uids::EXPLICIT_VR_LITTLE_ENDIAN, 1 << 20)?;
    let (name, series) = (Uid::derived(&["fuzz"]), Uid::derived(&["fuzz series"]));
    let source = Source { sop_class: "1.2", sop_instance: &name, named: true, series: &series, sha256: "", lost: None };
    let mut copy = marked(object, source, mark(), Form::Burnt, output, pool())?;
    let mut bytes = Vec::new();
    copy.read_to_end(&mut bytes).map_err(|e| NoCopy::Unsuitable(e.to_string()))?;
    let copy = Object::of_bytes(bytes, copy.transfer_syntax, 1 << 20).unwrap();
    Ok((copy.data_set.clone(), copy))
}

#[derive(Debug, Clone)]
struct Made {
    rows: u16,
    columns: u16,
    colours: u16,
    allocated: u16,
    stored: u16,
    high: u16,
    signed: u16,
    photometric: &'static str,
    planar: u16,
    frames: u8,
    texts: Vec<(Tag, VR, String)>,
    words: Vec<(Tag, VR, Vec<u16>)>,
    short_by: usize,
    seed: u8,
}

const NUMBERS: &[&str] =
    &["0", "1", "-1", "40", "400", "1e9", "-1e300", "1e400", "nan", "", "x", "0.5\\2", "65535", "-32768", "2\\0"];
const DECIMALS: &[Tag] = &[
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::RESCALE_SLOPE,
    tags::RESCALE_INTERCEPT,
    tags::PIXEL_SPACING,
    tags::PIXEL_ASPECT_RATIO,
    tags::SHUTTER_LEFT_VERTICAL_EDGE,
    tags::SHUTTER_RIGHT_VERTICAL_EDGE,
    tags::SHUTTER_UPPER_HORIZONTAL_EDGE,
    tags::SHUTTER_LOWER_HORIZONTAL_EDGE,
    tags::CENTER_OF_CIRCULAR_SHUTTER,
    tags::RADIUS_OF_CIRCULAR_SHUTTER,
    tags::VERTICES_OF_THE_POLYGONAL_SHUTTER,
];
const CODES: &[(Tag, &[&str])] = &[
    (tags::SHUTTER_SHAPE, &["RECTANGULAR", "CIRCULAR\\POLYGONAL", "NONSENSE"]),
    (tags::VOILUT_FUNCTION, &["SIGMOID", "LINEAR_EXACT", "?"]),
    (tags::PRESENTATION_LUT_SHAPE, &["INVERSE", "IDENTITY"]),
    (tags::KVP, &["120"]),
    (tags::RESCALE_TYPE, &["HU", "US"]),
];
const WORDS: &[Tag] = &[
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
    tags::SMALLEST_IMAGE_PIXEL_VALUE,
    Tag(0x6000, 0x0010),
    Tag(0x6000, 0x0011),
    Tag(0x6000, 0x0050),
    Tag(0x6000, 0x3000),
];
const PHOTOMETRIC: &[&str] =
    &["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "CMYK", "NONSENSE"];

fn made() -> impl Strategy<Value = Made> {
    let shape = (
        prop_oneof![8 => 64u16..200, 1 => 1u16..64, 1 => Just(0)],
        prop_oneof![8 => 64u16..200, 1 => 1u16..64, 1 => Just(65_535)],
        prop_oneof![8 => Just(1u16), 4 => Just(3), 1 => Just(4)],
    );
    let usual = prop_oneof![(Just(8u16), 1u16..9), (Just(16), 1u16..17), (Just(32), 1u16..33)];
    let usual = usual.prop_flat_map(|(allocated, stored)| (Just(allocated), Just(stored), stored - 1..allocated, 0u16..2));
    let odd = (prop_oneof![Just(8u16), Just(16), Just(32), Just(1), Just(64), Just(12)], 0u16..40, 0u16..40, 0u16..2);
    let bits = prop_oneof![6 => usual, 1 => odd];
    let photometric = prop_oneof![Just("MONOCHROME1"), Just("MONOCHROME2"), proptest::sample::select(PHOTOMETRIC)];
    let kind = (photometric, 0u16..2, 1u8..4, prop_oneof![6 => Just(0usize), 1 => 1usize..5000], any::<u8>());
    let decimal =
        (proptest::sample::select(DECIMALS), proptest::sample::select(NUMBERS)).prop_map(|(t, n)| (t, VR::DS, n.to_string()));
    let coded = proptest::sample::select(CODES)
        .prop_flat_map(|(tag, values)| proptest::sample::select(values).prop_map(move |v| (tag, VR::CS, v.to_string())));
    let texts = proptest::collection::vec(prop_oneof![decimal, coded], 0..8);
    let words = (proptest::sample::select(WORDS), proptest::collection::vec(prop_oneof![0u16..40, any::<u16>()], 0..300));
    let words = proptest::collection::vec(words.prop_map(|(t, w)| (t, VR::US, w)), 0..6);
    (shape, bits, kind, texts, words).prop_map(|(shape, bits, kind, texts, words)| Made {
        rows: shape.0,
        columns: shape.1,
        colours: shape.2,
        allocated: bits.0,
        stored: bits.1,
        high: bits.2,
        signed: bits.3,
        photometric: kind.0,
        planar: kind.1,
        frames: kind.2,
        texts,
        words,
        short_by: kind.3,
        seed: kind.4,
    })
}

fn data_set(m: &Made) -> DataSet {
    let mut ds = DataSet::default();
    for (tag, number) in [
        (tags::ROWS, m.rows),
        (tags::COLUMNS, m.columns),
        (tags::SAMPLES_PER_PIXEL, m.colours),
        (tags::BITS_ALLOCATED, m.allocated),
        (tags::BITS_STORED, m.stored),
        (tags::HIGH_BIT, m.high),
        (tags::PIXEL_REPRESENTATION, m.signed),
        (tags::PLANAR_CONFIGURATION, m.planar),
    ] {
        ds.put_u16(tag, number);
    }
    ds.put_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, m.photometric);
    ds.put_text(tags::NUMBER_OF_FRAMES, VR::IS, &m.frames.to_string());
    m.texts.iter().for_each(|(tag, vr, text)| ds.put_text(*tag, *vr, text));
    for (tag, vr, words) in &m.words {
        ds.put(*tag, *vr, Value::Bytes(words.iter().flat_map(|w| w.to_le_bytes()).collect()));
    }
    let columns = if m.columns > 1000 { 1 } else { usize::from(m.columns) };
    let size =
        usize::from(m.rows) * columns * usize::from(m.colours) * usize::from(m.allocated).div_ceil(8) * usize::from(m.frames);
    let bytes: Vec<u8> = (0..size.saturating_sub(m.short_by)).map(|i| ((i * 31) >> 3) as u8 ^ m.seed).collect();
    ds.put(tags::PIXEL_DATA, if m.allocated > 8 { VR::OW } else { VR::OB }, Value::Bytes(bytes));
    ds
}

/// The frames of native pixel data, one after the other.
fn frames(object: &Object, layout: &Layout) -> Vec<Vec<i32>> {
    (0..layout.frames).map(|n| samples::read(&object.frame(n, layout, pool()).unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
    fn made_up_attributes_never_panic_and_nothing_outside_the_box_changes(m in made()) {
        let source = data_set(&m);
        let mut bytes = Vec::new();
        source.write_explicit(&mut bytes);
        // Refused, with a reason; and nothing worse.
        let Ok((_, copy)) = copy_of(&source, uids::EXPLICIT_VR_LITTLE_ENDIAN) else { return Ok(()) };
        MARKED.fetch_add(1, Ordering::Relaxed);
        let original = Object::of_bytes(bytes, uids::EXPLICIT_VR_LITTLE_ENDIAN, 1 << 20).unwrap();
        let (before, after) = (original.layout().unwrap(), copy.layout().unwrap());
        prop_assert_eq!((before.rows, before.columns, before.frames), (after.rows, after.columns, after.frames));
        let (low, high) = after.range();
        for (was, is) in frames(&original, &before).iter().zip(frames(&copy, &after)) {
            prop_assert_eq!(was.len(), is.len());
            prop_assert!(is.iter().all(|v| (low..=high).contains(&i64::from(*v)) || high > i64::from(i32::MAX)));
            let mut changed = (0..was.len()).filter(|i| was[*i] != is[*i]).map(|i| i / after.samples as usize).peekable();
            prop_assert!(changed.peek().is_some(), "no mark");
            let columns = after.columns as usize;
            let [left, upper, right, lower] = place_of(&source).map(|n| n as usize);
            let outside = changed.find(|p| !(left..right).contains(&(p % columns)) || !(upper..lower).contains(&(p / columns)));
            prop_assert_eq!(outside, None, "{:?}", place_of(&source));
        }
    }
}

/// Cases that were not refused.
static MARKED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn made_up_attributes_are_marked_often_enough_to_mean_something() {
    made_up_attributes_never_panic_and_nothing_outside_the_box_changes();
    assert!(MARKED.load(Ordering::Relaxed) > 200, "{}", MARKED.load(Ordering::Relaxed));
}

#[test]
fn frames_that_are_not_whole_leave_no_copy() {
    let m = Made {
        rows: 100,
        columns: 100,
        colours: 1,
        allocated: 16,
        stored: 12,
        high: 11,
        signed: 0,
        photometric: "MONOCHROME2",
        planar: 0,
        frames: 2,
        texts: vec![],
        words: vec![],
        short_by: 2,
        seed: 1,
    };
    assert!(copy_of(&data_set(&m), uids::EXPLICIT_VR_LITTLE_ENDIAN).is_err());
    let whole = Made { short_by: 0, ..m };
    for output in hutong::retrieve::WRITTEN {
        let (_, copy) = copy_of(&data_set(&whole), output).unwrap();
        assert_eq!(frames(&copy, &copy.layout().unwrap()).len(), 2, "{output}");
    }
    let floats = {
        let mut ds = data_set(&whole);
        ds.put(tags::FLOAT_PIXEL_DATA, VR::OF, Value::Bytes(vec![0; 40_000]));
        ds
    };
    assert!(matches!(copy_of(&floats, uids::EXPLICIT_VR_LITTLE_ENDIAN), Err(NoCopy::Unsuitable(_))));
    // What a frame needs is there, or it is an error: the helper itself does not hide it.
    assert!(native_frame(&Layout::of_data_set(&data_set(&whole)).unwrap(), vec![0; 10], 1).is_err());
}
