//! A stored object, opened: its data set without bulk values, and where these lie.

use crate::dicom::dataset::{self, Limits, ParseError, Parsed, Seeking};
use crate::dicom::part10::FileMeta;
use crate::dicom::{Attributes, DataSet, Syntax, Value, levels, multiframe, tags};
use crate::index::InstanceRow;
use crate::store::{Key, Store};
use rustix::buffer::spare_capacity;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tempfile::SpooledData;

/// Why a stored object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The disk failed, or the file is gone.
    #[error("reading the stored object failed: {0}")]
    Io(#[from] io::Error),
    /// It is damaged.
    #[error("the stored object is damaged: {0}")]
    Parse(#[from] ParseError),
    /// Its pixels cannot be had.
    #[error("{0}")]
    Pixels(String),
}

/// A deflated object is not inflated beyond this, bytes.
const INFLATED: u64 = 2 << 30;

/// An inflated object over this goes to a file without a name, bytes.
const IN_MEMORY: usize = 16 << 20;

/// One object is inflated at a time, whoever asks: it takes as much of the processor as there is.
static INFLATING: Mutex<()> = Mutex::new(());

/// Room that is made before reading, bytes.
const MOST_AT_ONCE: u64 = 64 << 20;

/// Values up to this length are read with the header where it is to be described or shown, bytes: lookup tables, colour profiles and
/// overlays among them.
pub(super) const WITH_HEADER: u64 = 1 << 22;

/// See the module.
pub struct Object {
    pub(super) bytes: Bytes,
    /// How its data set is written.
    pub syntax: Syntax,
    /// Its transfer syntax.
    pub transfer_syntax: String,
    /// Its elements; values over the limit are deferred.
    pub data_set: DataSet,
    /// Its pixel data were cut off and left out.
    is_cut: bool,
    /// Bytes of it in a file without a name, into which it was inflated.
    pub(super) scratch: u64,
    /// Which fragments begin a frame, once it is known.
    pub(super) starts: OnceLock<Option<Vec<usize>>>,
}

/// Where the data set is: in a file from some byte on, or inflated in memory.
pub(super) enum Bytes {
    File(File, u64),
    Memory(Arc<[u8]>),
}

impl Object {
    /// Length of native pixel data, bytes; none for compressed ones, or where there are none.
    pub fn native_length(&self) -> Option<u64> {
        match &self.data_set.get(tags::PIXEL_DATA)?.value {
            Value::Bytes(bytes) => u64::try_from(bytes.len()).ok(),
            Value::Deferred(extent) => Some(extent.length),
            _ => None,
        }
    }

    /// Opens a stored instance. Values over `value_limit` bytes, pixel data always, are deferred.
    ///
    /// # Errors
    /// It is gone or damaged.
    pub fn open(store: &Store, row: &InstanceRow, value_limit: u64) -> Result<Object, ObjectError> {
        let (file, meta) = store.open_object(&key_of(row))?;
        Object::read_beside(file, &meta, value_limit, &store.scratch())
    }

    /// Reads a data set that is in memory, written without deflation.
    ///
    /// # Errors
    /// It is damaged.
    pub fn of_bytes(bytes: Vec<u8>, transfer_syntax: &str, value_limit: u64) -> Result<Object, ObjectError> {
        let syntax = Syntax::of(transfer_syntax);
        let limits = Limits { value: value_limit, stop_at_pixels: false, partial: false, total: Some(bytes.len() as u64) };
        let Parsed { data_set, .. } = dataset::parse(&mut Seeking(Cursor::new(&bytes)), syntax, limits)?;
        Ok(Object {
            bytes: Bytes::Memory(bytes.into()),
            syntax,
            transfer_syntax: transfer_syntax.into(),
            data_set,
            is_cut: false,
            scratch: 0,
            starts: OnceLock::new(),
        })
    }

    /// Reads an open file after its meta header.
    ///
    /// # Errors
    /// It is damaged.
    pub fn read(file: File, meta: &FileMeta, value_limit: u64) -> Result<Object, ObjectError> {
        Object::read_beside(file, meta, value_limit, &std::env::temp_dir())
    }

    /// The same; a long data set is inflated into a file without a name in the folder `scratch`.
    fn read_beside(mut file: File, meta: &FileMeta, value_limit: u64, scratch: &Path) -> Result<Object, ObjectError> {
        let syntax = Syntax::of(&meta.transfer_syntax);
        let length = file.metadata()?.len().saturating_sub(meta.data_set_at);
        file.seek(SeekFrom::Start(meta.data_set_at))?;
        let limits = |total| Limits { value: value_limit, stop_at_pixels: false, partial: false, total: Some(total) };
        let (mut is_cut, mut scratched) = (false, 0);
        let (bytes, Parsed { data_set, .. }) = if syntax.deflated {
            let (inflated, length) = inflate(&file, scratch)?;
            match inflated {
                SpooledData::InMemory(bytes) => {
                    let bytes = bytes.into_inner();
                    let parsed = dataset::parse(&mut Seeking(Cursor::new(&bytes)), syntax, limits(length))?;
                    (Bytes::Memory(bytes.into()), parsed)
                }
                SpooledData::OnDisk(mut file) => {
                    scratched = length;
                    file.seek(SeekFrom::Start(0))?;
                    let parsed = dataset::parse(&mut Seeking(SkippingReader(BufReader::new(&file))), syntax, limits(length))?;
                    (Bytes::File(file, 0), parsed)
                }
            }
        } else {
            let mut source = Seeking(SkippingReader(BufReader::with_capacity(1 << 14, &file)));
            let parsed = match dataset::parse(&mut source, syntax, limits(length)) {
                Ok(parsed) => parsed,
                // Pixel data that were cut off before they were sent: everything before them still counts.
                Err(ParseError::Overrun { tag, .. } | ParseError::Ended(tag)) if dataset::is_pixel_data(tag) => {
                    file.seek(SeekFrom::Start(meta.data_set_at))?;
                    is_cut = true;
                    let limits = Limits { stop_at_pixels: true, ..limits(length) };
                    dataset::parse(&mut Seeking(SkippingReader(BufReader::new(&file))), syntax, limits)?
                }
                Err(e) => return Err(e.into()),
            };
            (Bytes::File(file, meta.data_set_at), parsed)
        };
        let transfer_syntax = meta.transfer_syntax.clone();
        Ok(Object { bytes, syntax, transfer_syntax, data_set, is_cut, scratch: scratched, starts: OnceLock::new() })
    }

    /// Its pixel data end before they should: they are left out, everything before them is here.
    pub fn is_cut_off(&self) -> bool {
        self.is_cut
    }

    /// Bytes of it that are held in memory, its header apart.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        match &self.bytes {
            Bytes::File(..) => 0,
            Bytes::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// What holds for a frame, counted from 0: its functional groups where it has them, else the whole object's attributes.
    pub fn attributes_of(&self, number: u32) -> Attributes {
        let whole = Attributes::decode(&self.data_set, |tag| levels::level_of(tag).is_some());
        multiframe::frame(&self.data_set, &whole, number as usize).unwrap_or(whole)
    }

    /// Bytes of the data set from `offset`, at most `length`.
    ///
    /// # Errors
    /// The disk fails.
    pub fn range(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        match &self.bytes {
            Bytes::File(file, start) => {
                // Positioned reads: several requests may read the same open object at a time. A header may promise more than there is.
                let mut at = 0u64;
                while at < length {
                    let room = usize::try_from((length - at).min(MOST_AT_ONCE)).unwrap_or(0);
                    out.reserve_exact(room);
                    // Into room that is not cleared first. There may be more of it than what is asked for.
                    match rustix::io::pread(file, spare_capacity(&mut out), start + offset + at) {
                        Ok(0) => break,
                        Ok(got) => at += got as u64,
                        Err(rustix::io::Errno::INTR) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                if at > length {
                    out.truncate(usize::try_from(length).unwrap_or(usize::MAX));
                }
            }
            Bytes::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let to = from.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(bytes.len());
                out.extend_from_slice(bytes.get(from..to).unwrap_or_default());
            }
        }
        Ok(out)
    }

    /// A file that was opened for an instance, and where its data set as stored begins in it.
    ///
    /// # Errors
    /// The file is gone or damaged.
    pub fn stored_file(store: &Store, row: &InstanceRow) -> io::Result<(File, u64)> {
        let (file, meta) = store.open_object(&key_of(row))?;
        Ok((file, meta.data_set_at))
    }
}

pub(super) fn key_of(row: &InstanceRow) -> Key {
    Key { study: row.study.clone(), series: row.series.clone(), sop_instance: row.sop_instance.clone() }
}

/// The data set that a file holds deflated from where it stands on, and its length.
fn inflate(file: &File, scratch: &Path) -> io::Result<(SpooledData, u64)> {
    let _turn = INFLATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = tempfile::spooled_tempfile_in(IN_MEMORY, scratch);
    let length = io::copy(&mut flate2::read::DeflateDecoder::new(BufReader::new(file)).take(INFLATED), &mut out)?;
    Ok((out.into_inner(), length))
}

/// Seeks within the buffer where it can, so that many small elements cost few system calls.
struct SkippingReader<'a>(BufReader<&'a File>);

impl Read for SkippingReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Seek for SkippingReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Current(n) => self.0.seek_relative(n).map(|()| 0),
            other => self.0.seek(other),
        }
    }
}
