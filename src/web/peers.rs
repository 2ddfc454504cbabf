//! The peers of the DICOM port, and what is to go to them: seen and changed while the node runs. The owner's, never another hospital's.

use super::problem::{Problem, task_failed};
use super::router::App;
use crate::access::Principal;
use crate::ingest::now_ms;
use crate::journal::Event;
use crate::outbox::{By, Copies, Forward, Pull, Report};
use crate::peers::Peer;
use axum::Extension;
use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Longest body, bytes.
const MOST: usize = 1 << 16;

/// `GET /api/v1/peers`
pub async fn all(State(app): State<Arc<App>>) -> Json<Vec<Peer>> {
    Json(app.peers.all())
}

/// `GET /api/v1/peers/{aet}`
pub async fn one(State(app): State<Arc<App>>, Path(aet): Path<String>) -> Result<Json<Peer>, Problem> {
    app.peers.get(&aet).map(Json).ok_or_else(|| Problem::unknown("this peer"))
}

/// `PUT /api/v1/peers/{aet}`: as a `[[peer]]` of the configuration. It holds from the next association on.
pub async fn put(
    State(app): State<Arc<App>>,
    Path(aet): Path<String>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<(StatusCode, Json<Peer>), Problem> {
    let mut json: Value = parsed(&body(request).await?)?;
    if let Some(object) = json.as_object_mut() {
        object.entry("aet").or_insert_with(|| json!(aet));
    }
    let peer: Peer = serde_json::from_value(json).map_err(|e| Problem::bad(format!("this is no peer: {e}")))?;
    if peer.aet != aet {
        return Err(Problem::bad(format!("the address names {aet:?}, the peer itself {:?}", peer.aet)));
    }
    peer.check().map_err(Problem::bad)?;
    if app.peers.strict {
        peer.check_proof().map_err(Problem::bad)?;
    }
    let status = if app.peers.get(&aet).is_some() { StatusCode::OK } else { StatusCode::CREATED };
    change(app, aet, Some(peer.clone()), by).await?;
    Ok((status, Json(peer)))
}

/// `DELETE /api/v1/peers/{aet}`
pub async fn delete(
    State(app): State<Arc<App>>,
    Path(aet): Path<String>,
    Extension(by): Extension<Principal>,
) -> Result<StatusCode, Problem> {
    app.peers.get(&aet).ok_or_else(|| Problem::unknown("this peer"))?;
    change(app, aet, None, by).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(app: Arc<App>, aet: String, peer: Option<Peer>, by: Principal) -> Result<(), Problem> {
    let work = tokio::task::spawn_blocking(move || {
        // What cannot be recorded is not done.
        let recorded = serde_json::to_value(&peer).map_err(std::io::Error::other)?;
        let event = Event::PeerChanged { aet: aet.clone(), by: by.name, peer: peer.is_some().then_some(recorded) };
        app.journal.append(event, now_ms(), true)?;
        app.peers.change(&aet, peer)
    });
    work.await.map_err(task_failed)?.map_err(failed)
}

fn failed(error: std::io::Error) -> Problem {
    tracing::error!(error = %error, "a change cannot be kept");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the change cannot be kept: the disk refuses")
}

pub(super) async fn body(request: Request) -> Result<Bytes, Problem> {
    let large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 64 KiB, or broke off");
    to_bytes(request.into_body(), MOST).await.map_err(large)
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|e| Problem::bad(format!("the JSON does not fit: {e}")))
}

/// `GET /api/v1/outbox`: what is still to go out, and what went wrong.
pub async fn outbox(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({
        "forward": app.outbox.forwards(),
        "pull": app.outbox.pulls(),
        "commitment_results": app.outbox.reports().iter().map(named).collect::<Vec<_>>(),
    }))
}

/// With the name that [`retry`] and [`drop_task`] know it by.
fn named(report: &Report) -> Value {
    let mut value = json!(report);
    if let Value::Object(fields) = &mut value {
        fields.insert("id".into(), json!(report.id()));
    }
    value
}

/// `POST /api/v1/outbox/{id}/retry`: tried again now, also what was given up.
pub async fn retry(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let work = tokio::task::spawn_blocking(move || {
        let forward = app.outbox.update(&id, |task| task.retry(now_ms()))?.map(|task| json!(task));
        if forward.is_some() {
            return Ok(forward);
        }
        let pull = app.outbox.retry_pull(&id, now_ms())?.map(|task| json!(task));
        Ok(if pull.is_some() { pull } else { app.outbox.retry_report(&id, now_ms())?.map(|report| json!(report)) })
    });
    let task = work.await.map_err(task_failed)?.map_err(failed)?;
    task.map(Json).ok_or_else(|| Problem::unknown("this task"))
}

/// `DELETE /api/v1/outbox/{id}`: not sent, not fetched, or not told, any more.
pub async fn drop_task(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let work = tokio::task::spawn_blocking(move || {
        Ok(app.outbox.remove(&id)? | app.outbox.remove_pull(&id)? | app.outbox.remove_report(&id)?)
    });
    let was_there = work.await.map_err(task_failed)?.map_err(failed)?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::unknown("this task")) }
}

/// The body of [`pull`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fetch {
    study: String,
    #[serde(default)]
    by: By,
}

/// `POST /api/v1/peers/{aet}/pull`: fetches a study from it.
pub async fn pull(
    State(app): State<Arc<App>>,
    Path(aet): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Pull>), Problem> {
    let wanted: Fetch = parsed(&body(request).await?)?;
    let study = super::asked::uid(&wanted.study, "study")?;
    let peer = app.peers.get(&aet).ok_or_else(|| Problem::unknown("this peer"))?;
    if peer.address.is_none() {
        return Err(Problem::bad(format!("peer {}: it has no address", peer.aet)));
    }
    let task = Pull::new("by-hand", &aet, study.as_str(), wanted.by, now_ms());
    let kept = task.clone();
    let work = tokio::task::spawn_blocking(move || app.outbox.add_pull(kept));
    work.await.map_err(task_failed)?.map_err(failed)?;
    Ok((StatusCode::ACCEPTED, Json(task)))
}

/// The body of [`send`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    to: String,
    #[serde(default)]
    send: Copies,
}

/// `POST /api/v1/studies/{study}/send`: to a peer, once.
pub async fn send(
    State(app): State<Arc<App>>,
    Path(study): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Forward>), Problem> {
    let wanted: Send = parsed(&body(request).await?)?;
    let uid = super::asked::uid(&study, "Study Instance UID")?;
    let peer = app.peers.get(&wanted.to).ok_or_else(|| Problem::bad(format!("no peer is called {:?}", wanted.to)))?;
    if peer.address.is_none() {
        return Err(Problem::bad(format!("peer {}: it has no address", peer.aet)));
    }
    let work = tokio::task::spawn_blocking(move || {
        let row = app.index.study(&uid)?.ok_or_else(|| Problem::unknown("this study"))?;
        let task = Forward::new("by-hand", &peer.aet, uid.as_str(), row.revision, wanted.send, now_ms());
        app.outbox.add(task.clone()).map_err(failed)?;
        Ok::<_, Problem>(task)
    });
    Ok((StatusCode::ACCEPTED, Json(work.await.map_err(task_failed)??)))
}
