//! What a clinician decided about another hospital's exam: used (引用, 互认), or repeated and why (不予认可), with everything that both regulations
//! want recorded (YB 四(二), 六(三); FJ 三(二)). Pure.
//!
//! Never changed: a correction is a new record that names the old one.

use crate::procedure::catalogue::Exception;
use serde::{Deserialize, Serialize};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The exam is used.
    Accept,
    /// It is not; an exam may be repeated when the patient agrees.
    Reject,
}

/// Whether patient or family agree to a repeated exam.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Agreed, or refused.
    pub given: bool,
    /// Who: `patient`, or the relation.
    pub person: String,
}

/// A decision as it is posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Study Instance UID.
    pub study: String,
    /// Item number.
    pub item: u32,
    /// What was decided.
    pub choice: Choice,
    /// Who decided.
    pub clinician: String,
    /// Encounter (门诊号、住院号) that it belongs to.
    pub encounter: String,
    /// Department.
    #[serde(default)]
    pub department: String,
    /// In-patients' material must be kept (YB 六(三)).
    #[serde(default)]
    pub inpatient: bool,
    /// Result or impression (检查结果) as it goes to the medical record.
    #[serde(default)]
    pub result: String,
    /// Coded reasons of a rejection.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Reason in words.
    #[serde(default)]
    pub text: String,
    /// Who informed patient or family (告知).
    #[serde(default)]
    pub informed_by: String,
    /// Purpose and necessity that they were told.
    #[serde(default)]
    pub necessity: String,
    /// Whether they agree.
    #[serde(default)]
    pub consent: Option<Consent>,
    /// Reference of the signature.
    #[serde(default)]
    pub signature: Option<String>,
    /// Whether the exam is repeated here.
    #[serde(default)]
    pub repeated: bool,
    /// Why it is repeated (复查依据).
    #[serde(default)]
    pub basis: String,
    /// The record that this one corrects.
    #[serde(default)]
    pub corrects: Option<String>,
}

/// What is recorded of the exam beside the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exam {
    /// Code of the hospital that made it.
    pub hospital: String,
    /// Its name (检查机构名称).
    pub institution: String,
    /// Exam date (检查日期), `YYYYMMDD`.
    pub date: String,
    /// Accession Number (档案号, 检验流水号).
    pub accession: String,
    /// Name of the item.
    pub item: String,
    /// Region and edition.
    pub region: String,
    /// Edition of its list.
    pub edition: String,
    /// SHA-256 over the digests of the marked copies, in the order of their UIDs: what was looked at.
    pub contents: String,
}

/// A decision on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its name.
    pub id: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Code of the hospital that decided.
    pub hospital: String,
    /// Who told it to the node.
    pub by: String,
    /// The exam.
    pub exam: Exam,
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
}

impl Decision {
    /// What is missing: everything at once, each as field and sentence.
    pub fn faults(&self, exceptions: &[Exception], large_equipment: bool) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut need = |there: bool, field: &'static str, why: &str| {
            if !there {
                faults.push((field, why.to_string()));
            }
        };
        let said = |text: &str| !text.trim().is_empty();
        need(said(&self.clinician), "clinician", "who decided");
        need(said(&self.encounter), "encounter", "the encounter that it is recorded in");
        if self.choice == Choice::Accept {
            need(said(&self.result), "result", "the result goes into the medical record (YB 六(三))");
            need(
                self.reasons.is_empty() && !self.repeated,
                "choice",
                "an accepted exam has no reasons against it and is not repeated",
            );
            need(self.consent.as_ref().is_none_or(|c| c.given), "consent", "what was refused is not accepted");
            return faults;
        }
        let known = |code: &String| exceptions.iter().find(|e| e.code == *code);
        need(!self.reasons.is_empty(), "reasons", "one coded reason at least (YB 四(三))");
        for code in &self.reasons {
            match known(code) {
                None => need(false, "reasons", &format!("{code} is no reason of this region")),
                // Every item of these lists is an image.
                Some(e) if e.class == "laboratory-assessment-failed" => {
                    need(false, "reasons", &format!("{code} is of laboratory results, and the exam is an image"));
                }
                Some(e) => need(!e.needs_text || said(&self.text), "text", &format!("{code} needs the reason in words")),
            }
        }
        let emergency = self.reasons.iter().filter_map(known).any(|e| e.class == "emergency");
        need(said(&self.informed_by) || emergency, "informed_by", "who informed patient or family (YB 四(二))");
        let consent = self.consent.as_ref();
        need(
            consent.is_some() || emergency,
            "consent",
            "whether patient or family agree (YB 四(二)); in an emergency a correction adds it",
        );
        need(consent.is_none_or(|c| said(&c.person)), "consent.person", "who agreed or refused");
        let refused = consent.is_some_and(|c| !c.given);
        need(!(refused && self.repeated), "repeated", "without consent the exam is not repeated (YB 四(二))");
        need(!refused || self.is_signed(), "signature", "a refusal is signed (YB 四(二))");
        if self.repeated {
            need(said(&self.basis), "basis", "why it is repeated goes into the medical record (YB 六(三))");
            let signed = !large_equipment || emergency || self.is_signed();
            need(signed, "signature", "an exam on large equipment is repeated with a signature (YB 六(三))");
        }
        faults
    }

    fn is_signed(&self) -> bool {
        self.signature.as_ref().is_some_and(|s| !s.trim().is_empty())
    }
}

