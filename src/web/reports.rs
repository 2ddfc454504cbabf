//! A study's quality report: shown as a page or JSON, and stored with the study as a DICOM structured report.

use super::asked::{journalled, uid};
use super::peers::parsed;
use super::problem::{self, Problem};
use super::router::App;
use crate::access::Principal;
use crate::dicom::stamp::Kind;
use crate::dicom::{DataSet, Uid, tags, uids};
use crate::exam::verdict::Verdict;
use crate::index::StudyRow;
use crate::ingest::{Announced, Failed, IngestError, china_now, now_ms};
use crate::journal::Event;
use crate::report::{self, Contents, Written};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};
use std::io::Cursor;
use std::sync::Arc;

/// The study with its present verdict.
fn judged(app: &App, uid: &Uid) -> Result<(StudyRow, Verdict), Problem> {
    let row = app.index.study(uid)?.ok_or_else(|| Problem::unknown("this study"))?;
    let verdict = app.index.verdict(uid)?.filter(|v| v.revision == row.revision);
    let waiting = || Problem::new(StatusCode::CONFLICT, "the study has no verdict yet; wait for it");
    Ok((row, verdict.ok_or_else(waiting)?))
}

/// `GET /api/v1/studies/{study}/report`: a page, or with `Accept: application/json` the verdict.
pub async fn show(
    State(app): State<Arc<App>>,
    Path(study): Path<String>,
    Extension(by): Extension<Principal>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let uid = uid(&study, "Study Instance UID")?;
    let json = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains("application/json"));
    let made = tokio::task::spawn_blocking(move || -> Result<Response, Problem> {
        let (row, verdict) = judged(&app, &uid)?;
        journalled(&app, "report", &by, vec![format!("StudyInstanceUID={uid}")], 1)?;
        if json {
            return Ok(Json(verdict).into_response());
        }
        let contents: Contents = app.index.contents(&uid)?;
        let input = report::Input {
            store: &app.store,
            pool: &app.pool,
            procedures: &app.procedures,
            study: &row,
            contents: &contents,
            verdict: &verdict,
        };
        Ok(Html(report::page(&input)).into_response())
    });
    made.await.map_err(problem::task_failed)?
}

/// `POST /api/v1/studies/{study}/report`: stores the report on the present verdict with the study; 201, or 200 when it is there already.
pub async fn store(State(app): State<Arc<App>>, Path(study): Path<String>) -> Result<Response, Problem> {
    let uid = uid(&study, "Study Instance UID")?;
    tokio::task::spawn_blocking(move || write(&app, &uid)).await.map_err(problem::task_failed)?
}

fn write(app: &App, uid: &Uid) -> Result<Response, Problem> {
    let (row, verdict) = judged(app, uid)?;
    let instance = report::document_uid(&verdict);
    let body = serde_json::json!({"study": uid, "instance": instance});
    if app.index.instance(&instance)?.is_some() {
        return Ok((StatusCode::OK, Json(body)).into_response());
    }
    let contents: Contents = app.index.contents(uid)?;
    let rows: Vec<_> = report::originals(&contents).into_iter().flat_map(|(_, rows)| rows).collect();
    let (date, time) = china_now();
    let document = report::document(&row, &rows, &verdict, (&date, &time));
    receive(app, &document, "HUTONG", Kind::Report { revision: verdict.revision }, body)
}

/// `POST /api/v1/studies/{study}/reports`: a report as text becomes a structured report of the study, which is judged again with it; 201, or 200
/// when it is there already.
///
/// # Errors
/// The text is none, or the study has no images.
pub async fn add(
    State(app): State<Arc<App>>,
    Path(study): Path<String>,
    Extension(by): Extension<Principal>,
    body: Bytes,
) -> Result<Response, Problem> {
    let uid = uid(&study, "Study Instance UID")?;
    let written: Written = parsed(&body)?;
    written.check().map_err(Problem::bad)?;
    tokio::task::spawn_blocking(move || write_text(&app, &uid, &written, &by.name)).await.map_err(problem::task_failed)?
}

fn write_text(app: &App, uid: &Uid, written: &Written, by: &str) -> Result<Response, Problem> {
    let row = app.index.study(uid)?.ok_or_else(|| Problem::unknown("this study"))?;
    let instance = written.instance(uid);
    let body = serde_json::json!({"study": uid, "instance": instance});
    if app.index.instance(&instance)?.is_some() {
        return Ok((StatusCode::OK, Json(body)).into_response());
    }
    let contents: Contents = app.index.contents(uid)?;
    let originals = report::originals(&contents);
    let images: Vec<_> = originals.iter().flat_map(|(_, rows)| rows).filter(|r| r.attributes.has(tags::ROWS)).collect();
    let first = images.first().ok_or_else(|| Problem::new(StatusCode::CONFLICT, "the study has no images to report on"))?;
    let (date, time) = china_now();
    let document = written.document(&row, &images, (&date, &time));
    // Before it is there: who wrote it stands in the journal, whatever becomes of it.
    let event = Event::ReportAdded {
        study: uid.to_string(),
        instance: instance.to_string(),
        by: by.into(),
        verified: written.verified.is_some(),
    };
    app.journal.append(event, now_ms(), true).map_err(|e| {
        tracing::error!(error = %e, "the journal cannot be written");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the journal cannot be written, so the report is not stored; send it again",
        )
    })?;
    // It is the images' hospital that reports: another sender would be another producer.
    receive(app, &document, &first.sender, Kind::Original, body)
}

fn receive(app: &App, document: &DataSet, sender: &str, kind: Kind, body: serde_json::Value) -> Result<Response, Problem> {
    let mut bytes = Vec::new();
    document.write_explicit(&mut bytes);
    let announced = Announced { transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN, identity: None, sender, kind };
    let failed = |status, e: &dyn std::fmt::Display| Problem::new(status, format!("the report was not stored: {e}"));
    match app.ingest.receive(&announced, &mut Cursor::new(bytes)) {
        Ok(_) => Ok((StatusCode::CREATED, Json(body)).into_response()),
        Err(IngestError::Refused(e)) => Err(failed(StatusCode::CONFLICT, &e)),
        Err(IngestError::Failed(Failed::NoSpace)) => {
            Err(failed(StatusCode::INSUFFICIENT_STORAGE, &"disk space is below the reserve (storage.reserve_mib)"))
        }
        Err(e) => Err(failed(StatusCode::SERVICE_UNAVAILABLE, &e)),
    }
}
