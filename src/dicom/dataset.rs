//! A data set as elements with their verbatim bytes (PS3.5 section 7), read with every length checked against what is left.
//!
//! Never trusts a declared length: nothing is allocated before the bytes are there, nesting ends at 64 levels, values over a
//! limit (pixel data above all) are passed over and remembered by position. Numbers are little endian once read.

mod elements;

pub use elements::{header, write_header};

use super::syntax::Syntax;
use super::{Tag, VR, tags};
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_dictionary_std::StandardDataDictionary;
use std::io::{self, Read, Seek, SeekFrom};

const MAX_DEPTH: usize = 64;
const MAX_ELEMENTS: usize = 2_000_000;
const UNDEFINED: u32 = 0xFFFF_FFFF;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// Where a value lies that was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes from the start of the data set.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// The value of an element.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The bytes, little endian, padding included.
    Bytes(Vec<u8>),
    /// A value longer than the limit, still in the source.
    Deferred(Extent),
    /// The items of a sequence.
    Items(Vec<DataSet>),
    /// The items of encapsulated pixel data; the first is the basic offset table (PS3.5 A.4).
    Fragments(Vec<Extent>),
}

/// One element.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// Its tag.
    pub tag: Tag,
    /// Its value representation; from the dictionary where the transfer syntax does not write it.
    pub vr: VR,
    /// Its value.
    pub value: Value,
}

/// The elements of a data set or item, in the order they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataSet {
    /// The elements.
    pub elements: Vec<Element>,
}

/// What is wrong with a data set.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// A value reaches past the end.
    #[error("{tag} declares {declared} bytes, only {left} are left: the data set is cut off or damaged there")]
    Overrun {
        /// The element.
        tag: Tag,
        /// Its declared length.
        declared: u64,
        /// What the source still has.
        left: u64,
    },
    /// The source ended inside an element.
    #[error("the data set ends inside the element after {0}")]
    Ended(Tag),
    /// Sequences nested too deep.
    #[error("{0}: sequences are nested more than {MAX_DEPTH} deep")]
    TooDeep(Tag),
    /// Absurdly many elements.
    #[error("more than {MAX_ELEMENTS} elements")]
    TooMany,
    /// Something other than an item where an item must be.
    #[error("{parent}: {found} stands where an item must stand")]
    NotAnItem {
        /// The sequence.
        parent: Tag,
        /// What was found.
        found: Tag,
    },
    /// Two letters that are no value representation.
    #[error("{0}: its value representation is not one of PS3.5 table 6.2-1")]
    BadVr(Tag),
    /// The source failed.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
}

/// Something to read elements from, that can pass over bytes.
pub trait Source: Read {
    /// Passes over `n` bytes.
    ///
    /// # Errors
    /// The source has fewer, or fails.
    fn skip(&mut self, n: u64) -> io::Result<()>;
}

/// A seekable source: passing over costs nothing.
pub struct Seeking<R>(pub R);

impl<R: Read> Read for Seeking<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl<R: Read + Seek> Source for Seeking<R> {
    fn skip(&mut self, n: u64) -> io::Result<()> {
        let n = i64::try_from(n).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        self.0.seek(SeekFrom::Current(n)).map(|_| ())
    }
}

/// A source that can only be read on, such as a deflated data set; `0` bytes may be read after the budget is used up.
pub struct Streaming<R>(io::Take<R>);

impl<R: Read> Streaming<R> {
    /// Reads from `inner`, at most `budget` bytes (a deflated bomb ends there).
    pub fn new(inner: R, budget: u64) -> Streaming<R> {
        Streaming(inner.take(budget))
    }
}

