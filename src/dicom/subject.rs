//! Patient and study, as every object that is made for a study repeats them (PS3.3 C.7.1.1, C.7.2.1).

use super::{Attributes, DataSet, Tag, VR, tags};

const REPEATED: &[(Tag, VR)] = &[
    (tags::STUDY_DATE, VR::DA),
    (tags::STUDY_TIME, VR::TM),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
    (tags::STUDY_DESCRIPTION, VR::LO),
    (tags::PATIENT_NAME, VR::PN),
    (tags::PATIENT_ID, VR::LO),
    (tags::PATIENT_BIRTH_DATE, VR::DA),
    (tags::PATIENT_SEX, VR::CS),
    (tags::STUDY_ID, VR::SH),
];

/// Writes them; type 2 attributes are there, empty where they are not known. Texts are UTF-8.
pub fn repeat(ds: &mut DataSet, of: &Attributes) {
    for (tag, vr) in REPEATED {
        let value = of.text(*tag).unwrap_or("");
        // A code that is none must not make the new object invalid.
        let valid = *tag != tags::PATIENT_SEX || matches!(value, "M" | "F" | "O");
        ds.put_text(*tag, *vr, if valid { value } else { "" });
    }
}
