//! G-11: the stated age agrees with birth date and study date.

use crate::dicom::{Attributes, tags};
use crate::exam::facts::{age_months, age_of_string};
use crate::exam::finding::{Finding, Level};

pub(super) fn check(study: &Attributes) -> Option<Finding> {
    study.text(tags::PATIENT_BIRTH_DATE)?;
    let (stated, computed) = (age_of_string(study.text(tags::PATIENT_AGE)?)?, age_months(study)?);
    // An age in years is one of completed years, or rounded: a year to either side of what it covers.
    let (low, high) =
        if stated >= 24 { (stated.saturating_sub(12), stated + 12 + 11) } else { (stated.saturating_sub(1), stated + 1) };
    (!(low..=high).contains(&computed)).then(|| {
        Finding::new(
            "G-11",
            Level::Warn,
            "年龄与出生日期、检查日期不符",
            "Patient's Age does not agree with birth date and study date",
        )
    })
}
