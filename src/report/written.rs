//! A report (检查报告) that a system gives as text, as a DICOM object of the study: a Basic Text SR (PS3.3 A.35.1), verified or not.
//!
//! Says what it was given and nothing else. The same text of the same study is the same object.

use super::document::{Head, content, evidence};
use crate::dicom::coded::code;
use crate::dicom::dataset::Value;
use crate::dicom::{DataSet, Uid, VR, tags, uids};
use crate::index::{InstanceRow, StudyRow};
use serde::{Deserialize, Serialize};

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The findings (检查所见).
    pub findings: String,
    /// The impression (诊断意见).
    #[serde(default)]
    pub impression: Option<String>,
    /// Who verified it (审核医师); nobody yet where it is not there.
    #[serde(default)]
    pub verified: Option<Verified>,
}

/// A verification (PS3.3 C.17.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// The physician's name.
    pub by: String,
    /// The organisation that he is accountable to.
    pub organization: String,
}

/// Longest text, bytes.
const LONGEST: usize = 256 << 10;

impl Written {
    /// What is wrong with it.
    ///
    /// # Errors
    /// The field, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        let texts = [Some(&self.findings), self.impression.as_ref()];
        if texts.into_iter().flatten().any(|t| t.trim().is_empty() || t.len() > LONGEST) {
            return Err("findings and impression are texts of up to 256 KiB".into());
        }
        let short =
            |t: &String, most: usize| !t.trim().is_empty() && t.chars().count() <= most && !t.contains(['\\', '\n', '\r']);
        match &self.verified {
            Some(v) if !short(&v.by, 64) || !short(&v.organization, 64) => {
                Err("verified.by and verified.organization are names of up to 64 characters".into())
            }
            _ => Ok(()),
        }
    }

    /// The UID of its object.
    pub fn instance(&self, study: &Uid) -> Uid {
        Uid::derived(&["written report", study.as_str(), &serde_json::to_string(self).unwrap_or_default()])
    }

    /// Its object; `rows` are the images that it is on, `at` is date (`YYYYMMDD`) and time (`HHMMSS`).
    pub fn document(&self, study: &StudyRow, rows: &[&InstanceRow], at: (&str, &str)) -> DataSet {
        let series = Uid::derived(&["written reports", study.study.as_str()]);
        let head = Head {
            class: uids::BASIC_TEXT_SR_STORAGE,
            instance: &self.instance(&study.study),
            series: (&series, "9902", "检查报告 Report"),
            number: 1,
            concept: code("18748-4", "LN", "Diagnostic Imaging Report"),
        };
        let mut ds = head.of(study, at);
        let (flag, observers) = match &self.verified {
            Some(verified) => ("VERIFIED", vec![verified.observer(at)]),
            None => ("UNVERIFIED", vec![]),
        };
        ds.put_text(tags::VERIFICATION_FLAG, VR::CS, flag);
        if !observers.is_empty() {
            ds.put(tags::VERIFYING_OBSERVER_SEQUENCE, VR::SQ, Value::Items(observers));
        }
        let text = |value: &str, meaning: &str, text: &str| {
            let mut item = content("TEXT", code(value, "DCM", meaning));
            item.put_text(tags::TEXT_VALUE, VR::UT, text);
            item
        };
        let impression = self.impression.iter().map(|t| text("121073", "Impression", t));
        let all = std::iter::once(text("121071", "Finding", &self.findings)).chain(impression);
        ds.put(tags::CONTENT_SEQUENCE, VR::SQ, Value::Items(all.collect()));
        if !rows.is_empty() {
            ds.put(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, VR::SQ, evidence(&study.study, rows));
        }
        ds
    }
}

impl Verified {
    fn observer(&self, (date, time): (&str, &str)) -> DataSet {
        let mut item = DataSet::default();
        item.put_text(tags::VERIFYING_ORGANIZATION, VR::LO, &self.organization);
        item.put_text(tags::VERIFICATION_DATE_TIME, VR::DT, &format!("{date}{time}"));
        item.put_text(tags::VERIFYING_OBSERVER_NAME, VR::PN, &self.by);
        item.put(tags::VERIFYING_OBSERVER_IDENTIFICATION_CODE_SEQUENCE, VR::SQ, Value::Items(vec![]));
        item
    }
}
