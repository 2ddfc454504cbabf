//! An object in another transfer syntax, as a stream: attributes first, then frame by frame, so that memory holds one frame. With a mark
//! it is the derived, marked copy; without one it is a transcoding.
//!
//! Never gives other samples than it decoded: a frame that an encoder would change is written as it is, or not at all.

use super::object::{Object, ObjectError};
use crate::codec::{DecodeError, Frame, Pool, pack_bits};
use crate::dicom::dataset::{header, swap};
use crate::dicom::displayed::Displayed;
use crate::dicom::image::Layout;
use crate::dicom::{DataSet, Element, Syntax, VR, Value, syntax, tags, uids};
use crate::index::InstanceRow;
use crate::mark::derive::{self, Source};
use crate::mark::graphics::Corner;
use crate::mark::layout::{Canvas, Placed, place};
use crate::mark::refer::{self, Copies};
use crate::mark::{Form, MarkError, burn, never_marked, plane, tone};
use crate::procedure::catalogue::Mark;
use crate::store::Store;
use std::io::{self, Read};

/// Longest value that is carried over, pixel data apart, bytes.
const VALUE_LIMIT: u64 = 1 << 28;

/// Why there is no such copy.
#[derive(Debug, thiserror::Error)]
pub enum NoCopy {
    /// The source cannot be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A frame cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The mark cannot be burnt.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// Of a kind that is never marked.
    #[error("{0} is never marked")]
    Never(&'static str),
    /// A video, over 4 GiB of samples, or marked already.
    #[error("{0}")]
    Unsuitable(String),
}

/// A copy that is being read.
pub struct Copied<'a> {
    /// What it is written in; Explicit VR Little Endian where the wanted one cannot hold the samples.
    pub transfer_syntax: &'static str,
    object: Object,
    layout: Option<Layout>,
    burnt: Option<Burnt>,
    pool: &'a Pool,
    ready: io::Cursor<Vec<u8>>,
    next: u32,
    end: Vec<u8>,
}

/// The transfer syntaxes that copies are written in; all are lossless.
pub const WRITTEN: &[&str] = &[
    uids::EXPLICIT_VR_LITTLE_ENDIAN,
    uids::JPEGLS_LOSSLESS,
    uids::JPEG2000_LOSSLESS,
    uids::HTJ2K_LOSSLESS,
    uids::RLE_LOSSLESS,
    uids::JPEG_LOSSLESS_SV1,
    uids::JPEG_LOSSLESS,
    uids::HTJ2K_LOSSLESS_RPCL,
];

/// Whether an output is native, and how its elements are written.
fn native(output: &str) -> Option<Syntax> {
    // Implicit VR and Big Endian are for peers that take nothing else; the web never asks for them.
    let all = [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, syntax::EXPLICIT_VR_BIG_ENDIAN];
    all.contains(&output).then(|| Syntax::of(output))
}

/// Starts the marked copy of a stored instance; see [`marked`].
///
/// # Errors
/// Why there is none.
pub fn marked_copy<'a>(
    store: &Store,
    row: &InstanceRow,
    mark: &Mark,
    output: &'static str,
    pool: &'a Pool,
) -> Result<Copied<'a>, NoCopy> {
    let object = open(store, row)?;
    if syntax::is_video(&object.transfer_syntax) {
        return Err(NoCopy::Never("a video stream is not marked"));
    }
    if let Some(why) = never_marked(&object.data_set).filter(|_| object.data_set.get(tags::PIXEL_DATA).is_some()) {
        return Err(NoCopy::Never(why));
    }
    marked(object, source_of(row), mark, Form::Burnt, output, pool)
}

/// A stored instance as the source of a copy; what its compression lost is found out with the pixels.
pub fn source_of(row: &InstanceRow) -> Source<'_> {
    Source {
        sop_class: &row.sop_class,
        sop_instance: &row.sop_instance,
        named: true,
        series: &row.series,
        sha256: &row.sha256,
        lost: None,
    }
}

