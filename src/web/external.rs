//! Other hospitals' nodes, for the owner's own people: what they have of a patient, and fetching it.

use super::edge;
use super::peers::{body, parsed};
use super::problem::{Problem, task_failed};
use super::router::App;
use crate::dicom::Uid;
use crate::federation::find::Judge;
use crate::federation::{Answer, Remote, Retrieval, Retrievals, Wanted, search};
use crate::ingest::now_ms;
use crate::journal::Event;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the node knows of others.
pub struct External {
    /// The nodes.
    pub remotes: Vec<Remote>,
    /// What is being fetched.
    pub retrievals: Arc<Retrievals>,
    /// Code of our own hospital.
    pub own: Option<String>,
}

/// `GET /api/v1/external`: the nodes, and what is being fetched.
pub async fn all(State(app): State<Arc<App>>) -> Json<Value> {
    let node = |r: &Remote| json!({"name": r.settings.name, "hospital": r.settings.hospital(), "url": r.settings.url});
    let nodes: Vec<Value> = app.external.remotes.iter().map(node).collect();
    Json(json!({"nodes": nodes, "retrievals": app.external.retrievals.all()}))
}

/// `POST /api/v1/external/searches`: what the nodes have of a patient. Journalled without naming him.
///
/// # Errors
/// No patient is named, a node is none, or the search cannot be recorded.
pub async fn find(State(app): State<Arc<App>>, request: Request) -> Result<Json<Value>, Problem> {
    let (principal, said) = edge::of(request.extensions())?;
    let wanted: Wanted = parsed(&body(request).await?)?;
    let work = move || -> Result<Vec<Answer>, Problem> {
        let register = app.entitled.register.current();
        let today = (app.entitled.today)();
        let judge = Judge { register: &register, procedures: &app.procedures, own: app.external.own.as_deref(), today: &today };
        let keys = [("PatientID", &wanted.patient_id), ("PatientName", &wanted.name), ("PatientBirthDate", &wanted.birth_date)];
        let keys = keys.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| (*key).to_string());
        let asked = app.external.remotes.iter().map(|r| r.settings.name.clone());
        let asked = asked.filter(|name| wanted.nodes.is_empty() || wanted.nodes.contains(name));
        let keys = keys.chain(asked.map(|name| format!("node:{name}"))).collect();
        let remotes: Vec<Remote> = app.external.remotes.iter().map(|r| r.on_behalf_of(&said.0)).collect();
        let event = Event::Queried { view: "external".into(), by: principal.name, keys, matches: 0, on_behalf: said.0 };
        let cannot = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the journal cannot be written, so nobody is asked");
        app.journal.append(event, now_ms(), false).map_err(cannot)?;
        let mut answers = search(&remotes, &wanted, &judge).map_err(Problem::bad)?;
        for study in answers.iter_mut().flat_map(|a| &mut a.studies) {
            let uid = Uid::parse(&study.study).ok();
            study.here = uid.map(|uid| app.index.study(&uid)).transpose()?.flatten().is_some();
        }
        Ok(answers)
    };
    let answers = tokio::task::spawn_blocking(work).await.map_err(task_failed)??;
    let count: usize = answers.iter().map(|a| a.studies.len()).sum();
    Ok(Json(json!({"studies": count, "nodes": answers})))
}

/// The body of [`retrieve`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fetch {
    node: String,
    study: String,
    #[serde(default)]
    forward_to: Option<String>,
    #[serde(default)]
    patient_id: Option<String>,
    #[serde(default)]
    unverified: bool,
}

/// `POST /api/v1/external/retrievals`: fetches a study, as a job.
///
/// # Errors
/// The node, the study or the peer is none.
pub async fn retrieve(State(app): State<Arc<App>>, request: Request) -> Result<(StatusCode, Json<Retrieval>), Problem> {
    let (principal, said) = edge::of(request.extensions())?;
    let wanted: Fetch = parsed(&body(request).await?)?;
    let study = super::asked::uid(&wanted.study, "study")?;
    if !app.external.remotes.iter().any(|r| r.settings.name == wanted.node) {
        return Err(Problem::bad(format!("node: no [[external]] is called {}", wanted.node)));
    }
    if let Some(to) = &wanted.forward_to
        && app.peers.get(to).is_none_or(|peer| peer.address.is_none())
    {
        return Err(Problem::bad(format!("forward_to: no peer with an address is called {to}")));
    }
    let task = Retrieval {
        forward_to: wanted.forward_to,
        patient_id: wanted.patient_id,
        unverified: wanted.unverified,
        on_behalf: said.0,
        ..Retrieval::new(&wanted.node, study.as_str(), &principal.name, now_ms())
    };
    let work = tokio::task::spawn_blocking(move || app.external.retrievals.add(task));
    Ok((StatusCode::ACCEPTED, Json(work.await.map_err(task_failed)?.map_err(kept)?)))
}

fn kept(error: std::io::Error) -> Problem {
    tracing::error!(error = %error, "the outbox cannot be written");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be kept: the disk refuses")
}

/// `GET /api/v1/external/retrievals/{id}`: how far it is.
///
/// # Errors
/// There is none of that name.
pub async fn progress(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Retrieval>, Problem> {
    app.external.retrievals.get(&id).map(Json).ok_or_else(|| Problem::unknown("this retrieval"))
}

/// `DELETE /api/v1/external/retrievals/{id}`: not fetched, or not remembered, any more.
///
/// # Errors
/// There is none of that name, or it is under way.
pub async fn forget(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let work = tokio::task::spawn_blocking(move || app.external.retrievals.remove(&id));
    let gone = work.await.map_err(task_failed)?.map_err(kept)?;
    if gone { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::unknown("this retrieval, unless it is under way:")) }
}
