//! Identity and dates: G-07 to G-13 (患者基本信息和检查日期准确), one small file each.

mod g07_one_patient;
mod g08_mandatory;
mod g09_placeholder;
mod g10_garbled;
mod g11_age;
mod g12_dates;
mod g13_worklist;

use crate::dicom::Attributes;
use crate::exam::alike::Said;
use crate::exam::finding::Finding;
use crate::procedure::catalogue::Identity;
pub use g13_worklist::Ordered;

/// What is checked.
pub struct Input<'a> {
    /// Patient- and study-level attributes.
    pub study: &'a Attributes,
    /// What its objects say of what they should say alike.
    pub said: &'a Said,
    /// Series of images without a modality.
    pub without_modality: usize,
    /// Today, `YYYYMMDD`, where the node stands.
    pub today: &'a str,
    /// The hospital that sent it is known by the application entity that did.
    pub hospital_known: bool,
    /// Whom it was ordered for, where that is known.
    pub ordered: Option<Ordered>,
    /// Series Date, Acquisition Date and Content Date of the images, each once.
    pub dates: Vec<String>,
}

/// Runs the checks.
pub fn check(input: &Input<'_>, limits: &Identity) -> Vec<Finding> {
    let mut findings: Vec<Finding> = g07_one_patient::check(input);
    findings.extend(g08_mandatory::check(input));
    findings.extend(g09_placeholder::check(input.study, limits));
    findings.extend(g10_garbled::check(input.study));
    findings.extend(g12_dates::check(input, limits));
    findings.extend(g11_age::check(input.study));
    findings.extend(input.ordered.iter().flat_map(|ordered| g13_worklist::check(input.study, ordered)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{VR, tags};
    use crate::exam::finding::Level;

    fn checks(changes: &[(crate::dicom::Tag, &str)]) -> Vec<(String, Level)> {
        beside(changes, &[])
    }

    /// The findings of a study with an image beside those that say `changes`.
    fn beside(changes: &[(crate::dicom::Tag, &str)], other: &[(crate::dicom::Tag, &str)]) -> Vec<(String, Level)> {
        let mut a = Attributes::default();
        let good = [
            (tags::PATIENT_ID, "P1"),
            (tags::PATIENT_NAME, "Wang^XiaoDong=王^小东"),
            (tags::STUDY_DATE, "20260310"),
            (tags::PATIENT_SEX, "M"),
            (tags::ACCESSION_NUMBER, "A1"),
            (tags::PATIENT_BIRTH_DATE, "19800102"),
            (tags::PATIENT_AGE, "046Y"),
            (tags::INSTITUTION_NAME, "H"),
        ];
        for (tag, value) in good.iter().chain(changes) {
            a.set(*tag, VR::LO, vec![(*value).to_string()]);
        }
        let mut said = Said::default();
        a.set(tags::ROWS, VR::US, vec!["1".into()]);
        said.of_study(&a);
        let mut image = a.clone();
        other.iter().for_each(|(tag, value)| image.set(*tag, VR::LO, vec![(*value).to_string()]));
        said.of_study(&image);
        let limits = crate::procedure::load(crate::procedure::embedded::FILES).unwrap().quality.identity;
        let input = Input {
            study: &a,
            said: &said,
            without_modality: 0,
            today: "20260311",
            hospital_known: false,
            ordered: None,
            dates: vec!["20260311".into()],
        };
        check(&input, &limits).into_iter().map(|f| (f.check, f.level)).collect()
    }

    #[test]
    fn a_good_study_has_no_finding() {
        assert_eq!(checks(&[]), []);
    }

    #[test]
    fn each_fault_of_identity_and_date_is_found() {
        for (tag, value, check, level) in [
            (tags::PATIENT_ID, "", "G-08", Level::Reject),
            (tags::PATIENT_NAME, "^", "G-08", Level::Reject),
            (tags::PATIENT_NAME, "急诊0312", "G-09", Level::Review),
            (tags::PATIENT_NAME, "Wang\u{FFFD}", "G-10", Level::Warn),
            (tags::STUDY_DATE, "20260313", "G-12", Level::Reject),
            (tags::STUDY_DATE, "20261332", "G-12", Level::Reject),
            (tags::PATIENT_BIRTH_DATE, "20260311", "G-12", Level::Reject),
            (tags::PATIENT_AGE, "020Y", "G-11", Level::Warn),
            (tags::PATIENT_AGE, "048Y", "G-11", Level::Warn),
            (tags::PATIENT_AGE, "226Y", "G-11", Level::Warn),
            (tags::PATIENT_AGE, "46", "G-11", Level::Warn),
            (tags::PATIENT_NAME, "PATIENT^TEST", "G-09", Level::Review),
            (tags::PATIENT_NAME, "ANON^A", "G-09", Level::Review),
            (tags::PATIENT_NAME, "匿名", "G-09", Level::Review),
            (tags::PATIENT_NAME, "XXX", "G-09", Level::Review),
            (tags::PATIENT_NAME, "N^N", "G-09", Level::Review),
            (tags::PATIENT_NAME, "Íõ^Ð¡¶«", "G-10", Level::Warn),
            (tags::PATIENT_NAME, "ç\u{8e}\u{8b}å°\u{8f}ä¸\u{9c}", "G-10", Level::Warn),
            (tags::INSTITUTION_NAME, "", "G-08", Level::Warn),
            (tags::STUDY_DATE, "20260301", "G-12", Level::Warn),
        ] {
            assert!(checks(&[(tag, value)]).contains(&(check.to_string(), level)), "{tag} {value}");
        }
    }

    #[test]
    fn an_image_that_says_otherwise_is_found_and_so_is_one_that_says_nothing() {
        for (tag, value, check, level) in [
            (tags::PATIENT_ID, "P2", "G-07", Level::Reject),
            (tags::PATIENT_NAME, "Li^Si", "G-07", Level::Reject),
            (tags::PATIENT_BIRTH_DATE, "19800103", "G-07", Level::Reject),
            (tags::PATIENT_SEX, "F", "G-07", Level::Review),
            (tags::STUDY_DATE, "20260309", "G-07", Level::Review),
            (tags::ACCESSION_NUMBER, "A2", "G-07", Level::Warn),
            (tags::PATIENT_ID, "", "G-08", Level::Reject),
            (tags::PATIENT_NAME, "", "G-08", Level::Reject),
            (tags::STUDY_DATE, "", "G-08", Level::Reject),
            (tags::PATIENT_SEX, "", "G-08", Level::Warn),
        ] {
            assert_eq!(beside(&[], &[(tag, value)]), [(check.to_string(), level)], "{tag} {value:?}");
        }
    }

    #[test]
    fn an_age_is_read_in_its_unit() {
        // One year and eleven months old.
        let born = (tags::PATIENT_BIRTH_DATE, "20240401");
        for (age, agrees) in [
            ("001Y", true),
            ("002Y", true),
            ("004Y", false),
            ("023M", true),
            ("019M", false),
            ("705D", true),
            ("695D", false),
            ("100W", true),
            ("097W", false),
        ] {
            let told = checks(&[born, (tags::PATIENT_AGE, age)]).iter().any(|(check, _)| check == "G-11");
            assert_eq!(!told, agrees, "{age}");
        }
    }
}
