//! Decisions (引用, 互认与不互认): taken, checked, kept for ever, told as a sentence for the medical record.
//!
//! Never changed or deleted. The records hold what clinicians write about patients: they lie in files of their own, the journal has their
//! digest.

use super::{blocking, hospital_of, posted};
use crate::access::digest;
use crate::dicom::{Uid, tags};
use crate::exchange::decision::{Choice, Decision, Exam, Recorded};
use crate::index::View;
use crate::ingest::now_ms;
use crate::journal::Event;
use crate::procedure::Region;
use crate::web::asked::journalled;
use crate::web::edge;
use crate::web::problem::Problem;
use crate::web::router::App;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What is posted: the decision, and the hospital where the owner's systems post it.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    hospital: Option<String>,
    #[serde(flatten)]
    decision: Value,
}

/// `POST /exchange/decisions`. With `Idempotency-Key` the same decision is recorded once, however often it is sent.
///
/// # Errors
/// Something is missing (422, all of it at once), or the study is not one that the hospital is shown.
pub async fn record(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let posted = posted::<Body>(request).await?;
    let hospital = hospital_of(&app, &posted.principal, posted.body.hospital.as_deref())?;
    let decision: Decision =
        serde_json::from_value(posted.body.decision).map_err(|e| Problem::bad(format!("the decision does not fit: {e}")))?;
    let key = posted.headers.get("idempotency-key").map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let says = |name: &str, given: &str| posted.principal.says.get(name).is_none_or(|said| said == given);
    if !says("clinician", &decision.clinician) || !says("encounter", &decision.encounter) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the token is another clinician's, or of another encounter, than the decision says",
        ));
    }
    let by = posted.principal.name.clone();
    blocking(&app, move |app| take(app, decision, &hospital, &by, key)).await
}

fn take(app: &App, decision: Decision, hospital: &str, by: &str, key: Option<String>) -> Result<Response, Problem> {
    let now = now_ms();
    let text = serde_json::to_string(&decision).unwrap_or_default();
    let name = key.unwrap_or_else(|| format!("{now} {text}"));
    let id = digest(&format!("{hospital}\0{name}")).chars().take(32).collect::<String>();
    let one_at_a_time = app.decisions.lock();
    // What is on record stays so, whatever has become of the hospitals since.
    if let Some(known) = read(app, &id)? {
        // A crash may have come between the record and the journal.
        if app.journal.decided(&id).is_none() {
            let cannot = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the decision cannot be kept; send it again");
            app.journal.append(event_of(&known), known.at_ms, true).map_err(cannot)?;
        }
        return if known.decision == decision {
            Ok(answer(StatusCode::OK, &known, region_of(app, &known.exam)))
        } else {
            Err(Problem::new(StatusCode::CONFLICT, "another decision was recorded under this Idempotency-Key"))
        };
    }
    let exam = match corrected(app, &decision, hospital)? {
        Some(exam) => exam,
        None => exam(app, &decision, hospital)?,
    };
    let region = region_of(app, &exam).ok_or_else(|| Problem::unknown("this study"))?;
    let large = region.item(decision.item).is_some_and(|i| matches!(i.category.as_str(), "CT" | "MR"));
    let faults = decision.faults(&region.exceptions, large);
    if !faults.is_empty() {
        let all: Vec<String> = faults.iter().map(|(field, why)| format!("{field}: {why}")).collect();
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, all.join("; ")));
    }
    let recorded = Recorded { id, at_ms: now, hospital: hospital.into(), by: by.into(), exam, decision };
    keep(app, &recorded)?;
    drop(one_at_a_time);
    Ok(answer(StatusCode::CREATED, &recorded, Some(region)))
}

/// The exam of the record that a decision corrects; none where it corrects none.
fn corrected(app: &App, decision: &Decision, hospital: &str) -> Result<Option<Exam>, Problem> {
    let Some(old) = &decision.corrects else { return Ok(None) };
    let same = |r: &Recorded| r.hospital == hospital && r.decision.study == decision.study && r.decision.item == decision.item;
    let known = read(app, old)?.filter(same);
    let known = known.ok_or_else(|| Problem::bad("corrects: there is no such record of yours about this exam"))?;
    if app.decisions.papers.has(&correction_of(old)) {
        return Err(Problem::new(StatusCode::CONFLICT, "that record was corrected before; correct the correction"));
    }
    Ok(Some(known.exam))
}

/// The paper that says which record corrects one.
fn correction_of(id: &str) -> String {
    format!("{id}.corrected")
}

/// What the journal says of a record.
fn event_of(recorded: &Recorded) -> Event {
    let d = &recorded.decision;
    Event::Decided {
        id: recorded.id.clone(),
        corrects: d.corrects.clone(),
        study: d.study.clone(),
        hospital: recorded.hospital.clone(),
        producer: recorded.exam.hospital.clone(),
        item: d.item,
        department: d.department.clone(),
        clinician: d.clinician.clone(),
        encounter: d.encounter.clone(),
        by: recorded.by.clone(),
        accepted: d.choice == Choice::Accept,
        repeated: d.repeated,
        refused: d.consent.as_ref().is_some_and(|c| !c.given),
        reasons: d.reasons.clone(),
        digest: digest_of(recorded),
    }
}

