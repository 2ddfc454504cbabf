//! G-07: one patient, one exam a study. What rejects is another identifier, name or birth date; another sex or study date is for a person.

use super::Input;
use crate::exam::finding::{Finding, Level};

/// What the originals of a study must agree on: keyword, severity, name in Chinese and English.
const ONE: &[(&str, Level, &str, &str)] = &[
    ("PatientID", Level::Reject, "患者标识", "Patient ID (0010,0020)"),
    ("PatientName", Level::Reject, "患者姓名", "Patient's Name (0010,0010)"),
    ("PatientBirthDate", Level::Reject, "出生日期", "Patient's Birth Date (0010,0030)"),
    ("PatientSex", Level::Review, "性别", "Patient's Sex (0010,0040)"),
    ("StudyDate", Level::Review, "检查日期", "Study Date (0008,0020)"),
    ("AccessionNumber", Level::Warn, "检查号", "Accession Number (0008,0050)"),
];

pub(super) fn check(input: &Input<'_>) -> Vec<Finding> {
    let differs = ONE.iter().filter(|(keyword, ..)| input.said.differs(keyword));
    differs
        .map(|(_, level, zh, en)| {
            Finding::new(
                "G-07",
                *level,
                format!("同一检查内{zh}不一致，请核对是否混入他人或其他检查的图像"),
                format!(
                    "{en} differs within the study: check whether images of somebody else or of another exam are among them"
                ),
            )
        })
        .collect()
}
