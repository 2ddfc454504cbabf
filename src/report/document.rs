//! The report as a DICOM object: an Enhanced SR (PS3.3 A.35.2) of the same study, UTF-8, its findings with numbers and image references.
//!
//! PURE but for its input: the same verdict gives the same content and the same UID, whenever it is written.

use crate::dicom::coded::{OWN_SCHEME, code, one};
use crate::dicom::dataset::Value;
use crate::dicom::{DataSet, Uid, VR, subject, tags, uids};
use crate::exam::finding::Finding;
use crate::exam::verdict::{ItemVerdict, Outcome, Verdict};
use crate::index::{InstanceRow, StudyRow};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The UID of the report on a verdict: another verdict is another report.
pub fn document_uid(verdict: &Verdict) -> Uid {
    let said = serde_json::to_vec(verdict).unwrap_or_default();
    let digest: String = Sha256::digest(&said).iter().map(|b| format!("{b:02x}")).collect();
    Uid::derived(&["quality report", verdict.study.as_str(), &digest])
}

/// The report. `rows` are the study's originals, for references; `written` is date (`YYYYMMDD`) and time (`HHMMSS`).
pub fn document(study: &StudyRow, rows: &[InstanceRow], verdict: &Verdict, written: (&str, &str)) -> DataSet {
    let series = Uid::derived(&["quality report series", verdict.study.as_str()]);
    let head = Head {
        class: uids::ENHANCED_SR_STORAGE,
        instance: &document_uid(verdict),
        series: (&series, "9901", "质量报告 Quality report"),
        number: verdict.revision,
        concept: own_code("QUALITY_REPORT", "Quality report of mutual recognition"),
    };
    let mut ds = head.of(study, written);
    ds.put_text(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED");
    let known: BTreeMap<&Uid, &InstanceRow> = rows.iter().map(|r| (&r.sop_instance, r)).collect();
    let mut content = vec![text("VERDICT", "Verdict", verdict.outcome.words())];
    content.extend(verdict.items.iter().map(item));
    let refused = verdict.refused.iter();
    content.extend(
        refused
            .map(|r| text("REFUSED", "Not on the list", &format!("{} {} {}", r.reason.code(), r.reason.zh(), r.reason.en()))),
    );
    content.extend(verdict.rulings.iter().map(|r| {
        let what = if r.outcome == Outcome::Accept { "接受 accepted" } else { "不予标注 rejected" };
        text("RULING", "Ruling of a person", &format!("{what}（{}）：{}", r.by, r.reason))
    }));
    content.extend(verdict.findings.iter().map(|f| finding(f, &known)));
    ds.put(tags::CONTENT_SEQUENCE, VR::SQ, Value::Items(content));
    let referenced: Vec<&InstanceRow> = known
        .values()
        .copied()
        .filter(|r| verdict.findings.iter().any(|f| f.instance.as_ref() == Some(&r.sop_instance)))
        .collect();
    if !referenced.is_empty() {
        ds.put(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, VR::SQ, evidence(&verdict.study, &referenced));
    }
    ds
}

/// What distinguishes one report of a study from another.
pub(super) struct Head<'a> {
    pub class: &'a str,
    pub instance: &'a Uid,
    /// UID, number and description.
    pub series: (&'a Uid, &'a str, &'a str),
    pub number: u64,
    /// What the document is.
    pub concept: DataSet,
}

impl Head<'_> {
    /// The document without its verification and content (PS3.3 C.17.2, C.17.3).
    pub fn of(self, study: &StudyRow, (date, time): (&str, &str)) -> DataSet {
        let mut ds = DataSet::default();
        ds.put_text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
        ds.put_text(tags::SOP_CLASS_UID, VR::UI, self.class);
        ds.put_text(tags::SOP_INSTANCE_UID, VR::UI, self.instance.as_str());
        subject::repeat(&mut ds, &study.attributes);
        ds.put_text(tags::STUDY_INSTANCE_UID, VR::UI, study.study.as_str());
        ds.put_text(tags::MODALITY, VR::CS, "SR");
        ds.put_text(tags::MANUFACTURER, VR::LO, "Hutong");
        ds.put_text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "Hutong exchange node");
        ds.put_text(tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION"));
        ds.put_text(tags::SERIES_INSTANCE_UID, VR::UI, self.series.0.as_str());
        ds.put_text(tags::SERIES_NUMBER, VR::IS, self.series.1);
        ds.put_text(tags::SERIES_DESCRIPTION, VR::LO, self.series.2);
        ds.put(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, VR::SQ, Value::Items(vec![]));
        ds.put_text(tags::INSTANCE_NUMBER, VR::IS, &self.number.clamp(1, 2_147_483_647).to_string());
        ds.put_text(tags::CONTENT_DATE, VR::DA, date);
        ds.put_text(tags::CONTENT_TIME, VR::TM, time);
        ds.put_text(tags::COMPLETION_FLAG, VR::CS, "COMPLETE");
        ds.put(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, VR::SQ, Value::Items(vec![]));
        ds.put_text(tags::VALUE_TYPE, VR::CS, "CONTAINER");
        ds.put(tags::CONCEPT_NAME_CODE_SEQUENCE, VR::SQ, one(self.concept));
        ds.put_text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
        ds
    }
}