/// Starts the marked copy of an object; its first frame is decoded at once, so that what cannot be decoded fails here. What the source
/// lost by its compression is found out here.
///
/// # Errors
/// Why there is none.
pub fn marked<'a>(
    object: Object,
    mut source: Source<'_>,
    mark: &Mark,
    form: Form,
    output: &'static str,
    pool: &'a Pool,
) -> Result<Copied<'a>, NoCopy> {
    still(&object)?;
    whole(&object)?;
    if !object.data_set.items(tags::MASK_SUBTRACTION_SEQUENCE).is_empty() {
        return Err(NoCopy::Unsuitable("it is shown by subtraction, which would take the mark away".into()));
    }
    if derive::is_marked(&object.data_set) {
        return Err(NoCopy::Unsuitable("it carries a recognition mark already".into()));
    }
    let layout = object.layout()?;
    if let Some(Value::Deferred(extent)) = object.data_set.get(tags::PIXEL_DATA).map(|e| &e.value)
        && extent.length >= layout.total_bytes().saturating_add(layout.frame_bytes())
    {
        return Err(NoCopy::Unsuitable("its pixel data hold more frames than its header says, which a copy would lose".into()));
    }
    let placed = placed(&object, &layout, mark, pool)?;
    let burnt = match form {
        Form::Burnt => Some(Burnt { held: held(&object, &layout, pool)?, placed: placed.clone() }),
        Form::Overlay => None,
    };
    let first = frame(&object, 0, &layout, burnt.as_ref(), pool)?;
    source.lost = super::lossy::lost(&object, &layout);
    let mut data_set = object.data_set.clone();
    derive::settle(&mut data_set, object.syntax);
    derive::derive(&mut data_set, &source, mark, form, &first, layout.frames);
    if form == Form::Overlay {
        plane::add(&mut data_set, &placed, layout.rows, layout.columns)?;
    }
    start(object, data_set, layout, burnt, first, output, pool)
}

/// A mark that is burnt into each frame.
#[derive(Clone)]
struct Burnt {
    placed: Placed,
    /// The ends of what the object's frames hold, where tones depend on it.
    held: Option<(i64, i64)>,
}

/// Frames that are looked at to know what an object holds.
const LOOKED_AT: u32 = 64;

/// The ends of what the frames of an object hold together, where nothing says how it is shown.
fn held(object: &Object, layout: &Layout, pool: &Pool) -> Result<Option<(i64, i64)>, NoCopy> {
    if !tone::looks_at_all(layout, &object.data_set, &object.attributes_of(0)) {
        return Ok(None);
    }
    let step = usize::try_from(layout.frames.div_ceil(LOOKED_AT)).unwrap_or(1).max(1);
    let mut ends: Option<(i64, i64)> = None;
    for number in (0..layout.frames).step_by(step) {
        let own = tone::held(&frame(object, number, layout, None, pool)?, &object.data_set);
        ends = own.into_iter().chain(ends).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    }
    Ok(ends)
}

/// Where the mark stands: one place serves all frames, clear of what overlays draw on any of them.
fn placed(object: &Object, layout: &Layout, mark: &Mark, pool: &Pool) -> Result<Placed, NoCopy> {
    let mut canvas = Canvas::of(&object.data_set, &object.attributes_of(0), layout.rows, layout.columns);
    if Displayed::has_embedded(&object.data_set) {
        for number in 0..layout.frames {
            let plain = frame(object, number, layout, None, pool)?;
            canvas.displayed.embed(&object.data_set, &plain.layout, &plain.bytes, number);
        }
    }
    Ok(place(mark, &canvas)?)
}

/// Where the mark stands on the copy of a stored image, grown to the corner: left, upper, right, lower.
///
/// # Errors
/// Why there is no such copy.
pub fn corner_of(store: &Store, row: &InstanceRow, mark: &Mark, pool: &Pool) -> Result<[f64; 4], NoCopy> {
    let object = open(store, row)?;
    let layout = object.layout()?;
    Ok(placed(&object, &layout, mark, pool)?.to_corner(mark, layout.columns, layout.rows))
}

