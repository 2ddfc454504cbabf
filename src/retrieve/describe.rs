//! The metadata of an instance as JSON, made once and kept as a note beside the objects: what a viewer needs to open a series is ready
//! when it asks.
//!
//! A note is never the truth: one that is missing, torn or of another version is made again from the file.

use super::object::{Object, ObjectError, WITH_HEADER};
use crate::dicom::dataset::Extent;
use crate::dicom::json::of_data_set;
use crate::dicom::{DataSet, Uid, VR, Value, tags};
use crate::index::InstanceRow;
use crate::store::Store;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::io::{self, Write};

/// Changes when descriptions change.
const VERSION: u8 = 2;
/// Longest description that is kept, bytes.
const KEPT: usize = 4 << 20;
/// What stands before an address in the JSON. No value can hold it: within one the quotation marks are escaped.
const BEFORE: &[u8] = b"\"BulkDataURI\":\"";

/// JSON of an instance, with gaps where its own address belongs.
#[derive(Debug, PartialEq, Eq)]
pub struct Description {
    pieces: Vec<Vec<u8>>,
}

impl Description {
    /// Describes a data set.
    pub fn of(data_set: &DataSet) -> Description {
        let json = of_data_set(data_set, &|path| format!("/bulkdata/{path}"));
        Description::split(&serde_json::to_vec(&json).unwrap_or_default())
    }

    fn split(mut json: &[u8]) -> Description {
        let mut pieces = Vec::new();
        while let Some(at) = json.windows(BEFORE.len()).position(|w| w == BEFORE) {
            let (piece, rest) = json.split_at(at + BEFORE.len());
            pieces.push(piece.to_vec());
            json = rest;
        }
        pieces.push(json.to_vec());
        Description { pieces }
    }

    /// Writes the JSON; `address` is the absolute URL of the instance.
    ///
    /// # Errors
    /// The writer fails.
    pub fn write(&self, address: &str, out: &mut impl Write) -> io::Result<()> {
        for (i, piece) in self.pieces.iter().enumerate() {
            if i > 0 {
                out.write_all(address.as_bytes())?;
            }
            out.write_all(piece)?;
        }
        Ok(())
    }

    /// As an object of the JSON model.
    ///
    /// # Errors
    /// It is not JSON: it was not made here.
    pub fn json(&self, address: &str) -> io::Result<Map<String, Json>> {
        let mut bytes = Vec::new();
        self.write(address, &mut bytes)?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    fn to_note(&self) -> Vec<u8> {
        let mut note = vec![VERSION];
        for piece in &self.pieces {
            note.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(u32::MAX).to_le_bytes());
            note.extend_from_slice(piece);
        }
        note
    }

    fn of_note(note: &[u8]) -> Option<Description> {
        let (version, mut rest) = note.split_first()?;
        let mut pieces = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (piece, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            pieces.push(piece.to_vec());
            rest = tail;
        }
        (*version == VERSION && rest.is_empty() && !pieces.is_empty()).then_some(Description { pieces })
    }
}

/// The name of a note: which instance, and which bytes of it.
fn name(row: &InstanceRow) -> String {
    format!("{} {}", row.sop_instance, row.sha256.get(..16).unwrap_or(""))
}

/// Descriptions of instances of one series, in their order. What was not noted is made, and noted.
///
/// # Errors
/// Of each: it is gone or damaged.
pub fn series(store: &Store, study: &Uid, series: &Uid, rows: &[InstanceRow]) -> Vec<Result<Description, ObjectError>> {
    // Without its notes a series is described all the same.
    let notes = store.notes(study, series).unwrap_or_default();
    let known: HashMap<&[u8], &[u8]> = notes.iter().collect();
    let mut new: Vec<(String, Vec<u8>)> = Vec::new();
    let described = rows.iter().map(|row| {
        let name = name(row);
        if let Some(description) = known.get(name.as_bytes()).and_then(|note| Description::of_note(note)) {
            return Ok(description);
        }
        let object = Object::open(store, row, WITH_HEADER)?;
        let description = if object.is_cut_off() {
            // What was sent is described, though it cannot be had whole.
            let mut data_set = object.data_set.clone();
            data_set.put(tags::PIXEL_DATA, VR::OW, Value::Deferred(Extent { offset: 0, length: 0 }));
            Description::of(&data_set)
        } else {
            Description::of(&object.data_set)
        };
        let note = description.to_note();
        if note.len() <= KEPT {
            new.push((name, note));
        }
        Ok(description)
    });
    let described = described.collect();
    let new: Vec<(&[u8], &[u8])> = new.iter().map(|(name, note)| (name.as_bytes(), note.as_slice())).collect();
    if !new.is_empty()
        && let Err(e) = store.add_notes(study, series, &new)
    {
        tracing::warn!(error = %e, "the metadata of a series cannot be noted; they are made anew at every request");
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_gives_the_description_back_with_another_address() {
        let mut data_set = DataSet::default();
        // What looks like an address in a text is none.
        data_set.put_text(tags::IMAGE_COMMENTS, VR::LT, "\"BulkDataURI\":\"x \\u0001\u{2}B");
        data_set.put(tags::ICON_IMAGE_SEQUENCE, VR::OB, Value::Bytes(vec![1; 5000]));
        let description = Description::of(&data_set);
        assert_eq!(Description::of_note(&description.to_note()).as_ref(), Some(&description));
        let json = Json::Object(description.json("http://x/instances/1").unwrap());
        assert_eq!(json["00880200"]["BulkDataURI"], "http://x/instances/1/bulkdata/00880200");
        assert_eq!(json["00204000"]["Value"][0], "\"BulkDataURI\":\"x \\u0001\u{2}B");
        assert_eq!(Description::of_note(&[VERSION, 9, 0, 0, 0, 1]), None);
        assert_eq!(Description::of_note(&[0]), None);
    }
}
