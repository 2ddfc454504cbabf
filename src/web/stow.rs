//! STOW-RS (PS3.18 10.5): each part streams into ingest; one bad part spoils only itself.

use super::multipart::pipe;
use super::problem::Problem;
use super::router::{App, Root};
use crate::dicom::Uid;
use crate::ingest::{Failed, IngestError, Refused, Stored};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde_json::{Value as Json, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// `POST /studies`
pub async fn store(
    State(app): State<Arc<App>>,
    Extension(root): Extension<Root>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    receive(app, root, peer, headers, body, None).await
}

/// `POST /studies/{study}`
pub async fn store_in(
    State(app): State<Arc<App>>,
    Extension(root): Extension<Root>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    Path(study): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let study = Uid::parse(&study).map_err(|e| Problem::bad(format!("Study Instance UID: {e}")))?;
    receive(app, root, peer, headers, body, Some(study)).await
}

/// Longest wait for the next bytes of a body.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of the parts.
#[derive(Default)]
struct Tally {
    stored: Vec<Json>,
    failed: Vec<Json>,
    other: Vec<Json>,
    out_of_space: bool,
}

async fn receive(
    app: Arc<App>,
    root: Root,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    body: Body,
    study: Option<Uid>,
) -> Result<Response, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_string();
    let (media, parameters) = split_content_type(&content_type);
    let url = root.url(&app, &headers);
    let sender = peer.map_or_else(|| "STOW-RS".to_string(), |p| p.0.0.ip().to_string());
    let mut tally = Tally::default();
    let unsupported = || {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send multipart/related; type=\"application/dicom\", or application/dicom",
        )
    };
    match media.as_str() {
        "application/dicom" => {
            let chunks = body.into_data_stream().map(|chunk| chunk.map_err(io::Error::other));
            count(&mut tally, one_part(&app, &sender, study.as_ref(), chunks).await?, &url);
        }
        "multipart/related" => {
            let kind = parameters.iter().find(|(n, _)| n == "type").map_or("application/dicom", |(_, v)| v.as_str());
            if !kind.eq_ignore_ascii_case("application/dicom") {
                return Err(unsupported());
            }
            let boundary = parameters.iter().find(|(n, _)| n == "boundary").map(|(_, v)| v.clone());
            let boundary = boundary
                .filter(|b| !b.is_empty() && b.len() <= 70)
                .ok_or_else(|| Problem::bad("Content-Type has no boundary"))?;
            let mut parts = multer::Multipart::new(body.into_data_stream(), boundary);
            let wrong = |e: multer::Error| Problem::bad(format!("the multipart body is malformed: {e}"));
            while let Some(field) = parts.next_field().await.map_err(wrong)? {
                let kind =
                    field.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/dicom");
                if !kind.to_lowercase().starts_with("application/dicom") || kind.contains('+') {
                    tally.other.push(json!({"00081197": {"vr": "US", "Value": [0xC000]}}));
                    continue;
                }
                let chunks = field.map(|chunk| chunk.map_err(io::Error::other));
                count(&mut tally, one_part(&app, &sender, study.as_ref(), chunks).await?, &url);
            }
        }
        _ => return Err(unsupported()),
    }
    Ok(answer(tally, study.as_ref(), &url))
}

/// Streams one part into ingest, which blocks on a thread of its own.
async fn one_part(
    app: &Arc<App>,
    sender: &str,
    study: Option<&Uid>,
    mut bytes: impl Stream<Item = io::Result<Bytes>> + Unpin,
) -> Result<Result<Stored, IngestError>, Problem> {
    let (chunks, mut reader) = pipe();
    let (ingest, name, study) = (app.ingest.clone(), sender.to_string(), study.cloned());
    let worker = tokio::task::spawn_blocking(move || ingest.receive_file(&name, study.as_ref(), &mut reader));
    let mut broken = None;
    loop {
        let Ok(chunk) = tokio::time::timeout(PATIENCE, bytes.next()).await else {
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body stopped coming"));
        };
        let Some(chunk) = chunk else { break };
        let failed = chunk.as_ref().err().map(ToString::to_string);
        // A reader that has gone has its verdict already: the rest of the part is passed over.
        let _ = chunks.send(chunk).await;
        if failed.is_some() {
            broken = failed;
            break;
        }
    }
    drop(chunks);
    let result = worker.await.map_err(super::problem::task_failed)?;
    match broken {
        Some(why) => Err(Problem::bad(format!("the body broke off: {why}"))),
        None => Ok(result),
    }
}