impl<R: Read> Read for Streaming<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl<R: Read> Source for Streaming<R> {
    fn skip(&mut self, n: u64) -> io::Result<()> {
        match io::copy(&mut self.0.by_ref().take(n), &mut io::sink())? {
            copied if copied == n => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// How much to read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Values longer than this are deferred.
    pub value: u64,
    /// Stop before top-level pixel data.
    pub stop_at_pixels: bool,
    /// The source may be a mere beginning: what was complete when it ended is returned instead of an error.
    pub partial: bool,
    /// Bytes the whole data set has, if known: a value must end before it.
    pub total: Option<u64>,
}

/// What was read.
pub struct Parsed {
    /// The elements.
    pub data_set: DataSet,
    /// Where top-level pixel data start (their tag), if reading stopped there.
    pub pixels_at: Option<u64>,
    /// False when a partial source ended inside an element.
    pub whole: bool,
}

/// Reads a data set from its start.
///
/// # Errors
/// What is wrong and at which tag.
pub fn parse(source: &mut impl Source, syntax: Syntax, limits: Limits) -> Result<Parsed, ParseError> {
    let mut parser = Parser { source, syntax, limits, at: 0, count: 0, last: Tag(0, 0), pixels_at: None };
    let mut data_set = DataSet::default();
    match parser.elements(&mut data_set, None, 0, syntax.explicit) {
        Ok(()) => {
            elements::sign(&mut data_set, syntax.explicit);
            Ok(Parsed { data_set, pixels_at: parser.pixels_at, whole: true })
        }
        Err(ParseError::Ended(_)) if limits.partial => Ok(Parsed { data_set, pixels_at: None, whole: false }),
        Err(e) => Err(e),
    }
}

/// Whether a tag holds the pixels of an image (PS3.3 C.7.6.3, C.7.6.24).
pub fn is_pixel_data(tag: Tag) -> bool {
    matches!(tag, tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA)
}

struct Parser<'a, S: Source> {
    source: &'a mut S,
    syntax: Syntax,
    limits: Limits,
    at: u64,
    count: usize,
    last: Tag,
    pixels_at: Option<u64>,
}

impl<S: Source> Parser<'_, S> {
    /// Elements up to `end` (a position), or to an item delimiter if `end` is none and `depth > 0`, or to the end of the source.
    fn elements(&mut self, into: &mut DataSet, end: Option<u64>, depth: usize, explicit: bool) -> Result<(), ParseError> {
        loop {
            if end.is_some_and(|end| self.at >= end) {
                return Ok(());
            }
            let start = self.at;
            let Some(tag) = self.tag_or_end(depth == 0 && end.is_none())? else { return Ok(()) };
            if tag == ITEM_END && depth > 0 {
                self.u32()?;
                return Ok(());
            }
            if depth == 0 && is_pixel_data(tag) && self.limits.stop_at_pixels {
                self.pixels_at = Some(start);
                return Ok(());
            }
            self.count += 1;
            if self.count > MAX_ELEMENTS {
                return Err(ParseError::TooMany);
            }
            self.last = tag;
            let (vr, length) = self.vr_and_length(tag, explicit)?;
            let value = self.value(tag, vr, length, depth, explicit)?;
            let vr = if matches!(value, Value::Items(_)) { VR::SQ } else { vr };
            into.elements.push(Element { tag, vr, value });
        }
    }

    fn value(&mut self, tag: Tag, vr: VR, length: u32, depth: usize, explicit: bool) -> Result<Value, ParseError> {
        if length == UNDEFINED {
            if is_pixel_data(tag) || (vr != VR::SQ && vr != VR::UN && self.syntax.encapsulated) {
                return self.fragments(tag);
            }
            // PS3.5 6.2.2 note: UN of undefined length holds implicit VR little endian items.
            return self.items(tag, None, depth, explicit && vr != VR::UN);
        }
        let length = u64::from(length);
        self.check(tag, length)?;
        if vr == VR::SQ {
            return self.items(tag, Some(self.at + length), depth, explicit);
        }
        if length > self.limits.value || is_pixel_data(tag) {
            let extent = Extent { offset: self.at, length };
            self.pass(length)?;
            return Ok(Value::Deferred(extent));
        }
        let mut bytes = self.bytes(length)?;
        if self.syntax.big_endian {
            swap(&mut bytes, unit(vr));
        } else if vr == VR::UN
            && let Some(items) = items_of_unknown(tag, &bytes)
        {
            return Ok(Value::Items(items));
        }
        Ok(Value::Bytes(bytes))
    }

