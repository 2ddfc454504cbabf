//! The marked copy of an instance as a stream: attributes first, then frame by frame, so that memory holds one frame.

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

/// Why there is no marked copy.
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
    /// A video, or over 4 GiB of samples.
    #[error("{0}")]
    Unsuitable(String),
}

/// A marked copy that is being read.
pub struct Marked<'a> {
    object: Object,
    layout: Layout,
    attributes: Attributes,
    placed: Placed,
    pool: &'a Pool,
    ready: io::Cursor<Vec<u8>>,
    next: u32,
    odd: bool,
}

/// Starts the marked copy of an instance; its first frame is decoded at once, so that what cannot be decoded fails here.
///
/// # Errors
/// Why there is none.
pub fn marked_copy<'a>(store: &Store, row: &InstanceRow, mark: &Mark, pool: &'a Pool) -> Result<Marked<'a>, NoCopy> {
    if syntax::is_video(&row.transfer_syntax) {
        return Err(NoCopy::Unsuitable("video is not marked".into()));
    }
    let mut object = Object::open(store, row, VALUE_LIMIT)?;
    if derive::is_marked(&object.data_set) {
        return Err(NoCopy::Unsuitable("it carries a recognition mark already".into()));
    }
    let layout = object.layout()?;
    let attributes = Attributes::decode(&object.data_set, |tag| levels::level_of(tag).is_some());
    let placed = place(mark, layout.rows, layout.columns)?;
    let first = marked_frame(&object, 0, &layout, &attributes, &placed, pool)?;
    let source = Source {
        sop_class: &row.sop_class,
        sop_instance: &row.sop_instance,
        series: &row.series,
        sha256: &row.sha256,
        lossy: derive::is_lossy(&row.transfer_syntax, &object.data_set),
    };
    let mut data_set = object.data_set.clone();
    derive::derive(&mut data_set, &source, mark, &first, layout.frames);
    let total = first.bytes.len() as u64 * u64::from(layout.frames);
    if total >= u64::from(u32::MAX) - 1 {
        return Err(NoCopy::Unsuitable("its samples take over 4 GiB, which no native pixel data can hold".into()));
    }
    let ready = head(&data_set, &first, total);
    Ok(Marked { object, layout, attributes, placed, pool, ready: io::Cursor::new(ready), next: 1, odd: total % 2 == 1 })
}

fn head(data_set: &DataSet, first: &Frame, total: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    data_set.write_explicit(&mut bytes);
    let vr = if first.layout.bits_allocated > 8 { VR::OW } else { VR::OB };
    write_header(&mut bytes, tags::PIXEL_DATA, vr, usize::try_from(total).unwrap_or(usize::MAX));
    bytes.extend_from_slice(&first.bytes);
    bytes
}

fn marked_frame(
    object: &Object,
    number: u32,
    layout: &Layout,
    attributes: &Attributes,
    placed: &Placed,
    pool: &Pool,
) -> Result<Frame, NoCopy> {
    let mut frame = object.frame(number, layout, pool)?;
    let tones = tone::choose(&frame, &object.data_set, attributes)?;
    burn(&mut frame, placed, &tones);
    Ok(frame)
}

impl Read for Marked<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.ready.read(buf)?;
            if got > 0 || buf.is_empty() {
                return Ok(got);
            }
            if self.next < self.layout.frames {
                let frame = marked_frame(&self.object, self.next, &self.layout, &self.attributes, &self.placed, self.pool);
                self.ready = io::Cursor::new(frame.map_err(io::Error::other)?.bytes);
                self.next += 1;
            } else if std::mem::take(&mut self.odd) {
                self.ready = io::Cursor::new(vec![0]);
            } else {
                return Ok(0);
            }
        }
    }
}
