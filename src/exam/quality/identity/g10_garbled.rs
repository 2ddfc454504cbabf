//! G-10: a name that does not decode, a sex that is no code.

use crate::dicom::charset::repair_mojibake;
use crate::dicom::{Attributes, tags};
use crate::exam::finding::{Finding, Level};

pub(super) fn check(study: &Attributes) -> Vec<Finding> {
    let mut findings = Vec::new();
    let suspect = |n: &str| n.contains('\u{FFFD}') || n.contains("??") || repair_mojibake(n).is_some();
    if study.text(tags::PATIENT_NAME).is_some_and(suspect) {
        findings.push(Finding::new(
            "G-10",
            Level::Warn,
            "患者姓名无法按声明的字符集解码",
            "the patient's name does not decode in the stated character set",
        ));
    }
    if study.text(tags::PATIENT_SEX).is_some_and(|s| !matches!(s, "M" | "F" | "O")) {
        findings.push(Finding::new("G-10", Level::Warn, "性别代码不是 M、F 或 O", "Patient's Sex is none of M, F, O"));
    }
    findings
}
