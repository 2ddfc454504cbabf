//! Identity and dates: G-07 to G-12 (患者基本信息和检查日期准确).

use crate::dicom::charset::repair_mojibake;
use crate::dicom::{Attributes, tags};
use crate::exam::facts::{age_months, age_of_string, date};
use crate::exam::finding::{Finding, Level};
use crate::procedure::catalogue::Identity;

/// What is checked.
pub struct Input<'a> {
    /// Patient- and study-level attributes.
    pub study: &'a Attributes,
    /// Instances disagree about the patient.
    pub patients_differ: bool,
    /// Today, `YYYYMMDD`, where the node stands.
    pub today: &'a str,
    /// The hospital that sent it is known by the application entity that did.
    pub hospital_known: bool,
    /// Series Date, Acquisition Date and Content Date of the images, each once.
    pub dates: Vec<String>,
}

/// Runs the checks.
pub fn check(input: &Input<'_>, limits: &Identity) -> Vec<Finding> {
    let mut findings = Vec::new();
    if input.patients_differ {
        findings.push(Finding::new(
            "G-07",
            Level::Reject,
            "同一检查内患者标识、姓名或出生日期不一致，请核对是否混入他人图像",
            "identifier, name or birth date differ within the study: check whether somebody else's images are among them",
        ));
    }
    findings.extend(missing(input));
    findings.extend(placeholder(input.study, limits));
    findings.extend(garbled(input.study));
    findings.extend(dates(input, limits));
    findings.extend(age(input.study));
    findings
}

/// G-08.
fn missing(input: &Input<'_>) -> Vec<Finding> {
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

/// G-09: a name that stands for no one.
fn placeholder(study: &Attributes, limits: &Identity) -> Option<Finding> {
    let name = study.text(tags::PATIENT_NAME)?.to_lowercase();
    let id = study.text(tags::PATIENT_ID).unwrap_or("");
    let parts: Vec<&str> = name.split(['^', '=', ' ']).map(str::trim).filter(|p| !p.is_empty()).collect();
    let meant = |word: &String| name.starts_with(word.as_str()) || parts.iter().any(|p| p == word);
    // A name of one sign and the like: X, XXX, N^N.
    let letters: std::collections::BTreeSet<char> = parts.iter().flat_map(|p| p.chars()).collect();
    let one_sign = letters.len() == 1 && name.is_ascii();
    let emergency = name.strip_prefix("急诊").is_some_and(|rest| rest.chars().any(|c| c.is_ascii_digit()));
    let zeros = !id.is_empty() && id.chars().all(|c| c == '0');
    (limits.placeholders.iter().any(meant) || one_sign || emergency || zeros).then(|| {
        Finding::new(
            "G-09",
            Level::Review,
            "患者姓名或ID像是占位内容，请核对身份",
            "the patient's name or identifier looks like a placeholder; check who it is",
        )
    })
}

/// G-10.
fn garbled(study: &Attributes) -> Vec<Finding> {
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

/// G-12.
fn dates(input: &Input<'_>, limits: &Identity) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(text) = input.study.text(tags::STUDY_DATE) else { return findings };
    let Some(exam) = date(text) else {
        findings.push(Finding::new("G-12", Level::Reject, "检查日期不是有效日期", "Study Date (0008,0020) is no valid date"));
        return findings;
    };
    let today = date(input.today);
    if today.is_some_and(|t| days(exam) > days(t) + limits.future_days) {
        findings.push(Finding::new(
            "G-12",
            Level::Reject,
            "检查日期在未来，请核对设备时钟",
            "Study Date lies in the future; check the device's clock",
        ));
    }
    if exam.0 < i64::from(limits.earliest_year) {
        findings.push(Finding::new("G-12", Level::Warn, "检查日期过早，请核对", "Study Date is implausibly early"));
    }
    let off = |d: &(i64, i64, i64)| (days(*d) - days(exam)).abs() > limits.apart_days;
    if input.dates.iter().filter_map(|d| date(d)).any(|d| off(&d)) {
        findings.push(Finding::new(
            "G-12",
            Level::Warn,
            "序列、采集或内容日期与检查日期相差过大，请核对",
            "Series, Acquisition or Content Date lies far from Study Date; check them",
        ));
    }
    match input.study.text(tags::PATIENT_BIRTH_DATE).map(date) {
        Some(Some(birth)) if birth > exam => {
            findings.push(Finding::new(
                "G-12",
                Level::Reject,
                "出生日期晚于检查日期",
                "the patient was born after the study date",
            ));
        }
        Some(None) => {
            findings.push(Finding::new("G-12", Level::Warn, "出生日期不是有效日期", "Patient's Birth Date is no valid date"))
        }
        _ => {}
    }
    findings
}

/// Days on a scale that is right for differences of a few days.
fn days(d: (i64, i64, i64)) -> i64 {
    d.0 * 372 + d.1 * 31 + d.2
}

/// G-11.
fn age(study: &Attributes) -> Option<Finding> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;

    fn checks(changes: &[(crate::dicom::Tag, &str)]) -> Vec<(String, Level)> {
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
        let limits = crate::procedure::load(crate::procedure::embedded::FILES).unwrap().quality.identity;
        let input = Input {
            study: &a,
            patients_differ: false,
            today: "20260311",
            hospital_known: false,
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
}