    fn items(&mut self, parent: Tag, end: Option<u64>, depth: usize, explicit: bool) -> Result<Value, ParseError> {
        if depth >= MAX_DEPTH {
            return Err(ParseError::TooDeep(parent));
        }
        let mut items = Vec::new();
        while end.is_none_or(|end| self.at < end) {
            let found = self.tag()?;
            let length = self.u32()?;
            match found {
                SEQUENCE_END if end.is_none() => break,
                ITEM => {
                    let item_end = (length != UNDEFINED).then(|| self.at + u64::from(length));
                    if item_end.is_some() {
                        self.check(parent, u64::from(length))?;
                    }
                    let mut item = DataSet::default();
                    self.elements(&mut item, item_end, depth + 1, explicit)?;
                    items.push(item);
                }
                // Some writers end a sequence of defined length with a delimiter as well.
                SEQUENCE_END | ITEM_END => {}
                found => return Err(ParseError::NotAnItem { parent, found }),
            }
            self.count += 1;
            if self.count > MAX_ELEMENTS {
                return Err(ParseError::TooMany);
            }
        }
        Ok(Value::Items(items))
    }

    fn fragments(&mut self, parent: Tag) -> Result<Value, ParseError> {
        let mut fragments = Vec::new();
        loop {
            let found = self.tag()?;
            let length = u64::from(self.u32()?);
            match found {
                SEQUENCE_END => return Ok(Value::Fragments(fragments)),
                ITEM => {
                    self.check(parent, length)?;
                    fragments.push(Extent { offset: self.at, length });
                    self.pass(length)?;
                }
                found => return Err(ParseError::NotAnItem { parent, found }),
            }
            if fragments.len() > MAX_ELEMENTS {
                return Err(ParseError::TooMany);
            }
        }
    }

    fn vr_and_length(&mut self, tag: Tag, explicit: bool) -> Result<(VR, u32), ParseError> {
        // Delimiters and items have no value representation, whatever the syntax.
        if !explicit || tag.0 == 0xFFFE {
            return Ok((dictionary_vr(tag), self.u32()?));
        }
        let letters: [u8; 2] = self.array()?;
        let Some(vr) = VR::from_binary(letters) else {
            return Err(ParseError::BadVr(tag));
        };
        if has_long_length(vr) {
            self.array::<2>()?;
            let length = self.u32()?;
            return Ok((if vr == VR::UN && !self.syntax.big_endian { known_instead_of(tag, length) } else { vr }, length));
        }
        Ok((vr, u32::from(self.u16()?)))
    }

    fn check(&self, tag: Tag, declared: u64) -> Result<(), ParseError> {
        let Some(total) = self.limits.total else {
            return Ok(());
        };
        let left = total.saturating_sub(self.at);
        if declared > left { Err(ParseError::Overrun { tag, declared, left }) } else { Ok(()) }
    }

    fn tag_or_end(&mut self, may_end: bool) -> Result<Option<Tag>, ParseError> {
        let mut first = [0u8; 1];
        if may_end && self.source.read(&mut first)? == 0 {
            return Ok(None);
        }
        let mut rest = [0u8; 4];
        let bytes = if may_end {
            self.at += 1;
            let tail: [u8; 3] = self.array()?;
            rest[0] = first[0];
            rest[1..].copy_from_slice(&tail);
            rest
        } else {
            self.array()?
        };
        let (group, element) = (self.short([bytes[0], bytes[1]]), self.short([bytes[2], bytes[3]]));
        Ok(Some(Tag(group, element)))
    }

    fn tag(&mut self) -> Result<Tag, ParseError> {
        let bytes: [u8; 4] = self.array()?;
        Ok(Tag(self.short([bytes[0], bytes[1]]), self.short([bytes[2], bytes[3]])))
    }

