//! What other hospitals have of a patient: all nodes are asked at once, each within its time; one that is slow or down costs the others
//! nothing, and is named.

use super::client::{Manifest, Remote, RemoteError};
use crate::dicom::json::to_data_set;
use crate::dicom::{Attributes, Uid, tags};
use crate::exam::classify::classify;
use crate::exam::facts::{SeriesInput, StudyFacts, study_facts};
use crate::exchange::policy::{Answer as Policy, Made, recognised};
use crate::exchange::register::Register;
use crate::procedure::{Procedures, Region};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Whose exams: an identifier, or name and birth date; no wildcards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Patient ID.
    #[serde(default)]
    pub patient_id: Option<String>,
    /// Patient's Name.
    #[serde(default)]
    pub name: Option<String>,
    /// Birth date, `YYYYMMDD`.
    #[serde(default)]
    pub birth_date: Option<String>,
    /// Names of the nodes to ask; empty: all.
    #[serde(default)]
    pub nodes: Vec<String>,
}

/// Whether the images carry a recognition mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Marked {
    /// The node's manifest says so.
    Certain,
    /// A series description says so.
    Stated,
    /// Nothing says so.
    Unknown,
}

/// An item that a study is, or seems to be.
#[derive(Debug, Clone, Serialize)]
pub struct Likely {
    /// Whether its hospital says so; else it is what the study's and series' descriptions amount to here.
    pub certain: bool,
    /// What the policy says of it for this hospital; none where one of the two is not in the register.
    #[serde(flatten)]
    pub answer: Option<Policy>,
    /// Item number.
    pub number: u32,
    /// Its name.
    pub title: String,
}

/// A study elsewhere.
#[derive(Debug, Clone, Serialize)]
pub struct Looked {
    /// Name of the node that has it.
    pub node: String,
    /// Code of its hospital.
    pub hospital: String,
    /// Study Instance UID.
    pub study: String,
    /// Study Date.
    pub date: String,
    /// Study Description.
    pub description: String,
    /// Accession Number.
    pub accession: String,
    /// Patient ID.
    pub patient_id: String,
    /// Patient's Name.
    pub patient_name: String,
    /// Birth date.
    pub birth_date: String,
    /// Modalities.
    pub modalities: Vec<String>,
    /// Number of images, where the node says it.
    pub instances: Option<i64>,
    /// Items.
    pub items: Vec<Likely>,
    /// The mark.
    pub marked: Marked,
    /// It is here already.
    pub here: bool,
}

/// What one node answered.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// Its name.
    pub node: String,
    /// `ok`, or `partial` when the time was over before all was looked at, or `failed`.
    pub status: &'static str,
    /// What went wrong.
    pub why: Option<String>,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// What it has.
    pub studies: Vec<Looked>,
}

/// What answers are judged with.
pub struct Judge<'a> {
    /// Hospitals.
    pub register: &'a Register,
    /// Regions and words.
    pub procedures: &'a Procedures,
    /// Code of our own hospital.
    pub own: Option<&'a str>,
    /// Today, `YYYYMMDD`.
    pub today: &'a str,
}

impl Wanted {
    fn query(&self) -> Result<Vec<(&'static str, String)>, String> {
        let given = |text: &Option<String>| text.as_ref().map(|t| t.trim().to_string()).filter(|t| !t.is_empty());
        let plain = |text: &String| !text.contains(['*', '?', '\\']);
        match (given(&self.patient_id), given(&self.name), given(&self.birth_date)) {
            (Some(id), ..) if plain(&id) => Ok(vec![("PatientID", id)]),
            (None, Some(name), Some(birth))
                if plain(&name) && birth.len() == 8 && birth.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(vec![("PatientName", name), ("PatientBirthDate", birth)])
            }
            _ => Err("name the patient: patient_id, or name and birth_date (YYYYMMDD), without wildcards".into()),
        }
    }
}