/// A light and a dark stored value of the mark on the copy of a stored image's first frame, and how its samples are stored.
///
/// # Errors
/// Why there is no such copy.
pub fn shades_of(store: &Store, row: &InstanceRow, pool: &Pool) -> Result<Option<(i64, i64, Layout)>, NoCopy> {
    let object = open(store, row)?;
    let layout = object.layout()?;
    let held = held(&object, &layout, pool)?;
    let first = frame(&object, 0, &layout, None, pool)?;
    let tones = tone::choose(&first, &object.data_set, &object.attributes_of(0), held)?;
    let one = |tones: &[i64]| tones.first().copied();
    Ok(one(&tones.light).zip(one(&tones.dark)).filter(|_| layout.is_grey()).map(|(light, dark)| (light, dark, first.layout)))
}

/// Longest object that is carried over with other references, bytes: it is held in memory.
const CARRIED: u64 = 1 << 28;

/// Whether an object of the study is to be carried over: it refers to one of the copies' originals. `corner` tells where the marks are, `shades` how.
///
/// # Errors
/// It does, and cannot be carried over: why it is left out. Or it cannot be read.
pub fn refers(
    store: &Store,
    row: &InstanceRow,
    copies: &Copies,
    corner: &Corner<'_>,
    shades: &refer::Shades<'_>,
) -> Result<bool, NoCopy> {
    let object = open(store, row)?;
    // What another node carried over names copies already, and came with its original or stands for it.
    if derive::is_marked(&object.data_set) {
        return Ok(false);
    }
    if !refer::refers(&object.data_set, copies) && !refer::is_document(&row.sop_class) {
        return Ok(false);
    }
    if let Some(why) = refer::spoils_the_mark(&object.data_set, copies, corner) {
        return Err(NoCopy::Unsuitable(why.into()));
    }
    if refer::hides_the_mark(&object.data_set, copies, shades) {
        return Err(NoCopy::Unsuitable("its window or table does not show the mark".into()));
    }
    whole(&object)?;
    match object.data_set.get(tags::PIXEL_DATA).map(|e| &e.value) {
        None | Some(Value::Bytes(_)) => Ok(true),
        Some(Value::Deferred(extent)) if extent.length <= CARRIED && !object.syntax.big_endian => Ok(true),
        Some(_) => Err(NoCopy::Unsuitable("its samples are compressed, big endian or too many to be carried over".into())),
    }
}

/// An object that [`refers`], with the copies' names in place of the originals', in Explicit VR Little Endian.
///
/// # Errors
/// It cannot be read, or has no name among the copies.
pub fn carried(store: &Store, row: &InstanceRow, copies: &Copies) -> Result<Vec<u8>, NoCopy> {
    let object = open(store, row)?;
    let own = copies.get(row.sop_instance.as_str()).ok_or_else(|| NoCopy::Unsuitable("it is not carried over".into()))?;
    whole(&object)?;
    let mut data_set = object.data_set.clone();
    refer::rename(&mut data_set, copies, own);
    derive::carried(&mut data_set);
    data_set.elements.retain(|e| e.tag.1 != 0);
    derive::settle(&mut data_set, object.syntax);
    if let Some(element) = data_set.elements.iter_mut().find(|e| e.tag == tags::PIXEL_DATA)
        && let Value::Deferred(extent) = element.value
    {
        element.value = Value::Bytes(object.range(extent.offset, extent.length).map_err(ObjectError::Io)?);
    }
    let mut bytes = Vec::new();
    data_set.write_explicit(&mut bytes);
    Ok(bytes)
}

/// Starts a transcoding without loss (PS3.18 8.7.3.4).
///
/// # Errors
/// Its pixels cannot be decoded.
pub fn transcoded<'a>(store: &Store, row: &InstanceRow, output: &'static str, pool: &'a Pool) -> Result<Copied<'a>, NoCopy> {
    transcoded_object(open(store, row)?, output, pool)
}

