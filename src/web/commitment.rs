//! Storage commitment by DICOMweb (PS3.18 section 13): a list of instances, and which of them are kept.
//!
//! Requests and results lie in files below the data root, so that a restart forgets none; results are kept for 30 days.

use super::accept::Offer;
use super::asked::{Asked, uid};
use super::problem::{Problem, task_failed};
use super::router::App;
use crate::dicom::Uid;
use crate::index::{Index, IndexError};
use crate::retrieve::commitment::{Wanted, check};
use crate::store::{Papers, Store};
use axum::body::{Body, to_bytes};
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest request, bytes.
const MOST: usize = 32 << 20;
/// Instances in one request.
const MOST_INSTANCES: usize = 100_000;
/// A request that takes longer is answered with 202.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Results are kept so long.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
const OFFERS: &[Offer] = &[Offer::one("application/dicom+json"), Offer::one("application/json")];

/// Requests under way, and where they are kept.
pub struct Commitments {
    papers: Papers,
    working: Mutex<HashSet<Uid>>,
}

/// The names of a request and of its result.
fn named(transaction: &Uid, kind: &str) -> String {
    format!("{transaction}.{kind}")
}

impl Commitments {
    /// Below a data root. Old results are taken away.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(root: &FilePath) -> io::Result<Commitments> {
        let papers = Papers::open(root, "commitments")?;
        papers.forget(KEPT)?;
        Ok(Commitments { papers, working: Mutex::default() })
    }

    fn save(&self, transaction: &Uid, kind: &str, json: &Json) -> io::Result<()> {
        self.papers.save(&named(transaction, kind), json)
    }

    fn read(&self, transaction: &Uid, kind: &str) -> io::Result<Option<Json>> {
        self.papers.read(&named(transaction, kind))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Uid>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: &io::Error) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the request cannot be kept: {error}"))
}

/// `POST /commitment-requests/{transaction}`
///
/// # Errors
/// The body is no such request, or its UID is in use.
pub async fn request(asked: Asked, Path(transaction): Path<String>, body: Body) -> Result<Response, Problem> {
    let transaction = uid(&transaction, "Transaction UID")?;
    asked.accepts()?.choose(OFFERS)?;
    let kind = asked.header(header::CONTENT_TYPE).to_lowercase();
    if !matches!(kind.split(';').next().unwrap_or("").trim(), "application/dicom+json" | "application/json") {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/dicom+json"));
    }
    let large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is over 32 MiB, or broke off");
    let body = to_bytes(body, MOST).await.map_err(large)?;
    let json: Json = serde_json::from_slice(&body).map_err(|e| Problem::bad(format!("the JSON does not parse: {e}")))?;
    let json = if let Json::Array(mut all) = json { if all.len() == 1 { all.remove(0) } else { Json::Null } } else { json };
    let wanted = wanted(&json).map_err(Problem::bad)?;
    if wanted.len() > MOST_INSTANCES {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("more than {MOST_INSTANCES} instances in one request"),
        ));
    }
    let app = asked.app;
    let (here, uid) = (app.clone(), transaction.clone());
    let kept = tokio::task::spawn_blocking(move || {
        let mut working = here.commitments.lock();
        let known = working.contains(&uid) || here.commitments.papers.has(&named(&uid, "request"));
        if known {
            return Err(Problem::new(StatusCode::CONFLICT, "this Transaction UID is in use"));
        }
        here.commitments.save(&uid, "request", &json).map_err(|e| failed(&e))?;
        working.insert(uid);
        Ok(())
    });
    kept.await.map_err(task_failed)??;
    let work = work(app, transaction, wanted);
    match tokio::time::timeout(AT_ONCE, work).await {
        Ok(done) => Ok(finished(&done.map_err(task_failed)??)),
        Err(_) => Ok(later()),
    }
}

