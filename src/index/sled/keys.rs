//! The keys of the embedded index: one key space per first byte; parts are separated by NUL, which no UID or folded text holds.

use super::super::rows::{JobKind, StudyRow};
use super::IndexError;
use crate::dicom::{Tag, Uid, names, tags};
use serde::{Serialize, de::DeserializeOwned};

pub(super) const META: u8 = b'm';
pub(super) const STUDY: u8 = b's';
pub(super) const SERIES: u8 = b'r';
pub(super) const INSTANCE: u8 = b'i';
pub(super) const BY_SOP: u8 = b'o';
pub(super) const FIND: u8 = b'f';
pub(super) const VERDICT: u8 = b'v';
pub(super) const JOB: u8 = b'j';

/// Study attributes that can be looked up without a scan.
pub(super) const FINDABLE: &[Tag] = &[tags::PATIENT_ID, tags::ACCESSION_NUMBER, tags::PATIENT_NAME, tags::STUDY_DATE];

/// Stands for the words of a patient's name that fuzzy matching looks for; no attribute has this tag.
pub(super) const FUZZY: Tag = Tag(0x0010, 0xFFFF);

pub(super) fn find_keys(study: &StudyRow) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    for tag in FINDABLE {
        let value = study.attributes.text(*tag).unwrap_or("");
        let groups: Vec<&str> = if *tag == tags::PATIENT_NAME { value.split('=').collect() } else { vec![value] };
        for group in groups.into_iter().filter(|g| *tag == tags::STUDY_DATE || !g.is_empty()) {
            // Dates of old objects have dots in them.
            let group = if *tag == tags::STUDY_DATE { fold(group).replace('.', "") } else { fold(group) };
            let mut key = find_prefix(*tag, &group);
            key.push(0);
            // Within a day, later studies come later.
            if *tag == tags::STUDY_DATE {
                key.extend_from_slice(study.attributes.text(tags::STUDY_TIME).unwrap_or("").as_bytes());
                key.push(0);
            }
            key.extend_from_slice(study.study.as_str().as_bytes());
            keys.push(key);
        }
    }
    for word in names::words(study.attributes.text(tags::PATIENT_NAME).unwrap_or("")) {
        let mut key = find_prefix(FUZZY, &fold(&word));
        key.push(0);
        key.extend_from_slice(study.study.as_str().as_bytes());
        keys.push(key);
    }
    keys
}

pub(super) fn find_prefix(tag: Tag, value: &str) -> Vec<u8> {
    let mut key = vec![FIND];
    key.extend_from_slice(&tag.0.to_be_bytes());
    key.extend_from_slice(&tag.1.to_be_bytes());
    key.extend_from_slice(value.as_bytes());
    key
}

pub(super) fn study_of_find_key(key: &[u8]) -> Result<Uid, IndexError> {
    let tail = key.rsplit(|b| *b == 0).next().unwrap_or_default();
    Uid::parse(&String::from_utf8_lossy(tail)).map_err(|e| IndexError::Damaged(e.to_string()))
}

/// The folded text in a key that finds a study.
pub(super) fn value_of_find_key(key: &[u8]) -> std::borrow::Cow<'_, str> {
    let value = key.get(5..).unwrap_or_default();
    String::from_utf8_lossy(value.split(|b| *b == 0).next().unwrap_or_default())
}

pub(super) fn fold(text: &str) -> String {
    text.trim().trim_end_matches('^').to_lowercase().replace('\0', "")
}

/// What orders studies: date, time, UID.
pub(super) fn date_key(study: &StudyRow) -> (String, String, String) {
    let text = |tag| study.attributes.text(tag).unwrap_or("").to_string();
    (text(tags::STUDY_DATE).replace('.', ""), text(tags::STUDY_TIME), study.study.to_string())
}

pub(super) fn joined(space: u8, parts: &[&str]) -> Vec<u8> {
    let mut key = vec![space];
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            key.push(0);
        }
        key.extend_from_slice(part.as_bytes());
    }
    key
}

pub(super) fn job_key(kind: JobKind, study: &Uid) -> Vec<u8> {
    joined(JOB, &[if kind == JobKind::Assess { "a" } else { "r" }, study.as_str()])
}

pub(super) fn pack<T: Serialize>(row: &T) -> Result<Vec<u8>, IndexError> {
    postcard::to_stdvec(row).map_err(|e| IndexError::Backend(e.to_string()))
}

pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, IndexError> {
    postcard::from_bytes(bytes).map_err(|e| IndexError::Damaged(e.to_string()))
}