/// As [`transcoded`], of an object that is open.
///
/// # Errors
/// Its pixels cannot be decoded.
pub fn transcoded_object<'a>(object: Object, output: &'static str, pool: &'a Pool) -> Result<Copied<'a>, NoCopy> {
    let Some(_) = object.data_set.get(tags::PIXEL_DATA) else {
        whole(&object)?;
        let mut bytes = Vec::new();
        let (transfer_syntax, written) = fallback(output);
        object.data_set.write_as(written, &mut bytes);
        let ready = io::Cursor::new(bytes);
        return Ok(Copied { transfer_syntax, object, layout: None, burnt: None, pool, ready, next: 0, end: vec![] });
    };
    still(&object)?;
    whole(&object)?;
    let layout = object.layout()?;
    if layout.bits_allocated == 1 {
        return of_bits(object, &layout, output, pool);
    }
    let first = frame(&object, 0, &layout, None, pool)?;
    let mut data_set = object.data_set.clone();
    data_set.elements.retain(|e| e.tag.1 != 0 && !derive::is_of_pixels(e.tag));
    derive::settle(&mut data_set, object.syntax);
    derive::pixel_attributes(&mut data_set, &first, layout.frames);
    if let Some(lost) = super::lossy::lost(&object, &layout) {
        lost.state(&mut data_set);
    }
    start(object, data_set, layout, None, first, output, pool)
}

/// Bits stay bits: what says that its samples are (a segmentation, PS3.3 C.8.20.2) would be none with a byte for each. No compressed transfer
/// syntax that is written here holds them.
fn of_bits<'a>(object: Object, layout: &Layout, output: &'static str, pool: &'a Pool) -> Result<Copied<'a>, NoCopy> {
    let written = native(output).ok_or_else(|| NoCopy::Unsuitable("its samples are bits, which stay uncompressed".into()))?;
    let samples = (0..layout.frames).map(|n| object.frame(n, layout, pool).map(|f| f.bytes));
    let samples = samples.collect::<Result<Vec<_>, DecodeError>>()?.concat();
    let mut data_set = object.data_set.clone();
    data_set.elements.retain(|e| e.tag.1 != 0);
    derive::settle(&mut data_set, object.syntax);
    data_set.put(tags::PIXEL_DATA, VR::OB, Value::Bytes(pack_bits(&samples)));
    let mut bytes = Vec::new();
    data_set.write_as(written, &mut bytes);
    let ready = io::Cursor::new(bytes);
    Ok(Copied { transfer_syntax: output, object, layout: None, burnt: None, pool, ready, next: 0, end: vec![] })
}

fn open(store: &Store, row: &InstanceRow) -> Result<Object, NoCopy> {
    Ok(Object::open(store, row, VALUE_LIMIT)?)
}

/// Refuses what holds no still pictures of whole numbers.
fn still(object: &Object) -> Result<(), NoCopy> {
    if syntax::is_video(&object.transfer_syntax) {
        return Err(NoCopy::Unsuitable("a video stream cannot be cut into frames here".into()));
    }
    if [tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA].iter().any(|tag| object.data_set.get(*tag).is_some()) {
        return Err(NoCopy::Unsuitable(
            "its samples are floating point numbers, which are neither marked nor transcoded".into(),
        ));
    }
    Ok(())
}

/// Refuses an object of which a value beside the pixels is too long to be carried over: a copy without it would not say so.
fn whole(object: &Object) -> Result<(), NoCopy> {
    fn long(data_set: &DataSet) -> Option<&Element> {
        data_set.elements.iter().filter(|e| !matches!(e.tag, tags::PIXEL_DATA | tags::ICON_IMAGE_SEQUENCE)).find_map(|e| {
            match &e.value {
                Value::Deferred(_) => Some(e),
                Value::Items(items) => items.iter().find_map(long),
                _ => None,
            }
        })
    }
    long(&object.data_set).map_or(Ok(()), |e| {
        Err(NoCopy::Unsuitable(format!("the value of {} is over {} MiB, which no copy carries over", e.tag, VALUE_LIMIT >> 20)))
    })
}

/// What an output becomes where it cannot hold the samples.
fn fallback(output: &'static str) -> (&'static str, Syntax) {
    native(output).map_or((uids::EXPLICIT_VR_LITTLE_ENDIAN, Syntax::EXPLICIT), |written| (output, written))
}

/// The samples of a frame as native pixel data hold them.
fn in_order(mut frame: Frame, written: Syntax) -> Vec<u8> {
    if written.big_endian {
        swap(&mut frame.bytes, frame.layout.bits_allocated as usize / 8);
    }
    frame.bytes
}

