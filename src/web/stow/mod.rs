//! STOW-RS (PS3.18 10.5): each part streams into ingest; one bad part spoils only itself.

mod answer;
mod metadata;

use self::answer::Tally;
use super::accept::{Accepted, Offer, split};
use super::asked::{Asked, uid};
use super::multipart::pipe;
use super::problem::Problem;
use super::router::App;
use crate::dicom::Uid;
use crate::ingest::{IngestError, Stored};
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How the answer can be had: JSON first, and a document of XML for who asks for one.
const OFFERS: &[Offer] = &[
    Offer::one("application/dicom+json"),
    Offer::many("application/dicom+xml"),
    Offer::one("application/json"),
    Offer::one("application/dicom+xml"),
];
/// Headers of a part, bytes, with what came in one piece with them.
const HEADERS: u64 = 8 << 20;
/// Longest wait for the next bytes of a body.
const PATIENCE: Duration = Duration::from_secs(60);
/// Parts of one request.
const MOST_PARTS: usize = 100_000;

/// What is being received.
struct Receiving {
    app: Arc<App>,
    sender: String,
    study: Option<Uid>,
    tally: Tally,
}

/// `POST /studies`
pub async fn store(asked: Asked, body: Body) -> Result<Response, Problem> {
    receive(asked, body, None).await
}

/// `POST /studies/{study}`
pub async fn store_in(asked: Asked, Path(study): Path<String>, body: Body) -> Result<Response, Problem> {
    let study = uid(&study, "Study Instance UID")?;
    receive(asked, body, Some(study)).await
}

/// What a body, or a part of it, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A file of PS3.10.
    File,
    /// The JSON model.
    Json,
    /// The native model in XML.
    Xml,
}

fn kind_of(media: &str) -> Option<Kind> {
    match media {
        "application/dicom" => Some(Kind::File),
        "application/dicom+json" | "application/json" => Some(Kind::Json),
        "application/dicom+xml" => Some(Kind::Xml),
        _ => None,
    }
}

async fn receive(asked: Asked, body: Body, study: Option<Uid>) -> Result<Response, Problem> {
    let (media, parameters) = split_content_type(asked.header(header::CONTENT_TYPE));
    let coding = asked.header(header::CONTENT_ENCODING).trim().to_lowercase();
    let parameter = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    // A client that stores and says nothing of the answer gets JSON.
    let offer = Accepted::of(&asked.headers, &asked.query, true)?.choose(OFFERS)?.0;
    let tally = Tally::new(asked.url());
    let sender = if asked.peer.is_empty() { "STOW-RS".into() } else { asked.peer };
    let mut receiving = Receiving { app: asked.app, sender, study, tally };
    let unsupported = || {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send multipart/related of application/dicom, application/dicom+json or application/dicom+xml; or one of these",
        )
    };
    if !matches!(coding.as_str(), "" | "identity") {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body without a Content-Encoding"));
    }
    let received = if media == "multipart/related" {
        let kind =
            kind_of(&parameter("type").unwrap_or_else(|| "application/dicom".into()).to_lowercase()).ok_or_else(unsupported)?;
        let boundary =
            parameter("boundary").filter(|b| is_boundary(b)).ok_or_else(|| Problem::bad("Content-Type has no boundary"))?;
        let mut parts = Parts::of(body, boundary);
        match kind {
            Kind::File => files(&mut receiving, &mut parts).await,
            Kind::Json | Kind::Xml => metadata::receive(&mut receiving, &mut parts).await,
        }
    } else {
        match kind_of(&media).ok_or_else(unsupported)? {
            Kind::File => {
                let chunks = body.into_data_stream().map(|chunk| chunk.map_err(io::Error::other));
                receiving.one_file(chunks).await.map(|result| receiving.tally.count(result))
            }
            kind => metadata::receive_single(&mut receiving, kind, body).await,
        }
    };
    match received {
        // What is stored stays stored, and the client must know: the rest is a part that failed.
        Err(problem) if receiving.tally.has_stored() => {
            tracing::warn!(error = %problem, "a STOW-RS request broke off");
            let ours = problem.status.is_server_error() || problem.status == StatusCode::REQUEST_TIMEOUT;
            receiving.tally.fail_unnamed(if ours { 0x0110 } else { 0xC000 });
        }
        received => received?,
    }
    Ok(receiving.tally.answer(receiving.study.as_ref(), offer))
}