/// Asks the nodes, all at once.
///
/// # Errors
/// No patient is named, or a node that is none.
pub fn search(remotes: &[Remote], wanted: &Wanted, judge: &Judge<'_>) -> Result<Vec<Answer>, String> {
    let query = wanted.query()?;
    if let Some(unknown) = wanted.nodes.iter().find(|name| !remotes.iter().any(|r| r.settings.name == **name)) {
        return Err(format!("no [[external]] is called {unknown}"));
    }
    let asked = remotes.iter().filter(|r| wanted.nodes.is_empty() || wanted.nodes.contains(&r.settings.name));
    Ok(std::thread::scope(|scope| {
        let running: Vec<_> = asked.map(|remote| (remote, scope.spawn(|| ask(remote, wanted, &query, judge)))).collect();
        let ended = |(remote, thread): (&Remote, std::thread::ScopedJoinHandle<'_, Answer>)| {
            thread.join().unwrap_or_else(|_| failed(remote, "asking it met a fault of ours".into(), 0))
        };
        running.into_iter().map(ended).collect()
    }))
}

impl Wanted {
    /// Whether an answer is about the patient: servers may match by less than was asked, and a namesake is another patient.
    fn is_about(&self, attributes: &Attributes) -> bool {
        let same = |wanted: &Option<String>, tag| match (wanted.as_deref().map(str::trim), attributes.text(tag).map(str::trim))
        {
            (Some(wanted), Some(found)) if !wanted.is_empty() => wanted == found,
            (Some(wanted), None) if !wanted.is_empty() => false,
            _ => true,
        };
        // Every hospital has numbers of its own: all that is said must fit. Names are written in many ways; one that has nothing in common is
        // another one.
        let named = |wanted: &String| attributes.text(tags::PATIENT_NAME).is_some_and(|found| share_a_name(wanted, found));
        same(&self.patient_id, tags::PATIENT_ID)
            && same(&self.birth_date, tags::PATIENT_BIRTH_DATE)
            && self.name.as_ref().is_none_or(|wanted| {
                wanted.trim().is_empty() || self.patient_id.as_deref().is_none_or(|id| id.trim().is_empty()) || named(wanted)
            })
    }
}

/// Whether two names have a component group in common, whatever their case, spaces and separators.
fn share_a_name(wanted: &str, found: &str) -> bool {
    let groups = |name: &str| -> Vec<String> {
        let plain =
            |group: &str| group.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
        name.split('=').map(plain).filter(|group| !group.is_empty()).collect()
    };
    let wanted = groups(wanted);
    groups(found).iter().any(|group| wanted.contains(group))
}

/// Studies of one node's answer.
const MOST_STUDIES: usize = 500;

fn failed(remote: &Remote, why: String, ms: u64) -> Answer {
    Answer { node: remote.settings.name.clone(), status: "failed", why: Some(why), ms, studies: Vec::new() }
}

fn ask(remote: &Remote, wanted: &Wanted, query: &[(&str, String)], judge: &Judge<'_>) -> Answer {
    let began = Instant::now();
    let until = began + Duration::from_secs(remote.settings.seconds);
    let left = || until.saturating_duration_since(Instant::now());
    let ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut query: Vec<(&str, &str)> = query.iter().map(|(n, v)| (*n, v.as_str())).collect();
    query.push(("includefield", "PatientBirthDate"));
    query.push(("includefield", "StudyDescription"));
    let rows = match remote.search("/studies", &query, left()) {
        Ok(rows) => rows,
        Err(e) => return failed(remote, e.to_string(), ms()),
    };
    let (mut studies, mut why, mut others) = (Vec::new(), BTreeSet::new(), 0usize);
    for row in &rows {
        if studies.len() >= MOST_STUDIES || left().is_zero() {
            why.insert("there is more than was looked at".to_string());
            break;
        }
        let Some(attributes) = attributes(row) else { continue };
        if !wanted.is_about(&attributes) {
            others += 1;
            continue;
        }
        let Some(study) = attributes.text(tags::STUDY_INSTANCE_UID).and_then(|t| Uid::parse(t.trim()).ok()) else { continue };
        let (manifest, series) = match beside(remote, study.as_str(), left()) {
            Ok(found) => found,
            Err(e) => {
                why.insert(e.to_string());
                (None, Vec::new())
            }
        };
        let other = manifest.as_ref().is_some_and(|m| m.hospital != remote.settings.hospital());
        if other {
            why.insert("its manifest is of another hospital, and does not count".to_string());
        }
        let manifest = manifest.filter(|_| !other);
        studies.push(looked(remote, &study, &attributes, manifest.as_ref(), &series, judge));
    }
    if others > 0 {
        why.insert(format!("{others} studies of other patients were left out"));
    }
    let status = if why.is_empty() { "ok" } else { "partial" };
    let why = (!why.is_empty()).then(|| why.into_iter().collect::<Vec<_>>().join("; "));
    Answer { node: remote.settings.name.clone(), status, why, ms: ms(), studies }
}