fn start<'a>(
    object: Object,
    data_set: DataSet,
    layout: Layout,
    burnt: Option<Burnt>,
    first: Frame,
    output: &'static str,
    pool: &'a Pool,
) -> Result<Copied<'a>, NoCopy> {
    let (mut bytes, mut after) = (Vec::new(), Vec::new());
    let (plain, written) = fallback(output);
    // Private groups may follow the pixels.
    let (before, behind) = data_set.elements.into_iter().partition(|e| e.tag < tags::PIXEL_DATA);
    DataSet { elements: before }.write_as(written, &mut bytes);
    DataSet { elements: behind }.write_as(if native(output).is_some() { written } else { Syntax::EXPLICIT }, &mut after);
    let fragment = match native(output) {
        Some(_) => None,
        None => match pool.encode(&first, output) {
            Ok(fragment) => Some(fragment),
            Err(DecodeError::Unsupported(_)) => None,
            Err(e) => return Err(e.into()),
        },
    };
    let (transfer_syntax, mut end) = match fragment {
        Some(fragment) => {
            bytes.extend_from_slice(UNDEFINED);
            // The basic offset table stays empty: where frames begin is not known before they are written.
            bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0]);
            item(&mut bytes, fragment);
            (output, vec![0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0])
        }
        None => {
            let total = first.bytes.len() as u64 * u64::from(layout.frames);
            if total >= u64::from(u32::MAX) - 1 {
                return Err(NoCopy::Unsuitable("its samples take over 4 GiB, which no native pixel data can hold".into()));
            }
            let vr = if first.layout.bits_allocated > 8 { VR::OW } else { VR::OB };
            let length = usize::try_from(total).unwrap_or(usize::MAX);
            header(written, &mut bytes, tags::PIXEL_DATA, vr, length);
            bytes.extend_from_slice(&in_order(first, written));
            (plain, vec![0; usize::from(total % 2 == 1)])
        }
    };
    end.append(&mut after);
    let ready = io::Cursor::new(bytes);
    Ok(Copied { transfer_syntax, object, layout: Some(layout), burnt, pool, ready, next: 1, end })
}

/// Header of Pixel Data in fragments: (7FE0,0010) OB of undefined length.
const UNDEFINED: &[u8] = &[0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];

/// A fragment as an item, of even length (PS3.5 A.4).
fn item(out: &mut Vec<u8>, mut fragment: Vec<u8>) {
    if fragment.len() % 2 == 1 {
        fragment.push(0);
    }
    out.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
    out.extend_from_slice(&u32::try_from(fragment.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.append(&mut fragment);
}

fn frame(object: &Object, number: u32, layout: &Layout, burnt: Option<&Burnt>, pool: &Pool) -> Result<Frame, NoCopy> {
    let mut frame = object.frame(number, layout, pool)?;
    if let Some(Burnt { placed, held }) = burnt {
        let tones = tone::choose(&frame, &object.data_set, &object.attributes_of(number), *held)?;
        burn(&mut frame, placed, &tones, Displayed::has_embedded(&object.data_set));
    }
    Ok(frame)
}

impl Copied<'_> {
    fn following(&mut self, layout: &Layout) -> Result<Vec<u8>, NoCopy> {
        let frame = frame(&self.object, self.next, layout, self.burnt.as_ref(), self.pool)?;
        self.next += 1;
        if let Some(written) = native(self.transfer_syntax) {
            return Ok(in_order(frame, written));
        }
        let mut bytes = Vec::new();
        item(&mut bytes, self.pool.encode(&frame, self.transfer_syntax)?);
        Ok(bytes)
    }
}

impl Read for Copied<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.ready.read(buf)?;
            if got > 0 || buf.is_empty() {
                return Ok(got);
            }
            let more = self.layout.clone().filter(|l| self.next < l.frames);
            let bytes = match more {
                Some(layout) => self.following(&layout).map_err(io::Error::other)?,
                None => std::mem::take(&mut self.end),
            };
            if bytes.is_empty() {
                return Ok(0);
            }
            self.ready = io::Cursor::new(bytes);
        }
    }
}