    fn short(&self, bytes: [u8; 2]) -> u16 {
        if self.syntax.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u16(&mut self) -> Result<u16, ParseError> {
        let bytes = self.array()?;
        Ok(self.short(bytes))
    }

    fn u32(&mut self) -> Result<u32, ParseError> {
        let bytes = self.array()?;
        Ok(if self.syntax.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let mut bytes = [0u8; N];
        self.source.read_exact(&mut bytes).map_err(|e| self.ended(e))?;
        self.at += N as u64;
        Ok(bytes)
    }

    /// Reads `length` bytes; memory grows with what really comes.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, ParseError> {
        let mut bytes = Vec::with_capacity(usize::try_from(length.min(65_536)).unwrap_or(0));
        self.source.by_ref().take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(ParseError::Ended(self.last));
        }
        self.at += length;
        Ok(bytes)
    }

    fn pass(&mut self, length: u64) -> Result<(), ParseError> {
        self.source.skip(length).map_err(|e| self.ended(e))?;
        self.at += length;
        Ok(())
    }

    fn ended(&self, error: io::Error) -> ParseError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ParseError::Ended(self.last),
            _ => ParseError::Io(error),
        }
    }
}

/// Bytes of one number of this representation; 1 where order does not matter.
pub fn unit(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW | VR::AT => 2,
        VR::UL | VR::SL | VR::FL | VR::OF | VR::OL => 4,
        VR::FD | VR::OD | VR::UV | VR::SV | VR::OV => 8,
        _ => 1,
    }
}

/// Reverses every number of `unit` bytes.
pub fn swap(bytes: &mut [u8], unit: usize) {
    if unit > 1 {
        bytes.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    }
}

/// Whether the length is written in four bytes (PS3.5 7.1.2).
fn has_long_length(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::SQ | VR::SV | VR::UC | VR::UN | VR::UR | VR::UT | VR::UV
    )
}

/// Somebody who did not know a standard attribute wrote it as UN: it is little endian, and what it is is known here (PS3.5 6.2.2).
fn known_instead_of(tag: Tag, length: u32) -> VR {
    match dictionary_vr(tag) {
        VR::SQ => VR::UN,
        vr if length <= 0xFFFE && tag.0.is_multiple_of(2) && !elements::LIKE_PIXELS.contains(&tag) => vr,
        _ => VR::UN,
    }
}

/// A sequence that was written as UN of defined length: its items are implicit VR little endian (PS3.5 6.2.2). None when they are not.
fn items_of_unknown(tag: Tag, bytes: &[u8]) -> Option<Vec<DataSet>> {
    if dictionary_vr(tag) != VR::SQ || bytes.is_empty() {
        return None;
    }
    let total = bytes.len() as u64;
    let limits = Limits { value: u64::MAX, stop_at_pixels: false, partial: false, total: Some(total) };
    let mut source = Seeking(io::Cursor::new(bytes));
    let mut parser =
        Parser { source: &mut source, syntax: Syntax::IMPLICIT, limits, at: 0, count: 0, last: tag, pixels_at: None };
    match parser.items(tag, Some(total), 1, false) {
        Ok(Value::Items(items)) => Some(items),
        _ => None,
    }
}

/// The representation the dictionary gives; ambiguous ones as PS3.5 A.1 and 6.2 say; unknown and private ones UN.
pub fn dictionary_vr(tag: Tag) -> VR {
    if tag.1 == 0 {
        return VR::UL;
    }
    if tag.0 % 2 == 1 {
        return if (0x10..=0xFF).contains(&tag.1) { VR::LO } else { VR::UN };
    }
    match StandardDataDictionary.by_tag(tag).map(|entry| entry.vr()) {
        Some(VirtualVr::Exact(vr)) => vr,
        Some(VirtualVr::Xs) => VR::US,
        Some(VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt) => VR::OW,
        Some(_) | None => VR::UN,
    }
}

#[cfg(test)]
mod tests;