fn digest_of(recorded: &Recorded) -> String {
    digest(&serde_json::to_string(recorded).unwrap_or_default())
}

fn keep(app: &App, recorded: &Recorded) -> Result<(), Problem> {
    let (d, event) = (&recorded.decision, event_of(recorded));
    let papers = &app.decisions.papers;
    // The record first: what the journal names is there. What the journal does not name is taken away again.
    let kept = papers.save(&recorded.id, recorded).and_then(|()| match &d.corrects {
        Some(old) => papers.save(&correction_of(old), &recorded.id),
        None => Ok(()),
    });
    kept.and_then(|()| app.journal.append(event, recorded.at_ms, true)).map_err(|e| {
        tracing::error!(error = %e, "a decision cannot be kept");
        let undone = papers.remove(&recorded.id).and_then(|()| match &d.corrects {
            Some(old) => papers.remove(&correction_of(old)),
            None => Ok(()),
        });
        if let Err(e) = undone {
            tracing::error!(error = %e, record = recorded.id, "a record that the journal does not name cannot be taken away");
        }
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the decision cannot be kept; send it again")
    })
}

fn region_of<'a>(app: &'a App, exam: &Exam) -> Option<&'a Region> {
    app.procedures.region(&exam.region, &exam.edition)
}

fn read(app: &App, id: &str) -> Result<Option<Recorded>, Problem> {
    let fault = |e: std::io::Error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the record does not read: {e}"));
    let recorded: Option<Recorded> = app.decisions.papers.read(id).map_err(fault)?;
    // The journal has the digest of what was written.
    let altered = |r: &Recorded| app.journal.decided(&r.id).is_some_and(|written| written != digest_of(r));
    if recorded.as_ref().is_some_and(altered) {
        tracing::error!(record = id, "the record of a decision is not what was written");
        let why = "this record was altered after it was written: the journal has another digest";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why));
    }
    Ok(recorded)
}

fn answer(status: StatusCode, recorded: &Recorded, region: Option<&Region>) -> Response {
    let text = recorded.text(region.map(|r| r.exceptions.as_slice()).unwrap_or_default());
    (status, Json(json!({"id": recorded.id, "record": recorded, "medical_record": text}))).into_response()
}

/// What is recorded of the exam.
fn exam(app: &App, decision: &Decision, hospital: &str) -> Result<Exam, Problem> {
    let unknown = || Problem::unknown("this study");
    let uid = Uid::parse(&decision.study).map_err(|e| Problem::bad(format!("study: {e}")))?;
    let study = app.index.study(&uid)?.ok_or_else(unknown)?;
    let granted = app.entitled.answers(hospital, &study)?.into_iter().find(|a| a.item == decision.item);
    let granted = granted.filter(|a| a.strength.is_some()).ok_or_else(unknown)?;
    let producer = app.index.verdict(&uid)?.and_then(|v| v.hospital).ok_or_else(unknown)?;
    let institution = app.entitled.register.current().hospital(&producer).map_or_else(String::new, |h| h.name.clone());
    let text = |tag| study.attributes.text(tag).unwrap_or("").trim().to_string();
    let mut copies = app.index.named(View::Exchange, &uid, None, None)?;
    copies.sort_by(|a, b| a.sop_instance.cmp(&b.sop_instance));
    let digests: Vec<&str> = copies.iter().map(|row| row.sha256.as_str()).collect();
    Ok(Exam {
        hospital: producer,
        institution,
        date: text(tags::STUDY_DATE).chars().filter(char::is_ascii_digit).collect(),
        accession: text(tags::ACCESSION_NUMBER),
        item: granted.name,
        region: granted.region,
        edition: granted.edition,
        contents: digest(&digests.join("\n")),
    })
}

/// `GET /exchange/decisions/{id}`: with the sentence for the medical record. Another hospital's is not there.
///
/// # Errors
/// There is none.
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    let (principal, _) = edge::of(request.extensions())?;
    blocking(&app, move |app| {
        let own = |r: &Recorded| principal.hospital.as_ref().is_none_or(|h| *h == r.hospital || *h == r.exam.hospital);
        let recorded = read(app, &id)?.filter(own);
        let keys = vec![format!("decision={}", id.chars().filter(char::is_ascii_alphanumeric).take(32).collect::<String>())];
        journalled(app, "decisions", &principal, keys, usize::from(recorded.is_some()))?;
        let recorded = recorded.ok_or_else(|| Problem::unknown("this record"))?;
        let shown = answer(StatusCode::OK, &recorded, region_of(app, &recorded.exam));
        Ok(([(header::CACHE_CONTROL, "private, no-store")], shown).into_response())
    })
    .await
}
