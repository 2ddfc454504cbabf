//! G-08: what says whose exam it is, of what, when and where made; of every image, not of one only.

use super::Input;
use crate::dicom::tags;
use crate::exam::finding::{Finding, Level};

pub(super) fn check(input: &Input<'_>) -> Vec<Finding> {
    let study = input.study;
    let required = [
        (tags::PATIENT_ID, "PatientID", Level::Reject, "患者ID", "Patient ID (0010,0020)"),
        (tags::PATIENT_NAME, "PatientName", Level::Reject, "患者姓名", "Patient's Name (0010,0010)"),
        (tags::STUDY_DATE, "StudyDate", Level::Reject, "检查日期", "Study Date (0008,0020)"),
        (tags::PATIENT_SEX, "PatientSex", Level::Warn, "性别", "Patient's Sex (0010,0040)"),
        (tags::ACCESSION_NUMBER, "AccessionNumber", Level::Warn, "检查号", "Accession Number (0008,0050)"),
        (tags::INSTITUTION_NAME, "InstitutionName", Level::Warn, "医疗机构名称", "Institution Name (0008,0080)"),
    ];
    let mut findings = Vec::new();
    for (tag, keyword, level, zh, en) in required {
        let known = tag == tags::INSTITUTION_NAME && input.hospital_known;
        // One image that states it makes the study's attribute, whichever it is; those that do not are counted by what was said.
        if input.said.is_missing_in_part(keyword) {
            findings.push(Finding::new(
                "G-08",
                level,
                format!("部分图像缺少{zh}，请在源系统补录后重新发送"),
                format!("{en} is missing in some images; complete them at the source and send them again"),
            ));
        } else if !known && study.text(tag).is_none_or(|t| t.trim_matches(['^', ' ', '=']).is_empty()) {
            findings.push(Finding::new(
                "G-08",
                level,
                format!("缺少{zh}，请在源系统补录"),
                format!("{en} is missing; complete it at the source"),
            ));
        }
    }
    if input.without_modality > 0 {
        findings.push(
            Finding::new(
                "G-08",
                Level::Reject,
                "有图像序列缺少设备类型，请在源系统补录",
                "a series of images has no Modality (0008,0060); complete it at the source",
            )
            .measured(input.without_modality as f64, 0.0, "series"),
        );
    }
    if study.text(tags::PATIENT_BIRTH_DATE).is_none() && study.text(tags::PATIENT_AGE).is_none() {
        findings.push(Finding::new(
            "G-08",
            Level::Warn,
            "缺少出生日期和年龄，请在源系统补录",
            "neither Patient's Birth Date (0010,0030) nor Patient's Age (0010,1010) is there; complete one at the source",
        ));
    }
    findings
}
