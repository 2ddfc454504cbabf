//! G-09: a name or identifier that stands for no one.

use crate::dicom::{Attributes, tags};
use crate::exam::finding::{Finding, Level};
use crate::procedure::catalogue::Identity;

pub(super) fn check(study: &Attributes, limits: &Identity) -> Option<Finding> {
    let name = study.text(tags::PATIENT_NAME)?.to_lowercase();
    let id = study.text(tags::PATIENT_ID).unwrap_or("");
    let parts: Vec<&str> = name.split(['^', '=', ' ']).map(str::trim).filter(|p| !p.is_empty()).collect();
    let meant = |word: &String| name.starts_with(word.as_str()) || parts.iter().any(|p| p == word);
    // A name of one sign and the like: X, XXX, N^N.
    let letters: std::collections::BTreeSet<char> = parts.iter().flat_map(|p| p.chars()).collect();
    let one_sign = letters.len() == 1 && name.is_ascii();
    let emergency = name.strip_prefix("急诊").is_some_and(|rest| rest.chars().any(char::is_numeric));
    let id_means_none = limits.placeholders.iter().any(|word| id.trim().to_lowercase() == *word);
    let zeros = !id.is_empty() && id.chars().all(|c| c == '0');
    (limits.placeholders.iter().any(meant) || one_sign || emergency || zeros || id_means_none).then(|| {
        Finding::new(
            "G-09",
            Level::Review,
            "患者姓名或ID像是占位内容，请核对身份",
            "the patient's name or identifier looks like a placeholder; check who it is",
        )
    })
}
