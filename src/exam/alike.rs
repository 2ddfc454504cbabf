//! What the objects of a study or a series must say alike, for it is known by what one of them says. Keeps what all of them say, so that
//! the order of arrival never decides what is found; keeps a few values of each attribute, never a list that grows with the objects.

use crate::dicom::{Attributes, Tag, tags};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Values kept of one attribute: enough to show a difference.
const KEPT: usize = 4;

/// The attributes of a study that its objects must agree on, with their keywords.
const STUDY: &[(Tag, &str)] = &[
    (tags::PATIENT_ID, "PatientID"),
    (tags::PATIENT_NAME, "PatientName"),
    (tags::PATIENT_BIRTH_DATE, "PatientBirthDate"),
    (tags::PATIENT_SEX, "PatientSex"),
    (tags::STUDY_DATE, "StudyDate"),
    (tags::ACCESSION_NUMBER, "AccessionNumber"),
];

/// The attributes of a series that its objects must agree on, with their keywords.
const SERIES: &[(Tag, &str)] = &[
    (tags::MODALITY, "Modality"),
    (tags::LATERALITY, "Laterality"),
    (tags::BODY_PART_EXAMINED, "BodyPartExamined"),
    (tags::SERIES_DESCRIPTION, "SeriesDescription"),
    (tags::PROTOCOL_NAME, "ProtocolName"),
    (tags::PATIENT_POSITION, "PatientPosition"),
    (tags::MANUFACTURER, "Manufacturer"),
    (tags::DEVICE_SERIAL_NUMBER, "DeviceSerialNumber"),
    (tags::SCANNING_SEQUENCE, "ScanningSequence"),
];

/// Numbers of which the least and the greatest are kept: the objects of a series may differ in them, but not by much.
const TIME: (Tag, &str) = (tags::REPETITION_TIME, "RepetitionTime");
const DATE: (Tag, &str) = (tags::SERIES_DATE, "SeriesDate");

/// What objects said, by keyword. The empty text stands for an image that says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said(BTreeMap<String, BTreeSet<String>>);

impl Said {
    /// Notes what an object of a study says.
    pub fn of_study(&mut self, object: &Attributes) {
        self.note(STUDY, object);
    }

    /// Notes what an object of a series says.
    pub fn of_series(&mut self, object: &Attributes) {
        self.note(SERIES, object);
        for (tag, keyword) in [TIME, DATE] {
            let number = object
                .text(tag)
                .and_then(|text| text.replace('.', if tag == DATE.0 { "" } else { "." }).trim().parse::<f64>().ok());
            if let Some(number) = number.filter(|n| *n > 0.0) {
                let kept =
                    self.extremes(keyword).map_or((number, number), |(least, most)| (least.min(number), most.max(number)));
                self.0.insert(keyword.into(), [kept.0, kept.1].map(|n| n.to_string()).into());
            }
        }
    }

    /// The least and the greatest repetition time of the images of a series, ms.
    pub fn repetition_ms(&self) -> Option<(f64, f64)> {
        self.extremes(TIME.1)
    }

    /// The first and the last series date of the images of a series, `YYYYMMDD`.
    pub fn series_dates(&self) -> Vec<String> {
        let ends = self.extremes(DATE.1).map(|(first, last)| [first, last]);
        ends.into_iter().flatten().map(|day| format!("{day:08.0}")).collect()
    }

    fn extremes(&self, keyword: &str) -> Option<(f64, f64)> {
        let numbers = || self.0.get(keyword).into_iter().flatten().filter_map(|text| text.parse::<f64>().ok());
        Some((numbers().reduce(f64::min)?, numbers().reduce(f64::max)?))
    }

    fn note(&mut self, alike: &[(Tag, &str)], object: &Attributes) {
        let is_image = object.has(tags::ROWS);
        for (tag, keyword) in alike {
            let text = object.text(*tag).unwrap_or("");
            let text = if *tag == tags::PATIENT_NAME { name(text) } else { text.trim().to_lowercase() };
            // A report without an identifier is not what gets marked.
            if text.is_empty() && !is_image {
                continue;
            }
            let values = self.0.entry((*keyword).to_string()).or_default();
            if values.len() < KEPT || text.is_empty() {
                values.insert(text);
            }
        }
    }