/// What else is to be known of a study: its manifest, or else its series.
fn beside(remote: &Remote, study: &str, within: Duration) -> Result<(Option<Manifest>, Vec<Attributes>), RemoteError> {
    if within.is_zero() {
        return Err(RemoteError::Silent("the time is over".into()));
    }
    if let Some(manifest) = remote.manifest(study, within)? {
        return Ok((Some(manifest), Vec::new()));
    }
    let fields = ("includefield", "SeriesDescription,BodyPartExamined,ProtocolName,Laterality,NumberOfSeriesRelatedInstances");
    let rows = remote.search(&format!("/studies/{study}/series"), &[fields], within)?;
    Ok((None, rows.iter().filter_map(attributes).collect()))
}

fn attributes(row: &Map<String, Json>) -> Option<Attributes> {
    let (data_set, _) = to_data_set(row, &mut |_| None).ok()?;
    Some(Attributes::decode(&data_set, |_| true))
}

fn looked(
    remote: &Remote,
    study: &Uid,
    attributes: &Attributes,
    manifest: Option<&Manifest>,
    series: &[Attributes],
    judge: &Judge<'_>,
) -> Looked {
    let text = |tag| attributes.text(tag).unwrap_or("").trim().to_string();
    let date: String = text(tags::STUDY_DATE).chars().filter(char::is_ascii_digit).collect();
    let hospital = remote.settings.hospital().to_string();
    let region = match manifest {
        Some(m) => judge.procedures.region(&m.region, &m.edition),
        None => judge.procedures.region_for(&date),
    };
    let numbers = match (manifest, region) {
        (Some(m), _) => m.items.clone(),
        (None, Some(region)) => likely(study, attributes, series, region, judge.procedures),
        (None, None) => Vec::new(),
    };
    let from = judge.register.hospital(&hospital);
    let to = judge.own.and_then(|code| judge.register.hospital(code));
    let item = |number: u32| {
        let parties = from.zip(to).zip(region);
        Likely {
            certain: manifest.is_some(),
            answer: parties.map(|((from, to), region)| {
                recognised(from, to, region, Made { item: number, devices: None, on: &date }, judge.today)
            }),
            number,
            title: region.and_then(|r| r.item(number)).map_or_else(String::new, |i| i.name.clone()),
        }
    };
    let mark = region.map(|r| r.mark.text());
    let says = |s: &Attributes| s.text(tags::SERIES_DESCRIPTION).is_some_and(|d| mark.as_ref().is_some_and(|m| d.contains(m)));
    let marked = match manifest {
        Some(_) => Marked::Certain,
        None if series.iter().any(says) => Marked::Stated,
        None => Marked::Unknown,
    };
    Looked {
        node: remote.settings.name.clone(),
        hospital,
        study: study.to_string(),
        description: text(tags::STUDY_DESCRIPTION),
        accession: text(tags::ACCESSION_NUMBER),
        patient_id: text(tags::PATIENT_ID),
        patient_name: text(tags::PATIENT_NAME),
        birth_date: text(tags::PATIENT_BIRTH_DATE),
        modalities: attributes.texts(tags::MODALITIES_IN_STUDY).to_vec(),
        instances: attributes.int(tags::NUMBER_OF_STUDY_RELATED_INSTANCES),
        items: numbers.into_iter().map(item).collect(),
        marked,
        here: false,
        date,
    }
}

/// The items that descriptions alone amount to.
pub fn likely(
    study: &Uid,
    attributes: &Attributes,
    series: &[Attributes],
    region: &Region,
    procedures: &Procedures,
) -> Vec<u32> {
    let uids: Vec<Uid> = (0..series.len()).map(|n| Uid::derived(&[study.as_str(), &n.to_string()])).collect();
    let inputs: Vec<SeriesInput<'_>> =
        series.iter().zip(&uids).map(|(attributes, uid)| SeriesInput { uid, attributes, instances: vec![] }).collect();
    let facts: StudyFacts = study_facts(attributes, &inputs);
    let found = classify(region, procedures, &facts);
    let mut items: Vec<u32> =
        found.recognised.iter().map(|r| r.item).chain(found.refused.iter().flat_map(|r| r.nearest.clone())).collect();
    items.sort_unstable();
    items.dedup();
    items
}