fn own_code(value: &str, meaning: &str) -> DataSet {
    code(value, OWN_SCHEME, meaning)
}

/// A content item that its parent contains (PS3.3 C.17.3).
pub(super) fn content(value_type: &str, concept: DataSet) -> DataSet {
    let mut item = DataSet::default();
    item.put_text(tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS");
    item.put_text(tags::VALUE_TYPE, VR::CS, value_type);
    item.put(tags::CONCEPT_NAME_CODE_SEQUENCE, VR::SQ, one(concept));
    item
}

fn text(value: &str, meaning: &str, text: &str) -> DataSet {
    let mut item = content("TEXT", own_code(value, meaning));
    item.put_text(tags::TEXT_VALUE, VR::UT, text);
    item
}

fn container(concept: DataSet, inside: Vec<DataSet>) -> DataSet {
    let mut item = content("CONTAINER", concept);
    item.put_text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE");
    item.put(tags::CONTENT_SEQUENCE, VR::SQ, Value::Items(inside));
    item
}

fn item(one: &ItemVerdict) -> DataSet {
    let mut inside = vec![
        text("NUMBER", "Item number", &one.number.to_string()),
        text("NAME", "Item name", &one.name),
        text("VERDICT", "Verdict", one.outcome.words()),
    ];
    inside.extend(one.grounds.iter().map(|g| text("GROUND", "Ground", &format!("{} {} {}", g.code, g.zh, g.en))));
    container(own_code("ITEM", "Item of the list"), inside)
}

fn finding(f: &Finding, known: &BTreeMap<&Uid, &InstanceRow>) -> DataSet {
    let mut inside = vec![
        text("CHECK", "Check", &f.check),
        text("LEVEL", "Level", f.level.words()),
        text("SENTENCE_ZH", "Sentence, Chinese", &f.zh),
        text("SENTENCE_EN", "Sentence, English", &f.en),
    ];
    inside.extend(f.measured.map(|n| number("MEASURED", "Measured value", n, &f.unit)));
    inside.extend(f.threshold.map(|n| number("THRESHOLD", "Limit", n, &f.unit)));
    inside.extend(f.instance.as_ref().and_then(|uid| known.get(uid)).map(|row| image(row, f.frame)));
    container(code("121071", "DCM", "Finding"), inside)
}

/// A number with its unit (UCUM); what has none is a number of no dimension.
fn number(value: &str, meaning: &str, number: f64, unit: &str) -> DataSet {
    let unit = match unit {
        "mm" => code("mm", "UCUM", "mm"),
        "HU" => code("[hnsf'U]", "UCUM", "Hounsfield unit"),
        _ => code("1", "UCUM", "no units"),
    };
    let mut measured = DataSet::default();
    measured.put_text(tags::NUMERIC_VALUE, VR::DS, &decimal(number));
    measured.put(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, VR::SQ, one(unit));
    let mut item = content("NUM", own_code(value, meaning));
    item.put(tags::MEASURED_VALUE_SEQUENCE, VR::SQ, one(measured));
    item
}

/// At most 16 characters (PS3.5 6.2, DS).
fn decimal(number: f64) -> String {
    let plain = format!("{number:.4}");
    if plain.len() <= 16 { plain } else { format!("{number:.6e}") }
}

fn reference(row: &InstanceRow) -> DataSet {
    let mut item = DataSet::default();
    item.put_text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &row.sop_class);
    item.put_text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, row.sop_instance.as_str());
    item
}

fn image(row: &InstanceRow, frame: Option<u32>) -> DataSet {
    let mut item = content("IMAGE", code("121112", "DCM", "Source of Measurement"));
    let mut referenced = reference(row);
    if let Some(frame) = frame {
        referenced.put_text(tags::REFERENCED_FRAME_NUMBER, VR::IS, &frame.to_string());
    }
    item.put(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, one(referenced));
    item
}

/// Every object that is referred to, by series (PS3.3 C.17.2).
pub(super) fn evidence(study: &Uid, rows: &[&InstanceRow]) -> Value {
    let mut by_series: BTreeMap<&Uid, Vec<DataSet>> = BTreeMap::new();
    rows.iter().for_each(|row| by_series.entry(&row.series).or_default().push(reference(row)));
    let series = by_series.into_iter().map(|(uid, references)| {
        let mut item = DataSet::default();
        item.put_text(tags::SERIES_INSTANCE_UID, VR::UI, uid.as_str());
        item.put(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, Value::Items(references));
        item
    });
    let mut whole = DataSet::default();
    whole.put(tags::REFERENCED_SERIES_SEQUENCE, VR::SQ, Value::Items(series.collect()));
    whole.put_text(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
    one(whole)
}