impl Recorded {
    /// The sentence for the medical record.
    pub fn text(&self, exceptions: &[Exception]) -> String {
        let Recorded { exam, decision: d, .. } = self;
        let date = match (exam.date.get(..4), exam.date.get(4..6), exam.date.get(6..8)) {
            (Some(year), Some(month), Some(day)) => format!("{year}年{month}月{day}日"),
            _ => exam.date.clone(),
        };
        let about = format!("患者于{date}在{}行{}（档案号{}）", exam.institution, exam.item, exam.accession);
        if d.choice == Choice::Accept {
            return format!(
                "{about}，结果：{}。经{}医师判断，予以互认，未重复检查。",
                d.result.trim().trim_end_matches('。'),
                d.clinician
            );
        }
        let why = |code: &String| exceptions.iter().find(|e| e.code == *code).map_or_else(|| code.clone(), |e| e.text.clone());
        let mut reasons: Vec<String> = d.reasons.iter().map(why).collect();
        if !d.text.trim().is_empty() {
            reasons.push(d.text.trim().to_string());
        }
        let mut text = format!("{about}，经{}医师判断不予互认，原因：{}。", d.clinician, reasons.join("；"));
        if !d.informed_by.is_empty() {
            text.push_str(&format!("已由{}向患者或家属告知检查目的及必要性", d.informed_by));
            if !d.necessity.trim().is_empty() {
                text.push_str(&format!("（{}）", d.necessity.trim()));
            }
            text.push('。');
        }
        match &d.consent {
            Some(c) if c.given => text.push_str(&format!("经{}同意", person(&c.person))),
            Some(c) => text.push_str(&format!("{}不同意重新检查并已签字，未重复检查", person(&c.person))),
            None => text.push_str("抢救生命的紧急状态，同意手续后补"),
        }
        if d.repeated {
            text.push_str(&format!("，予以复查，复查依据：{}", d.basis.trim().trim_end_matches('。')));
        }
        text.push('。');
        text
    }
}

fn person(person: &str) -> String {
    if person == "patient" { "患者".into() } else { format!("家属（{person}）") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procedure::{embedded, load};

    fn exceptions() -> Vec<Exception> {
        let procedures = load(embedded::FILES).unwrap();
        procedures.regions.into_iter().find(|r| r.code == "yubei").unwrap().exceptions
    }

    fn posted(json: serde_json::Value) -> Decision {
        let mut all = serde_json::json!({"study": "1.2", "item": 34, "clinician": "李", "encounter": "M1"});
        for (key, value) in json.as_object().unwrap() {
            all[key] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    fn fields(json: serde_json::Value, large: bool) -> Vec<&'static str> {
        posted(json).faults(&exceptions(), large).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn both_regulations_say_what_must_be_recorded() {
        use serde_json::json;
        assert_eq!(fields(json!({"choice": "accept", "result": "未见异常"}), true), Vec::<&str>::new());
        assert_eq!(fields(json!({"choice": "accept"}), true), ["result"]);
        assert_eq!(fields(json!({"choice": "accept", "result": "x", "reasons": ["YB-E01"]}), true), ["choice"]);
        assert_eq!(fields(json!({"choice": "reject"}), true), ["reasons", "informed_by", "consent"]);
        let agreed = json!({"given": true, "person": "patient"});
        let refused = json!({"given": false, "person": "子"});
        let base = |more: serde_json::Value| {
            let mut all = json!({"choice": "reject", "reasons": ["YB-E01"], "informed_by": "王"});
            for (key, value) in more.as_object().unwrap() {
                all[key] = value.clone();
            }
            all
        };
        assert_eq!(fields(base(json!({"consent": agreed})), true), Vec::<&str>::new());
        assert_eq!(fields(base(json!({"consent": agreed, "repeated": true})), false), ["basis"]);
        assert_eq!(fields(base(json!({"consent": agreed, "repeated": true, "basis": "b"})), true), ["signature"]);
        assert_eq!(
            fields(base(json!({"consent": agreed, "repeated": true, "basis": "b", "signature": "s"})), true),
            Vec::<&str>::new()
        );
        assert_eq!(fields(base(json!({"consent": refused})), true), ["signature"]);
        assert_eq!(
            fields(base(json!({"consent": refused, "repeated": true, "basis": "b", "signature": "s"})), true),
            ["repeated"]
        );
        assert_eq!(fields(base(json!({"consent": agreed, "reasons": ["YB-E10"]})), true), ["text"]);
        assert_eq!(fields(base(json!({"consent": agreed, "reasons": ["FJ-E01"]})), true), ["reasons"]);
        let emergency = json!({"choice": "reject", "reasons": ["YB-E04"], "repeated": true, "basis": "抢救"});
        assert_eq!(fields(emergency, true), Vec::<&str>::new(), "consent follows");
    }

    #[test]
    fn the_medical_record_says_hospital_date_and_number() {
        let exam = Exam {
            hospital: "H1".into(),
            institution: "渝北区某医院".into(),
            date: "20260310".into(),
            accession: "A1".into(),
            item: "头部CT平扫".into(),
            region: "yubei".into(),
            edition: "2023-1".into(),
            contents: String::new(),
        };
        let record = |decision| Recorded {
            id: "1".into(),
            at_ms: 0,
            hospital: "H2".into(),
            by: "k".into(),
            exam: exam.clone(),
            decision,
        };
        let accepted = record(posted(serde_json::json!({"choice": "accept", "result": "未见异常。"})));
        assert_eq!(
            accepted.text(&exceptions()),
            "患者于2026年03月10日在渝北区某医院行头部CT平扫（档案号A1），结果：未见异常。经李医师判断，予以互认，未重复检查。"
        );
        let refused = record(posted(serde_json::json!({
            "choice": "reject", "reasons": ["YB-E08"], "informed_by": "王", "signature": "s1",
            "consent": {"given": false, "person": "子"},
        })));
        let text = refused.text(&exceptions());
        assert!(text.contains("认为原检查诊断结果有疑的") && text.contains("家属（子）不同意重新检查并已签字"), "{text}");
    }
}
