//! What holds for every request: an id in the log and in the answer, cross-origin rules, problem bodies for what the routes refuse,
//! compression of text.

use super::multipart::is_overloaded;
use super::problem::Problem;
use super::router::App;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tower_http::compression::predicate::Predicate;
use tracing::Instrument;

/// Names a request in the log and in its answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Around every request.
pub async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    // HTTP/2 names the host in its own place.
    let host = request.uri().authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    if let Some(host) = host.filter(|_| !request.headers().contains_key(header::HOST)) {
        request.headers_mut().insert(header::HOST, host);
    }
    let id = id_of(request.headers());
    let origin = allowed_origin(&app.config.cors_origins, request.headers());
    if let Some(answer) = preflight(&request, origin.as_ref()) {
        return answer;
    }
    let (method, begun) = (request.method().clone(), Instant::now());
    let span = tracing::info_span!("http", id);
    let mut response = match refused(&request) {
        Some(refusal) => refusal,
        None => next.run(request).instrument(span).await,
    };
    explain(&method, &mut response);
    let headers = response.headers_mut();
    if let Some(origin) = origin {
        cross_origin(headers, origin);
    } else if !app.config.cors_origins.is_empty() {
        // Another origin would get another answer.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    headers.extend(HeaderValue::from_str(&id).map(|id| (REQUEST_ID, id)));
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    metrics::counter!("hutong_http_requests_total", "status" => response.status().as_str().to_string()).increment(1);
    metrics::histogram!("hutong_http_seconds").record(begun.elapsed().as_secs_f64());
    response
}

/// What is not even begun.
fn refused(request: &Request) -> Option<Response> {
    if request.version() == Version::HTTP_11 && !request.headers().contains_key(header::HOST) {
        return Some(Problem::bad("the request has no Host (RFC 9112 section 3.2)").into_response());
    }
    // What is below a study may be long; searches of studies, health and all that is stored go on.
    if request.method() != Method::GET || !request.uri().path().contains("/studies/") || !is_overloaded() {
        return None;
    }
    let detail = "too many answers are being read at a time; ask again in a few seconds";
    Some(([(header::RETRY_AFTER, "5")], Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)).into_response())
}

/// The client's own id if it is a plain word, else a new one.
fn id_of(headers: &HeaderMap) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let plain =
        |t: &&str| (1..=64).contains(&t.len()) && t.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let theirs = headers.get(&REQUEST_ID).and_then(|v| v.to_str().ok()).filter(plain);
    theirs.map_or_else(
        || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("{:x}-{:x}", since.as_millis(), NEXT.fetch_add(1, Ordering::Relaxed))
        },
        str::to_string,
    )
}

fn allowed_origin(allowed: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    if allowed.iter().any(|a| a == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    allowed.iter().any(|a| a.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

fn cross_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let exposed = "warning, etag, content-location, content-range, accept-ranges, retry-after, x-request-id";
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
}

/// A browser that asks whether a page of another origin may ask; without an allowed origin it gets no leave.
fn preflight(request: &Request, origin: Option<&HeaderValue>) -> Option<Response> {
    if request.method() != Method::OPTIONS || !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        cross_origin(headers, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, OPTIONS"));
        let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(HeaderValue::from_static("accept, content-type")));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    Some(response)
}

/// Gives refusals that come from the framework a problem body like all others; OPTIONS on a resource says its methods.
fn explain(method: &Method, response: &mut Response) {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let allow = response.headers().get(header::ALLOW).cloned();
    if method == Method::OPTIONS && status == StatusCode::METHOD_NOT_ALLOWED {
        *response = StatusCode::NO_CONTENT.into_response();
    } else if (status.is_client_error() || status.is_server_error()) && (kind.is_empty() || kind.starts_with("text/plain")) {
        let detail = match status {
            StatusCode::METHOD_NOT_ALLOWED => "this resource has no such method; Allow says which it has",
            StatusCode::PAYLOAD_TOO_LARGE => "the body is longer than http.max_body_mib",
            StatusCode::BAD_REQUEST => "the path or query does not decode",
            _ => "the request cannot be answered",
        };
        *response = Problem::new(status, detail).into_response();
    }
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
}

/// Text is compressed; images are already, and native ones would cost more time than they save.
#[derive(Debug, Clone, Copy)]
pub struct Text;

impl Predicate for Text {
    fn should_compress<B>(&self, response: &axum::http::Response<B>) -> bool
    where
        B: axum::body::HttpBody,
    {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let is_text = ["json", "xml", "text/"].iter().any(|word| kind.contains(word));
        is_text && response.status() != StatusCode::PARTIAL_CONTENT && response.body().size_hint().upper() != Some(0)
    }
}
