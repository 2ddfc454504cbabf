//! Reminders (提醒; FJ 四 互认项目提醒接口, YB 四(一)): does this patient have exams that are to be recognised?

use super::{blocking, hospital_of, posted};
use crate::dicom::{Attributes, tags};
use crate::exam::finding::{Finding, Level};
use crate::exam::report::is_report;
use crate::exam::verdict::{Outcome, Verdict};
use crate::exchange::policy::{Answer, Strength};
use crate::index::{InstanceRow, Key, Query, StudyRow, View};
use crate::ingest::now_ms;
use crate::journal::Event;
use crate::web::edge::Said;
use crate::web::problem::Problem;
use crate::web::router::App;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Who it is about: an identifier, or name and birth date. All that is said must fit: every hospital has numbers of its own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patient {
    /// Patient ID.
    #[serde(default)]
    pub id: Option<String>,
    /// Whole name: characters or pinyin.
    #[serde(default)]
    pub name: Option<String>,
    /// Birth date, `YYYYMMDD` or with hyphens.
    #[serde(default)]
    pub birth_date: Option<String>,
}

impl Patient {
    /// What was said of the patient, for the journal: which, never what.
    fn keys(&self) -> Vec<String> {
        let said = [("PatientID", &self.id), ("PatientName", &self.name), ("PatientBirthDate", &self.birth_date)];
        said.into_iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.to_string()).collect()
    }
}

/// What is posted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The patient.
    pub patient: Patient,
    /// The item that is to be ordered; none: any.
    #[serde(default)]
    pub item: Option<u32>,
    /// An order code of the item, instead of its number: `LN 24648-8`.
    #[serde(default)]
    pub order_code: Option<String>,
    /// The encounter (就诊) in which it is asked, for the journal.
    #[serde(default)]
    pub encounter: Option<String>,
    /// The hospital that asks; the owner's systems must name it.
    #[serde(default)]
    pub hospital: Option<String>,
}

/// Whose exam it is, for the person who asks to compare.
#[derive(Debug, Clone, Serialize)]
pub struct Person {
    /// Patient ID of the hospital that made it.
    pub id: String,
    /// Name as it stands there.
    pub name: String,
    /// Birth date, `YYYYMMDD`.
    pub birth_date: String,
    /// Sex: `M`, `F` or `O`.
    pub sex: String,
}

/// An exam that is offered.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Whose it is.
    pub patient: Person,
    /// Study Instance UID.
    pub study: String,
    /// Code and name of the hospital that made it.
    pub hospital: String,
    /// Its name.
    pub institution: String,
    /// Exam date, `YYYYMMDD`.
    pub exam_date: String,
    /// Accession Number.
    pub accession: String,
    /// Series Instance UIDs of the marked copies.
    pub series: Vec<String>,
    /// Text of the mark that the copies carry.
    pub mark: String,
    /// What the checks of quality and completeness came to: `accept`, and how many warnings there are.
    pub quality: Quality,
    /// Its report: `verified`, `present`, or `none`, which leaves the exam incomplete (FJ 三(一)).
    pub report: &'static str,
    /// What the policy says of the item.
    #[serde(flatten)]
    pub answer: Answer,
    /// One sentence for the person who orders.
    pub text: String,
    /// Where it is, below the exchange root.
    pub wado: String,
    /// Where its search is.
    pub qido: String,
}

/// The verdict on quality (质控结论).
#[derive(Debug, Clone, Serialize)]
pub struct Quality {
    /// The outcome of the item.
    pub outcome: Outcome,
    /// Warnings of its checks.
    pub warnings: usize,
}