fn reference(class: &str, instance: &str) -> serde_json::Map<String, Json> {
    let mut item = serde_json::Map::new();
    item.insert("00081150".into(), json!({"vr": "UI", "Value": [class]}));
    item.insert("00081155".into(), json!({"vr": "UI", "Value": [instance]}));
    item
}

fn count(tally: &mut Tally, result: Result<Stored, IngestError>, url: &str) {
    match result {
        Ok(stored) => {
            let mut item = reference(&stored.sop_class, stored.key.sop_instance.as_str());
            let path = format!(
                "{url}/studies/{}/series/{}/instances/{}",
                stored.key.study, stored.key.series, stored.key.sop_instance
            );
            item.insert("00081190".into(), json!({"vr": "UR", "Value": [path]}));
            tally.stored.push(Json::Object(item));
        }
        Err(error) => {
            tracing::warn!(error = %error, "a part of a STOW-RS request was refused");
            tally.out_of_space |= matches!(error, IngestError::Failed(Failed::NoSpace));
            let reason = json!({"vr": "US", "Value": [reason_of(&error)]});
            match &error {
                IngestError::Refused(Refused::Conflict(key)) => {
                    let mut item = reference("", key.sop_instance.as_str());
                    item.insert("00081197".into(), reason);
                    tally.failed.push(Json::Object(item));
                }
                IngestError::Refused(Refused::OtherStudy(key, class)) => {
                    let mut item = reference(class, key.sop_instance.as_str());
                    item.insert("00081197".into(), reason);
                    tally.failed.push(Json::Object(item));
                }
                _ => tally.other.push(json!({"00081197": reason})),
            }
        }
    }
}

/// Failure Reason (0008,1197), PS3.18 table I.2-2.
fn reason_of(error: &IngestError) -> u16 {
    match error {
        IngestError::Refused(refused) => match refused {
            Refused::Conflict(_) => 0x0111,
            Refused::Mismatch(_) | Refused::OtherStudy(..) => 0xA900,
            Refused::NotUnderstood(_) | Refused::NotAFile(_) => 0xC000,
            Refused::TooLarge(_) => 0xA700,
        },
        IngestError::Failed(Failed::NoSpace) => 0xA700,
        IngestError::Failed(_) => 0x0110,
    }
}

fn answer(tally: Tally, study: Option<&Uid>, url: &str) -> Response {
    let failures = !tally.failed.is_empty() || !tally.other.is_empty();
    let status = match (tally.stored.is_empty(), failures) {
        (true, _) if tally.out_of_space => StatusCode::INSUFFICIENT_STORAGE,
        (true, true) => StatusCode::CONFLICT,
        (false, true) => StatusCode::ACCEPTED,
        (false, false) => StatusCode::OK,
        (true, false) => return Problem::bad("the body holds no part").into_response(),
    };
    let mut body = serde_json::Map::new();
    if let Some(study) = study {
        body.insert("00081190".into(), json!({"vr": "UR", "Value": [format!("{url}/studies/{study}")]}));
    }
    for (tag, items) in [("00081198", tally.failed), ("00081199", tally.stored), ("0008119A", tally.other)] {
        if !items.is_empty() {
            body.insert(tag.into(), json!({"vr": "SQ", "Value": items}));
        }
    }
    (status, [(header::CONTENT_TYPE, "application/dicom+json")], Json::Object(body).to_string()).into_response()
}

/// The media type and its parameters, lower case, quotes off.
fn split_content_type(text: &str) -> (String, Vec<(String, String)>) {
    let mut parts = text.split(';');
    let media = parts.next().unwrap_or("").trim().to_lowercase();
    let parameter = |p: &str| p.split_once('=').map(|(n, v)| (n.trim().to_lowercase(), v.trim().trim_matches('"').to_string()));
    (media, parts.filter_map(parameter).collect())
}
