//! Everything before the pixels of one object, parsed once at the door.
//!
//! Never guesses an identifier: an object without its four UIDs has no header.

use super::dataset::{self, DataSet, Limits, ParseError, Source};
use super::levels;
use super::uid::UidError;
use super::{Attributes, Syntax, Tag, Uid, VR, tags};

/// The kept attributes and the identifiers of an object.
#[derive(Debug, Clone)]
pub struct Header {
    /// SOP Class UID.
    pub sop_class: String,
    /// SOP Instance UID.
    pub sop_instance: Uid,
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// The attributes of [`levels`], decoded.
    pub attributes: Attributes,
    /// Where pixel data start, bytes from the start of the data set (of the inflated one, if deflated).
    pub pixels_at: Option<u64>,
}

/// Why an object has no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The data set does not parse.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// An identifier is not there.
    #[error("{0} {1} is missing or empty")]
    Missing(&'static str, Tag),
    /// An identifier is no UID.
    #[error("{0} {1}: {2}")]
    BadUid(&'static str, Tag, UidError),
}

/// Longest value kept while reading a header, bytes.
const VALUE_LIMIT: u64 = 1 << 20;

impl Header {
    /// Reads from the start of a data set up to its pixels.
    ///
    /// # Errors
    /// What is wrong, with the tag.
    pub fn read(source: &mut impl Source, syntax: Syntax, total: Option<u64>) -> Result<Header, HeaderError> {
        let limits = Limits { value: VALUE_LIMIT, stop_at_pixels: true, partial: false, total };
        let parsed = dataset::parse(source, syntax, limits)?;
        let mut header = Header::of(&parsed.data_set)?;
        header.pixels_at = parsed.pixels_at;
        Ok(header)
    }

    /// Reads from the beginning of a data set. None when the beginning is too short to hold the whole header.
    ///
    /// # Errors
    /// As [`Header::read`].
    pub fn read_beginning(source: &mut impl Source, syntax: Syntax) -> Result<Option<Header>, HeaderError> {
        let limits = Limits { value: VALUE_LIMIT, stop_at_pixels: true, partial: true, total: None };
        let parsed = dataset::parse(source, syntax, limits)?;
        if parsed.pixels_at.is_none() {
            return Ok(None);
        }
        let mut header = Header::of(&parsed.data_set)?;
        header.pixels_at = parsed.pixels_at;
        Ok(Some(header))
    }

    /// The header as far as the beginning of a very long data set goes.
    ///
    /// # Errors
    /// As [`Header::read`].
    pub fn read_what_is_there(source: &mut impl Source, syntax: Syntax) -> Result<Header, HeaderError> {
        let limits = Limits { value: VALUE_LIMIT, stop_at_pixels: true, partial: true, total: None };
        Header::of(&dataset::parse(source, syntax, limits)?.data_set)
    }

    /// The header of a data set that was read.
    ///
    /// # Errors
    /// A UID is missing or malformed.
    pub fn of(data_set: &DataSet) -> Result<Header, HeaderError> {
        let mut attributes = Attributes::decode(data_set, |tag| levels::level_of(tag).is_some());
        lift_functional_groups(data_set, &mut attributes);
        Ok(Header {
            sop_class: uid(data_set, "SOP Class UID", tags::SOP_CLASS_UID)?.to_string(),
            sop_instance: uid(data_set, "SOP Instance UID", tags::SOP_INSTANCE_UID)?,
            study: uid(data_set, "Study Instance UID", tags::STUDY_INSTANCE_UID)?,
            series: uid(data_set, "Series Instance UID", tags::SERIES_INSTANCE_UID)?,
            attributes,
            pixels_at: None,
        })
    }
}

fn uid(data_set: &DataSet, name: &'static str, tag: Tag) -> Result<Uid, HeaderError> {
    let text = data_set.text(tag).ok_or(HeaderError::Missing(name, tag))?;
    Uid::parse(&text).map_err(|e| HeaderError::BadUid(name, tag, e))
}

/// Enhanced objects say in their shared functional groups what classic ones say at the top (PS3.3 C.7.6.16).
fn lift_functional_groups(data_set: &DataSet, attributes: &mut Attributes) {
    let shared = data_set.items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first();
    let Some(shared) = shared else { return };
    for macro_sequence in &shared.elements {
        for item in shared.items(macro_sequence.tag) {
            attributes.fill_from(&Attributes::decode(item, |tag| levels::level_of(tag).is_some()));
        }
    }
    // Frame Type stands where Image Type would in a per-frame macro; the top-level Image Type stays as it is.
    if !attributes.has(tags::NUMBER_OF_FRAMES) {
        attributes.set(tags::NUMBER_OF_FRAMES, VR::IS, vec!["1".into()]);
    }
}