/// RFC 2046 5.1.1: 1 to 70 characters of a few kinds, the last one no space.
fn is_boundary(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "'()+_,-./:=? ".contains(c);
    (1..=70).contains(&text.len()) && text.chars().all(legal) && !text.ends_with(' ')
}

/// The parts of a body; their headers are bounded, and the waiting for them.
struct Parts {
    parts: multer::Multipart<'static>,
    /// Bytes that may still come before a part's headers have ended; of a part's content any number may.
    left: Arc<AtomicU64>,
}

impl Parts {
    fn of(body: Body, boundary: String) -> Parts {
        let left = Arc::new(AtomicU64::new(HEADERS));
        let count = left.clone();
        let chunks = body.into_data_stream().map(move |chunk| {
            let chunk = chunk.map_err(io::Error::other)?;
            let length = chunk.len() as u64;
            let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(length));
            taken.map_err(|_| io::Error::other("the headers of a part are over 8 MiB"))?;
            Ok::<_, io::Error>(chunk)
        });
        Parts { parts: multer::Multipart::new(chunks, boundary), left }
    }

    /// The next part. Whoever takes it reads it to its end.
    async fn next(&mut self) -> Result<Option<multer::Field<'static>>, Problem> {
        self.left.store(HEADERS, Ordering::Relaxed);
        let next = tokio::time::timeout(PATIENCE, self.parts.next_field()).await;
        self.left.store(u64::MAX, Ordering::Relaxed);
        let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body stopped coming");
        next.map_err(late)?.map_err(|e| Problem::bad(format!("the multipart body is malformed: {e}")))
    }
}

/// Reads a part that nobody wants to its end.
async fn pass_over(field: multer::Field<'static>) -> Result<(), Problem> {
    let mut chunks = chunks_of(field);
    while metadata::next(&mut chunks).await?.is_some() {}
    Ok(())
}

/// The content of a part.
fn chunks_of(field: multer::Field<'static>) -> impl Stream<Item = io::Result<Bytes>> + Unpin {
    field.map(|chunk| chunk.map_err(io::Error::other))
}

async fn files(receiving: &mut Receiving, parts: &mut Parts) -> Result<(), Problem> {
    while let Some(field) = parts.next().await? {
        let kind = field.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/dicom");
        if split_content_type(kind).0 != "application/dicom" {
            receiving.tally.fail_unnamed(0xC000);
            pass_over(field).await?;
        } else {
            let result = receiving.one_file(chunks_of(field)).await?;
            receiving.tally.count(result);
        }
        if receiving.tally.parts() > MOST_PARTS {
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too many parts in one request"));
        }
    }
    Ok(())
}

impl Receiving {
    /// Streams one file into ingest, which blocks on a thread of its own.
    async fn one_file(
        &self,
        mut bytes: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> Result<Result<Stored, IngestError>, Problem> {
        let (chunks, mut reader) = pipe();
        let (ingest, name, study) = (self.app.ingest.clone(), self.sender.clone(), self.study.clone());
        let worker = tokio::task::spawn_blocking(move || ingest.receive_file(&name, study.as_ref(), &mut reader));
        let mut broken = None;
        loop {
            let Ok(chunk) = tokio::time::timeout(PATIENCE, bytes.next()).await else {
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body stopped coming"));
            };
            let Some(chunk) = chunk else {
                let _ = chunks.send(Ok(Bytes::new())).await;
                break;
            };
            // An empty chunk would say that this is the end.
            if chunk.as_ref().is_ok_and(Bytes::is_empty) {
                continue;
            }
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
}

/// The media type and its parameters, lower case, quotes off.
fn split_content_type(text: &str) -> (String, Vec<(String, String)>) {
    let mut parts = split(text, ';').into_iter();
    let media = parts.next().unwrap_or_default().trim().to_lowercase();
    let parameter =
        |p: String| p.split_once('=').map(|(n, v)| (n.trim().to_lowercase(), v.trim().trim_matches('"').to_string()));
    (media, parts.filter_map(parameter).collect())
}
