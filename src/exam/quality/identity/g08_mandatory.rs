//! G-08: what says whose exam it is, when and where made.

use super::Input;
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(input: &Input<'_>) -> Vec<Finding> {
    let study = input.study;
    let required = [
        (tags::PATIENT_ID, Level::Reject, "患者ID", "Patient ID (0010,0020)"),
        (tags::PATIENT_NAME, Level::Reject, "患者姓名", "Patient's Name (0010,0010)"),
        (tags::STUDY_DATE, Level::Reject, "检查日期", "Study Date (0008,0020)"),
        (tags::PATIENT_SEX, Level::Warn, "性别", "Patient's Sex (0010,0040)"),
        (tags::ACCESSION_NUMBER, Level::Warn, "检查号", "Accession Number (0008,0050)"),
        (tags::INSTITUTION_NAME, Level::Warn, "医疗机构名称", "Institution Name (0008,0080)"),
    ];
    let mut findings: Vec<Finding> = required
        .into_iter()
        .filter(|(tag, ..)| *tag != tags::INSTITUTION_NAME || !input.hospital_known)
        .filter(|(tag, ..)| study.text(*tag).is_none_or(|t| t.trim_matches(['^', ' ', '=']).is_empty()))
        .map(|(_, level, zh, en)| {
            Finding::new(
                "G-08",
                level,
                format!("缺少{zh}，请在源系统补录"),
                format!("{en} is missing; complete it at the source"),
            )
        })
        .collect();
    if study.text(tags::PATIENT_BIRTH_DATE).is_none() && study.text(tags::PATIENT_AGE).is_none() {
        findings.push(Finding::new(
            "G-08",
            Level::Warn,
            "缺少出生日期和年龄",
            "neither Patient's Birth Date (0010,0030) nor Patient's Age (0010,1010) is there",
        ));
    }
    findings
}