/// `GET /commitment-requests/{transaction}`
///
/// # Errors
/// Nobody has asked for it.
pub async fn result(asked: Asked, Path(transaction): Path<String>) -> Result<Response, Problem> {
    let transaction = uid(&transaction, "Transaction UID")?;
    asked.accepts()?.choose(OFFERS)?;
    let app = asked.app;
    let (here, uid) = (app.clone(), transaction.clone());
    let found = tokio::task::spawn_blocking(move || {
        let (result, request) = (here.commitments.read(&uid, "result"), here.commitments.read(&uid, "request"));
        Ok::<_, Problem>((result.map_err(|e| failed(&e))?, request.map_err(|e| failed(&e))?))
    });
    match found.await.map_err(task_failed)?? {
        (Some(result), _) => Ok(finished(&result)),
        (None, None) => Err(Problem::unknown("this Transaction UID")),
        (None, Some(request)) => {
            // A restart came between: it is looked at again.
            if app.commitments.lock().insert(transaction.clone()) {
                let wanted = wanted(&request).map_err(Problem::bad)?;
                drop(work(app, transaction, wanted));
            }
            Ok(later())
        }
    }
}

fn work(app: Arc<App>, transaction: Uid, wanted: Vec<Wanted>) -> tokio::task::JoinHandle<Result<Json, Problem>> {
    tokio::task::spawn_blocking(move || {
        let looked_at = look(&app.store, &*app.index, &wanted);
        let done = looked_at
            .map_err(Problem::from)
            .and_then(|json| app.commitments.save(&transaction, "result", &json).map_err(|e| failed(&e)).map(|()| json));
        app.commitments.lock().remove(&transaction);
        done
    })
}

fn look(store: &Store, index: &dyn Index, all: &[Wanted]) -> Result<Json, IndexError> {
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for one in all {
        let mut item = Map::new();
        item.insert("00081150".into(), json!({"vr": "UI", "Value": [one.class]}));
        item.insert("00081155".into(), json!({"vr": "UI", "Value": [one.instance]}));
        match check(store, index, one)? {
            Ok(()) => kept.push(Json::Object(item)),
            Err(reason) => {
                item.insert("00081197".into(), json!({"vr": "US", "Value": [reason]}));
                lost.push(Json::Object(item));
            }
        }
    }
    let mut body = Map::new();
    for (tag, items) in [("00081198", lost), ("00081199", kept)] {
        if !items.is_empty() {
            body.insert(tag.into(), json!({"vr": "SQ", "Value": items}));
        }
    }
    Ok(Json::Object(body))
}

fn finished(result: &Json) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/dicom+json")], result.to_string()).into_response()
}

fn later() -> Response {
    (StatusCode::ACCEPTED, [(header::RETRY_AFTER, "5")]).into_response()
}

/// Referenced SOP Sequence (0008,1199); or Referenced Study Sequence (0008,1110) with series and instances.
fn wanted(json: &Json) -> Result<Vec<Wanted>, String> {
    let items = |json: &Json, tag: &str| -> Vec<Json> {
        json.get(tag).and_then(|a| a.get("Value")?.as_array().cloned()).unwrap_or_default()
    };
    let mut all = items(json, "00081199");
    for study in items(json, "00081110") {
        for series in items(&study, "00081115") {
            all.extend(["00081112", "0008114A", "00081199"].iter().flat_map(|tag| items(&series, tag)));
        }
    }
    let one = |item: &Json| {
        let text =
            |tag: &str| item.get(tag)?.pointer("/Value/0")?.as_str().filter(|t| Uid::parse(t).is_ok()).map(str::to_string);
        Some(Wanted { class: text("00081150")?, instance: text("00081155")? })
    };
    // Each file is read once, however often it is named.
    let wanted: Option<BTreeSet<Wanted>> = all.iter().map(one).collect();
    wanted.map(Vec::from_iter).filter(|w| !w.is_empty()).ok_or_else(|| {
        "the request names no instances: Referenced SOP Sequence (0008,1199) with class and instance UID of each".into()
    })
}
