//! An object as Explicit VR Little Endian with native pixels, as a stream: attributes first, then frame by frame, so that
//! memory holds one frame. With a mark it is the derived, marked copy; without one it is a transcoding.

use super::object::{Object, ObjectError};
use crate::codec::{DecodeError, Frame, Pool};
use crate::dicom::dataset::write_header;
use crate::dicom::image::Layout;
use crate::dicom::{Attributes, DataSet, VR, levels, syntax, tags};
use crate::index::InstanceRow;
use crate::mark::derive::{self, Source};
use crate::mark::{MarkError, Placed, burn, layout::place, tone};
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
    /// A video, over 4 GiB of samples, or marked already.
    #[error("{0}")]
    Unsuitable(String),
}

/// A copy that is being read.
pub struct Explicit<'a> {
    object: Object,
    layout: Option<Layout>,
    burning: Option<Burning>,
    pool: &'a Pool,
    ready: io::Cursor<Vec<u8>>,
    next: u32,
    odd: bool,
}

struct Burning {
    attributes: Attributes,
    placed: Placed,
}

/// Starts the marked copy of an instance; its first frame is decoded at once, so that what cannot be decoded fails here.
///
/// # Errors
/// Why there is none.
pub fn marked_copy<'a>(store: &Store, row: &InstanceRow, mark: &Mark, pool: &'a Pool) -> Result<Explicit<'a>, NoCopy> {
    let object = open(store, row)?;
    if derive::is_marked(&object.data_set) {
        return Err(NoCopy::Unsuitable("it carries a recognition mark already".into()));
    }
    let layout = object.layout()?;
    let attributes = Attributes::decode(&object.data_set, |tag| levels::level_of(tag).is_some());
    let burning = Burning { attributes, placed: place(mark, layout.rows, layout.columns)? };
    let first = frame(&object, 0, &layout, Some(&burning), pool)?;
    let source = Source {
        sop_class: &row.sop_class,
        sop_instance: &row.sop_instance,
        series: &row.series,
        sha256: &row.sha256,
        lossy: derive::is_lossy(&row.transfer_syntax, &object.data_set),
    };
    let mut data_set = object.data_set.clone();
    derive::derive(&mut data_set, &source, mark, &first, layout.frames);
    start(object, data_set, layout, Some(burning), &first, pool)
}

/// Starts a transcoding to Explicit VR Little Endian (PS3.18 8.7.3.4).
///
/// # Errors
/// Its pixels cannot be decoded.
pub fn transcoded<'a>(store: &Store, row: &InstanceRow, pool: &'a Pool) -> Result<Explicit<'a>, NoCopy> {
    let object = open(store, row)?;
    let Some(_) = object.data_set.get(tags::PIXEL_DATA) else {
        let mut bytes = Vec::new();
        object.data_set.write_explicit(&mut bytes);
        return Ok(Explicit { object, layout: None, burning: None, pool, ready: io::Cursor::new(bytes), next: 0, odd: false });
    };
    let layout = object.layout()?;
    let first = frame(&object, 0, &layout, None, pool)?;
    let mut data_set = object.data_set.clone();
    data_set.elements.retain(|e| e.tag.1 != 0 && e.tag < tags::EXTENDED_OFFSET_TABLE);
    derive::pixel_attributes(&mut data_set, &first, layout.frames);
    if derive::is_lossy(&row.transfer_syntax, &data_set) {
        data_set.put_text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01");
    }
    start(object, data_set, layout, None, &first, pool)
}

fn open(store: &Store, row: &InstanceRow) -> Result<Object, NoCopy> {
    if syntax::is_video(&row.transfer_syntax) {
        return Err(NoCopy::Unsuitable("a video stream cannot be cut into frames here".into()));
    }
    Ok(Object::open(store, row, VALUE_LIMIT)?)
}

fn start<'a>(
    object: Object,
    data_set: DataSet,
    layout: Layout,
    burning: Option<Burning>,
    first: &Frame,
    pool: &'a Pool,
) -> Result<Explicit<'a>, NoCopy> {
    let total = first.bytes.len() as u64 * u64::from(layout.frames);
    if total >= u64::from(u32::MAX) - 1 {
        return Err(NoCopy::Unsuitable("its samples take over 4 GiB, which no native pixel data can hold".into()));
    }
    let mut bytes = Vec::new();
    data_set.write_explicit(&mut bytes);
    let vr = if first.layout.bits_allocated > 8 { VR::OW } else { VR::OB };
    write_header(&mut bytes, tags::PIXEL_DATA, vr, usize::try_from(total).unwrap_or(usize::MAX));
    bytes.extend_from_slice(&first.bytes);
    let ready = io::Cursor::new(bytes);
    Ok(Explicit { object, layout: Some(layout), burning, pool, ready, next: 1, odd: total % 2 == 1 })
}

fn frame(object: &Object, number: u32, layout: &Layout, burning: Option<&Burning>, pool: &Pool) -> Result<Frame, NoCopy> {
    let mut frame = object.frame(number, layout, pool)?;
    if let Some(burning) = burning {
        let tones = tone::choose(&frame, &object.data_set, &burning.attributes)?;
        burn(&mut frame, &burning.placed, &tones);
    }
    Ok(frame)
}

impl Read for Explicit<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.ready.read(buf)?;
            if got > 0 || buf.is_empty() {
                return Ok(got);
            }
            match &self.layout {
                Some(layout) if self.next < layout.frames => {
                    let frame = frame(&self.object, self.next, layout, self.burning.as_ref(), self.pool);
                    self.ready = io::Cursor::new(frame.map_err(io::Error::other)?.bytes);
                    self.next += 1;
                }
                _ if std::mem::take(&mut self.odd) => self.ready = io::Cursor::new(vec![0]),
                _ => return Ok(0),
            }
        }
    }
}
