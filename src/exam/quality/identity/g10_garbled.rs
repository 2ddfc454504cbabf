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
            "患者姓名无法按声明的字符集解码，请由来源更正字符集后重新发送",
            "the patient's name does not decode in the stated character set; correct Specific Character Set (0008,0005) at the source and send it again",
        ));
    }
    if study.text(tags::PATIENT_SEX).is_some_and(|s| !matches!(s, "M" | "F" | "O")) {
        findings.push(Finding::new(
            "G-10",
            Level::Warn,
            "性别代码不是 M、F 或 O，请在源系统更正",
            "Patient's Sex (0010,0040) is none of M, F, O; correct it at the source",
        ));
    }
    findings
}
