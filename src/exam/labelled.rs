//! Labelled studies in a table (the columns of the domain's development set): header values, and the items they should be.
//!
//! Rows are descriptions of studies, not patients. Unknown columns are ignored; a row that cannot be read is an error that names it.

use super::facts::{ImageFacts, SeriesFacts, StudyFacts, StudyText, age_of_string};
use super::geometry::{Plane, Stack};
use crate::dicom::Uid;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A labelled study.
#[derive(Debug, Clone)]
pub struct Case {
    /// `case_id`.
    pub id: String,
    /// The study's own text, for reports.
    pub title: String,
    /// What the rules look at.
    pub study: StudyFacts,
    /// The items it is; empty for `none`.
    pub expected: BTreeSet<u32>,
    /// The items it would be if it were complete and consistent.
    pub candidates: BTreeSet<u32>,
    /// Why it is none, or `OK`.
    pub reason: String,
    /// Tags, such as `policy:P-LS` or `review`.
    pub tags: Vec<String>,
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// It is no CSV.
    #[error("{0}")]
    Csv(#[from] csv::Error),
    /// A column is not there.
    #[error("the column `{0}` is missing; the first line must name the columns")]
    Column(&'static str),
    /// A cell cannot be read.
    #[error("line {line}, {id}: {what}")]
    Cell {
        /// Line of the file, from 1.
        line: u64,
        /// The case.
        id: String,
        /// What is wrong.
        what: String,
    },
}

/// One series of `series_json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SeriesCell {
    d: String,
    n: Option<usize>,
    vp: String,
    il: String,
    po: String,
    th: Option<f64>,
    z: Option<f64>,
    sp: Option<f64>,
    ca: String,
    pl: String,
    it: String,
    m: String,
    lat: Option<String>,
}

/// More images than any series has.
const MOST_IMAGES: usize = 100_000;

/// Reads a table.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn read(table: &[u8]) -> Result<Vec<Case>, LabelError> {
    let table = table.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(table);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(table);
    let names: BTreeMap<String, usize> =
        reader.headers()?.iter().enumerate().map(|(i, name)| (name.trim().to_string(), i)).collect();
    for needed in ["case_id", "Modality", "StudyDescription", "series_json", "expected_items"] {
        if !names.contains_key(needed) {
            return Err(LabelError::Column(needed));
        }
    }
    let mut cases = Vec::new();
    for record in reader.records() {
        let record = record?;
        let cell = |name: &str| names.get(name).and_then(|i| record.get(*i)).unwrap_or("").trim();
        let fail = |what: String| LabelError::Cell {
            line: record.position().map_or(0, csv::Position::line),
            id: cell("case_id").to_string(),
            what,
        };
        let list: Vec<SeriesCell> = serde_json::from_str(cell("series_json")).map_err(|e| fail(format!("series_json: {e}")))?;
        if let Some(n) = list.iter().filter_map(|s| s.n).find(|n| *n > MOST_IMAGES) {
            return Err(fail(format!("series_json: a series of {n} images; {MOST_IMAGES} are the most")));
        }
        let sane = |v: Option<f64>| v.is_none_or(|v| (0.0..=100_000.0).contains(&v));
        if list.iter().any(|s| !(sane(s.th) && sane(s.z) && sane(s.sp))) {
            return Err(fail("series_json: th, z and sp are millimetres, from 0 to 100000".into()));
        }
        let items = |name: &str| items(cell(name)).map_err(|e| fail(format!("{name}: {e}")));
        cases.push(Case {
            id: cell("case_id").to_string(),
            title: cell("StudyDescription").to_string(),
            study: study(&cell, &list),
            expected: items("expected_items")?,
            candidates: items("candidate_items")?,
            reason: cell("reason_code").to_string(),
            tags: cell("tags").split(';').map(str::trim).filter(|t| !t.is_empty()).map(str::to_string).collect(),
        });
    }
    Ok(cases)
}

/// `1|13` or `none`.
fn items(text: &str) -> Result<BTreeSet<u32>, String> {
    let parts = text.split('|').map(str::trim).filter(|p| !p.is_empty() && *p != "none");
    parts.map(|p| p.parse().map_err(|_| format!("`{p}` is no item number"))).collect()
}

fn study<'a>(cell: &dyn Fn(&str) -> &'a str, list: &[SeriesCell]) -> StudyFacts {
    let text = |from, name: &str| StudyText { from, text: cell(name).to_string() };
    let stated = list.iter().any(|s| !s.ca.trim().is_empty());
    StudyFacts {
        texts: vec![text("Study Description", "StudyDescription")],
        codes: vec![],
        age_months: age_of_string(cell("PatientAge")),
        agents: if stated { vec![] } else { one(cell("ContrastBolusAgent")) },
        series: list.iter().enumerate().map(|(i, s)| series(cell, i, s)).collect(),
    }
}

fn one(text: &str) -> Vec<String> {
    Some(text.trim().to_string()).filter(|t| !t.is_empty()).into_iter().collect()
}

fn series<'a>(cell: &dyn Fn(&str) -> &'a str, i: usize, s: &SeriesCell) -> SeriesFacts {
    let n = s.n.unwrap_or(1);
    let modality = if s.m.is_empty() { cell("Modality").split('\\').next().unwrap_or("") } else { &s.m };
    let uid = |kind: &str, k: usize| Uid::derived(&[kind, &i.to_string(), &k.to_string()]);
    let image = |k: usize| ImageFacts {
        uid: uid("image", k),
        view_position: s.vp.clone(),
        view_codes: vec![],
        laterality: s.il.clone(),
        orientation: s.po.split('\\').map(str::to_string).filter(|t| !t.is_empty()).collect(),
        region_codes: vec![],
        posture_codes: vec![],
    };
    SeriesFacts {
        uid: uid("series", 0),
        modality: modality.to_string(),
        sop_classes: vec![],
        description: s.d.clone(),
        protocol: cell("ProtocolName").to_string(),
        body_part: cell("BodyPartExamined").to_string(),
        laterality: s.lat.clone().unwrap_or_else(|| cell("Laterality").to_string()),
        images: (0..n).map(image).collect(),
        count: n,
        image_type: s.it.split('\\').filter(|t| !t.is_empty()).map(str::to_string).collect(),
        agents: one(&s.ca),
        routes: vec![],
        phases: vec![],
        region_codes: vec![],
        patient_position: String::new(),
        acquisition_contrast: vec![],
        stacks: stack(s, modality, n, &uid).into_iter().collect(),
        numbers: vec![],
        acquisitions: vec![],
        announced: None,
        repetition_ms: None,
        spin_echo: false,
        times_ms: (None, None, None),
    }
}

fn stack(s: &SeriesCell, modality: &str, n: usize, uid: &dyn Fn(&str, usize) -> Uid) -> Option<Stack> {
    let plane = match s.pl.as_str() {
        "SAG" => Plane::Sagittal,
        "COR" => Plane::Coronal,
        "AX" => Plane::Axial,
        _ if modality == "CT" => Plane::Axial,
        _ => return None,
    };
    let step_mm = s.sp.unwrap_or(5.0);
    #[expect(clippy::cast_precision_loss, reason = "numbers of slices are far below 2^52")]
    let along = (0..n).map(|k| k as f64 * step_mm).collect();
    Some(Stack {
        slices: (0..n).map(|k| uid("slice", k)).collect(),
        along,
        numbers: vec![],
        plane,
        orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        step_mm,
        thickness_mm: s.th,
        coverage_mm: s.z.unwrap_or(0.0),
        ..Stack::default()
    })
}