/// `POST /exchange/reminders`: recent exams as `candidates`, and those that are older than the region's months as `older` (超过近期时限).
///
/// # Errors
/// No patient is named, or the item is none.
pub async fn remind(State(app): State<Arc<App>>, request: Request) -> Result<Json<serde_json::Value>, Problem> {
    let headers = request.headers().clone();
    let base = crate::web::router::EXCHANGE.url(&app, &headers);
    let mut posted = posted::<Asked>(request).await?;
    let hospital = hospital_of(&app, &posted.principal, posted.body.hospital.as_deref())?;
    if let Some(encounter) = posted.body.encounter.clone().filter(|_| !posted.principal.says.contains_key("encounter")) {
        posted.said.0.insert("encounter".into(), encounter.chars().filter(|c| !c.is_control()).take(128).collect());
    }
    let by = (posted.principal.name.clone(), posted.said);
    let found = blocking(&app, move |app| candidates(app, &posted.body, &hospital, &by, &base)).await?;
    let (recent, older): (Vec<Candidate>, Vec<Candidate>) = found.into_iter().partition(|c| c.answer.recent);
    let text = match (recent.len(), older.len()) {
        (0, 0) => "未查到可互认的检查 no exam to recognise was found".to_string(),
        (0, old) => {
            format!("近期无可互认的检查；另有 {old} 项超过近期时限，可供参考  none is recent; {old} older ones to look at")
        }
        (n, 0) => format!("该患者有 {n} 项可互认的检查，请接诊医师判断是否采用  {n} exams to recognise; the clinician decides"),
        (n, old) => format!(
            "该患者有 {n} 项可互认的检查，请接诊医师判断是否采用；另有 {old} 项超过近期时限  {n} exams to recognise; the clinician decides; {old} \
             older ones"
        ),
    };
    Ok(Json(serde_json::json!({"candidates": recent, "older": older, "text": text})))
}

/// Who asks, and on whose behalf.
pub type By = (String, Said);

/// The exams of a patient that a hospital is to recognise, those of the wanted item only if one is named; journalled as offered.
///
/// # Errors
/// No patient is named, the item is none, or the index fails.
pub fn candidates(app: &App, asked: &Asked, hospital: &str, by: &By, base: &str) -> Result<Vec<Candidate>, Problem> {
    let query = match query(&asked.patient) {
        Ok(query) => query,
        Err(why) => {
            let event = Event::Denied { by: by.0.clone(), why: "a reminder that names no patient".into() };
            app.journal.append(event, now_ms(), false).map_err(cannot)?;
            return Err(why);
        }
    };
    let wanted = wanted(app, asked)?;
    let register = app.entitled.register.current();
    let mut found = Vec::new();
    for study in app.index.studies(&Query { only: app.entitled.filter(hospital), limit: 200, ..query })?.rows {
        let fits = |a: &Answer| wanted.is_none_or(|item| item == a.item || covers(app, a, item));
        let answers = app.entitled.answers(hospital, &study)?.into_iter().filter(|a| a.strength.is_some() && fits(a));
        let answers: Vec<Answer> = answers.collect();
        if answers.is_empty() {
            continue;
        }
        let Some(verdict) = app.index.verdict(&study.study)? else { continue };
        let report = report_of(app, &study)?;
        let producer = verdict.hospital.clone().unwrap_or_default();
        let institution = register.hospital(&producer).map_or_else(String::new, |h| h.name.clone());
        for answer in answers {
            let mark = app.procedures.region(&answer.region, &answer.edition).map_or_else(String::new, |r| r.mark.text());
            let quality = quality_of(&verdict, answer.item);
            found.push(Candidate { mark, quality, report, ..candidate(&study, answer, &producer, institution.clone(), base) });
        }
    }
    if found.is_empty() {
        // That there is nothing is an answer, too.
        let (by, on_behalf) = (by.0.clone(), by.1.0.clone());
        let event = Event::Queried { view: "reminder".into(), by, keys: asked.patient.keys(), matches: 0, on_behalf };
        app.journal.append(event, now_ms(), false).map_err(cannot)?;
    }
    for c in &found {
        let event = Event::Offered {
            hospital: hospital.into(),
            producer: c.hospital.clone(),
            study: c.study.clone(),
            item: c.answer.item,
            by: by.0.clone(),
            on_behalf: by.1.0.clone(),
        };
        app.journal.append(event, now_ms(), false).map_err(cannot)?;
    }
    Ok(found)
}

fn cannot(_: std::io::Error) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the journal cannot be written, so nothing is offered")
}

