//! The exchange's services beside DICOMweb: reminders, decisions, decision support, figures, the public list.

pub mod cds;
pub mod decisions;
pub mod fhir;
mod fhir_search;
pub mod manifest;
pub mod public;
pub mod register;
pub mod reminders;
pub mod statistics;

use super::edge::{self, Said};
use super::problem::{Problem, task_failed};
use super::router::App;
use crate::access::Principal;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Longest body, bytes.
const MOST: usize = 1 << 20;

/// A JSON body, who sent it, and the headers.
struct Posted<T> {
    body: T,
    principal: Principal,
    said: Said,
    headers: HeaderMap,
}

async fn posted<T: DeserializeOwned>(request: Request) -> Result<Posted<T>, Problem> {
    let (parts, body) = request.into_parts();
    let (principal, said) = edge::of(&parts.extensions)?;
    let large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 1 MiB, or broke off");
    let bytes = to_bytes(body, MOST).await.map_err(large)?;
    let body = serde_json::from_slice(&bytes).map_err(|e| Problem::bad(format!("the JSON does not fit: {e}")))?;
    Ok(Posted { body, principal, said, headers: parts.headers })
}

/// The hospital that asks: the principal's, or the one that the owner names.
fn hospital_of(app: &App, principal: &Principal, named: Option<&str>) -> Result<String, Problem> {
    match (&principal.hospital, named) {
        (Some(own), None) => Ok(own.clone()),
        (Some(own), Some(named)) if own == named => Ok(own.clone()),
        (Some(_), Some(_)) => Err(Problem::new(StatusCode::FORBIDDEN, "you speak for another hospital")),
        (None, Some(named)) if app.entitled.register.current().hospital(named).is_some() => Ok(named.to_string()),
        (None, Some(_)) => Err(Problem::bad("hospital: no hospital of the register has this code")),
        (None, None) => Err(Problem::bad("hospital: name the hospital that asks")),
    }
}

async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let app = app.clone();
    tokio::task::spawn_blocking(move || work(&app)).await.map_err(task_failed)?
}