    fn stated(&self, keyword: &str) -> Vec<&str> {
        self.0.get(keyword).into_iter().flatten().map(String::as_str).filter(|v| !v.is_empty()).collect()
    }

    /// Whether two objects state different values. Names differ when a group that both have does: the phonetic one may be missing.
    pub fn differs(&self, keyword: &str) -> bool {
        let values = self.stated(keyword);
        if keyword != "PatientName" {
            return values.len() > 1;
        }
        let group = |name: &str, n: usize| name.split('=').nth(n).unwrap_or("").to_string();
        (0..3).any(|n| values.iter().map(|v| group(v, n)).filter(|g| !g.is_empty()).collect::<BTreeSet<_>>().len() > 1)
    }

    /// Whether some images say nothing where others state a value.
    pub fn is_missing_in_part(&self, keyword: &str) -> bool {
        self.0.get(keyword).is_some_and(|values| values.contains("")) && !self.stated(keyword).is_empty()
    }

    /// The attributes that a series' objects differ in, and rules go by. A side that only some state is a difference too.
    pub fn mixed(&self) -> Vec<&'static str> {
        let mixed = |keyword: &str| self.differs(keyword) || (keyword == "Laterality" && self.is_missing_in_part(keyword));
        SERIES.iter().map(|(_, keyword)| *keyword).filter(|keyword| mixed(keyword)).collect()
    }
}

/// A person name without case and without empty components and groups at the ends.
fn name(text: &str) -> String {
    let groups: Vec<String> = text.split('=').map(|g| g.trim().trim_end_matches(['^', ' ']).to_lowercase()).collect();
    groups.join("=").trim_end_matches('=').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;

    fn said(tag: Tag, values: &[&str]) -> Said {
        let mut said = Said::default();
        for value in values {
            let mut object = Attributes::default();
            object.set(tags::ROWS, VR::US, vec!["1".into()]);
            object.set(tag, VR::LO, vec![(*value).to_string()]);
            said.of_study(&object);
        }
        said
    }

    #[test]
    fn the_order_of_arrival_does_not_decide() {
        for order in [["", "A", "B"], ["A", "", "B"], ["B", "A", ""]] {
            let said = said(tags::PATIENT_ID, &order);
            assert!(said.differs("PatientID") && said.is_missing_in_part("PatientID"), "{order:?}");
        }
        let one = said(tags::PATIENT_ID, &["A", "a ", "A"]);
        assert!(!one.differs("PatientID") && !one.is_missing_in_part("PatientID"));
        let none = said(tags::PATIENT_ID, &["", ""]);
        assert!(!none.differs("PatientID") && !none.is_missing_in_part("PatientID"));
    }

    #[test]
    fn names_differ_by_group() {
        for (names, differ) in [
            (["Wang^XiaoDong", "WANG^XIAODONG^"], false),
            (["Wang^XiaoDong", "Wang^XiaoDong=王^小东"], false),
            (["Wang^XiaoDong=王^小东", "Wang^XiaoDong=王^晓东"], true),
            (["Wang^XiaoDong", "Li^Si"], true),
            (["=王^小东", "Wang^XiaoDong=王^小东"], false),
        ] {
            assert_eq!(said(tags::PATIENT_NAME, &names).differs("PatientName"), differ, "{names:?}");
        }
    }

    #[test]
    fn many_values_are_kept_in_little_room() {
        let many: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let mut values: Vec<&str> = many.iter().map(String::as_str).collect();
        values.push("");
        let said = said(tags::ACCESSION_NUMBER, &values);
        assert!(said.0["AccessionNumber"].len() <= KEPT + 1);
        assert!(said.is_missing_in_part("AccessionNumber"));
    }
}
