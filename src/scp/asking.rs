//! At which level queries and retrievals ask (PS3.4 C.2.2).

use crate::dicom::{Attributes, tags};

/// The level of a query (0008,0052).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Patients.
    Patient,
    /// Studies.
    Study,
    /// Series.
    Series,
    /// Composite instances.
    Image,
}

impl Level {
    /// As it is written.
    pub fn term(self) -> &'static str {
        match self {
            Level::Patient => "PATIENT",
            Level::Study => "STUDY",
            Level::Series => "SERIES",
            Level::Image => "IMAGE",
        }
    }
}

/// The level that an identifier asks at.
///
/// # Errors
/// None, or one that the information model has not.
pub fn level(identifier: &Attributes, patient_root: bool) -> Result<Level, String> {
    if identifier.texts(tags::QUERY_RETRIEVE_LEVEL).len() > 1 {
        return Err("Query/Retrieve Level (0008,0052) has more than one value".into());
    }
    match identifier.text(tags::QUERY_RETRIEVE_LEVEL).map(str::trim) {
        Some("PATIENT") if patient_root => Ok(Level::Patient),
        Some("STUDY") => Ok(Level::Study),
        Some("SERIES") => Ok(Level::Series),
        Some("IMAGE") => Ok(Level::Image),
        Some(_) => Err("Query/Retrieve Level is none of this information model".into()),
        None => Err("Query/Retrieve Level (0008,0052) is missing".into()),
    }
}
