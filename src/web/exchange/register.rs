//! The register of hospitals over the API: read, and replaced as a whole. The owner's.

use super::blocking;
use crate::access::Principal;
use crate::exchange::register::Register;
use crate::ingest::now_ms;
use crate::journal::Event;
use crate::web::problem::Problem;
use crate::web::router::App;
use axum::Extension;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Longest register, bytes.
const MOST: usize = 4 << 20;

fn tag(text: &str) -> String {
    format!("\"{}\"", crate::access::digest(text))
}

fn answer(text: String) -> Response {
    let register = Register::parse(&text).unwrap_or_default();
    let few = register.too_few_rounds(&crate::ingest::china_day(0));
    let warnings: Vec<String> =
        few.iter().map(|(code, category, n)| format!("{code} {category} {n}").replace("  ", " ")).collect();
    let headers = [(header::CONTENT_TYPE, "application/toml; charset=utf-8".to_string()), (header::ETAG, tag(&text))];
    // Hospitals with fewer than two rounds of assessment in a year (YB 六(二)).
    let warned = [("x-too-few-rounds", warnings.join(", "))];
    if warnings.is_empty() { (headers, text).into_response() } else { (headers, warned, text).into_response() }
}

/// `GET /api/v1/register`: its TOML, with an entity tag; hospitals with fewer than two rounds in a year in `X-Too-Few-Rounds`.
///
/// # Errors
/// None is configured.
pub async fn show(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    blocking(&app, |app| {
        app.entitled.register.text().map(answer).ok_or_else(|| Problem::unknown("a register (exchange.register)"))
    })
    .await
}

/// `PUT /api/v1/register` with `If-Match`: in its place, the old one kept beside it. What is revoked is withdrawn within seconds.
///
/// # Errors
/// It does not read (422), somebody changed it meanwhile (412), or it cannot be kept.
pub async fn replace(
    State(app): State<Arc<App>>,
    Extension(by): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    let seen = request.headers().get(header::IF_MATCH).and_then(|v| v.to_str().ok()).map(str::to_string);
    let seen = seen.ok_or_else(|| {
        Problem::new(StatusCode::PRECONDITION_REQUIRED, "send If-Match with the ETag of the register you saw")
    })?;
    let large = |_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a register is at most 4 MiB");
    let bytes = to_bytes(request.into_body(), MOST).await.map_err(large)?;
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| Problem::bad("the register is TOML in UTF-8"))?;
    Register::parse(&text).map_err(|e| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, e))?;
    blocking(&app, move |app| {
        let register = &app.entitled.register;
        let failed = |e: std::io::Error| {
            tracing::error!(error = %e, "the register cannot be kept");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the register cannot be kept: the disk refuses")
        };
        let matches = |now: &str| seen == "*" || tag(now) == seen;
        let event = Event::RegisterChanged { by: by.name.clone(), digest: crate::access::digest(&text) };
        let record = || app.journal.append(event, now_ms(), true);
        match register.replace(&text, matches, record).map_err(failed)? {
            true => Ok(answer(text)),
            false => Err(Problem::new(StatusCode::PRECONDITION_FAILED, "the register was changed meanwhile; look at it first")),
        }
    })
    .await
}