fn query(patient: &Patient) -> Result<Query, Problem> {
    let given = |text: &Option<String>| text.as_ref().map(|t| t.trim().to_string()).filter(|t| !t.is_empty());
    let plain = |text: &String| !text.contains(['*', '?', '\\']);
    let mut query = Query::all(View::Exchange);
    let (id, name, birth) = (given(&patient.id), given(&patient.name), given(&patient.birth_date));
    let is_named = id.is_some() || (name.is_some() && birth.is_some());
    if !is_named || !id.iter().chain(&name).all(plain) {
        return Err(Problem::bad("patient: an id, or the whole name and birth_date, without wildcards"));
    }
    query.keys.extend(id.map(|id| Key::of(tags::PATIENT_ID, id)));
    if let Some(name) = name {
        (query.matching.fuzzy, query.matching.whole_name) = (true, true);
        query.keys.push(Key::of(tags::PATIENT_NAME, name));
    }
    if let Some(birth) = birth {
        let birth: String = birth.chars().filter(char::is_ascii_digit).collect();
        if birth.len() != 8 {
            return Err(Problem::bad("patient.birth_date is one day, YYYYMMDD"));
        }
        query.keys.push(Key::of(tags::PATIENT_BIRTH_DATE, birth));
    }
    Ok(query)
}

/// Whether a report goes with the marked copies, and whether one of them is verified.
fn report_of(app: &App, study: &StudyRow) -> Result<&'static str, Problem> {
    let rows = app.index.named(View::Exchange, &study.study, None, None)?;
    let reports = || rows.iter().filter(|row| is_report(&row.sop_class));
    let verified = |row: &InstanceRow| row.attributes.text(tags::VERIFICATION_FLAG).map(str::trim) == Some("VERIFIED");
    Ok(if reports().any(verified) {
        "verified"
    } else if reports().next().is_some() {
        "present"
    } else {
        "none"
    })
}

fn quality_of(verdict: &Verdict, item: u32) -> Quality {
    let of_item = verdict.items.iter().find(|i| i.number == item);
    let is_own = |f: &Finding| f.series.as_ref().is_none_or(|s| of_item.is_some_and(|i| i.series.contains(s)));
    let warnings = verdict.findings.iter().filter(|f| f.level == Level::Warn && is_own(f)).count();
    Quality { outcome: of_item.map_or(verdict.outcome, |i| i.outcome), warnings }
}

/// The item that is to be ordered.
fn wanted(app: &App, asked: &Asked) -> Result<Option<u32>, Problem> {
    let items = || app.procedures.regions.iter().filter(|r| r.enabled).flat_map(|r| &r.items);
    match (asked.item, &asked.order_code) {
        (Some(number), _) if items().any(|i| i.number == number) => Ok(Some(number)),
        (Some(number), _) => Err(Problem::bad(format!("item: {number} is on no list"))),
        (None, Some(code)) => match items().find(|i| i.codes.contains(code)) {
            Some(item) => Ok(Some(item.number)),
            None => Err(Problem::bad(format!("order_code: {code} is the code of no item"))),
        },
        (None, None) => Ok(None),
    }
}

/// Whether the exam includes the wanted item (2 covers 1; with contrast covers plain).
fn covers(app: &App, answer: &Answer, item: u32) -> bool {
    let region = app.procedures.region(&answer.region, &answer.edition);
    region.and_then(|r| r.item(answer.item)).is_some_and(|i| i.covers.contains(&item))
}

fn candidate(study: &StudyRow, answer: Answer, producer: &str, institution: String, base: &str) -> Candidate {
    let text = |attributes: &Attributes, tag| attributes.text(tag).unwrap_or("").trim().to_string();
    let exam_date: String = text(&study.attributes, tags::STUDY_DATE).chars().filter(char::is_ascii_digit).collect();
    let how = match answer.strength {
        Some(Strength::Must) => "应予互认",
        Some(Strength::Principle) => "原则上应予互认",
        _ => "可予互认",
    };
    let old = if answer.recent { String::new() } else { "（超过近期时限）".to_string() };
    let uid = study.study.to_string();
    let person = Person {
        id: text(&study.attributes, tags::PATIENT_ID),
        name: text(&study.attributes, tags::PATIENT_NAME),
        birth_date: text(&study.attributes, tags::PATIENT_BIRTH_DATE),
        sex: text(&study.attributes, tags::PATIENT_SEX),
    };
    Candidate {
        patient: person,
        text: format!("{institution} {exam_date} {}{old}：{how}", answer.name),
        hospital: producer.into(),
        institution,
        accession: text(&study.attributes, tags::ACCESSION_NUMBER),
        series: study.recognised.series.keys().map(ToString::to_string).collect(),
        exam_date,
        answer,
        mark: String::new(),
        quality: Quality { outcome: Outcome::Accept, warnings: 0 },
        report: "none",
        wado: format!("{base}/studies/{uid}"),
        qido: format!("{base}/studies?StudyInstanceUID={uid}"),
        study: uid,
    }
}
