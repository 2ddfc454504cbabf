//! Authorisation, once: who asks is found out before anything else, and what a path needs is one table. What is not in it needs an
//! administrator.
//!
//! Never tells a client why it was not recognised.

use super::problem::Problem;
use super::router::App;
use crate::access::{Credentials, Denied, Principal, Role};
use crate::federation::ON_BEHALF;
use crate::ingest::now_ms;
use crate::journal::Event;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// SHA-256 of the client's certificate, put into a request by the server.
#[derive(Clone)]
pub struct Certificate(pub Option<String>);

/// Paths by their beginning, the methods that are meant (empty: all), and who may; none: anybody.
const NEEDS: &[(&str, &[Method], Option<Role>)] = &[
    ("/healthz", &[], None),
    ("/public/", &[], None),
    ("/exchange/", &[], Some(Role::Exchange)),
    ("/dicom-web", &[], Some(Role::House)),
    ("/wado", &[], Some(Role::House)),
    ("/openapi.json", &[], Some(Role::House)),
    ("/metrics", &[], Some(Role::House)),
    ("/api/v1/external", &[], Some(Role::House)),
    ("/api/v1/studies/", &[Method::GET, Method::HEAD], Some(Role::House)),
    ("/", &[], Some(Role::Admin)),
];

fn needed(method: &Method, path: &str) -> Option<Role> {
    let fits = |(begin, methods, _): &&(&str, &[Method], Option<Role>)| {
        let rest = path.strip_prefix(begin);
        let below = rest.is_some_and(|rest| rest.is_empty() || begin.ends_with('/') || rest.starts_with('/'));
        below && (methods.is_empty() || methods.contains(method))
    };
    NEEDS.iter().find(fits).map_or(Some(Role::Admin), |(.., role)| *role)
}

/// Longest text of a header that says on whose behalf somebody asks.
const SAID_MOST: usize = 128;

/// Around every request: [`Principal`] and [`Said`] are put into it.
pub async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let Some(role) = needed(request.method(), request.uri().path()) else { return next.run(request).await };
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |c| c.0.ip());
    let asked = recognise(&app, &request, from);
    match asked {
        Ok(principal) if principal.role >= role => {
            let mut said = said(request.headers());
            // What a token says counts more than what a header does.
            said.extend(principal.says.clone());
            request.extensions_mut().insert(principal);
            request.extensions_mut().insert(Said(said));
            next.run(request).await
        }
        Ok(principal) => {
            record(&app, &principal.name, "role");
            Problem::new(StatusCode::FORBIDDEN, "this is not for you").into_response()
        }
        Err(why) => denied(&app, from, why),
    }
}

fn recognise(app: &App, request: &Request, from: IpAddr) -> Result<Principal, Denied> {
    let certificate = request.extensions().get::<Certificate>().and_then(|c| c.0.as_deref());
    let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let credentials = Credentials { certificate, authorization: text("authorization"), api_key: text("x-api-key") };
    app.guard.principal(&credentials, from)
}

/// On whose behalf a request comes, for the journal.
#[derive(Debug, Clone, Default)]
pub struct Said(pub BTreeMap<String, String>);

fn said(headers: &HeaderMap) -> BTreeMap<String, String> {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(SAID_MOST).collect::<String>();
    let one = |(header, name): &(&str, &str)| {
        let value = headers.get(*header)?.as_bytes();
        let value = clean(&String::from_utf8_lossy(value));
        (!value.is_empty()).then(|| ((*name).to_string(), value))
    };
    ON_BEHALF.iter().filter_map(one).collect()
}

/// Guesses of one address that are told in one line of the journal while it is locked out.
const TOLD_EACH: u32 = 100;

fn record(app: &App, by: &str, why: &str) {
    metrics::counter!("hutong_denied_total", "why" => why.to_string()).increment(1);
    journal_denial(app, by, why);
}

fn journal_denial(app: &App, by: &str, why: &str) {
    let event = Event::Denied { by: by.to_string(), why: why.to_string() };
    if let Err(e) = app.journal.append(event, now_ms(), false) {
        tracing::error!(error = %e, "the journal cannot be written");
    }
}

fn denied(app: &App, from: IpAddr, why: Denied) -> Response {
    let (status, name, value, detail) = match why {
        Denied::LockedOut | Denied::TooMany | Denied::Exceeded => {
            metrics::counter!("hutong_denied_total", "why" => why.to_string()).increment(1);
            // Every guess counts, but who guesses on and on must not fill the journal: the first, and then how many there were.
            let guesses = app.guard.guesses(from);
            if why == Denied::LockedOut && (guesses == 1 || guesses.is_multiple_of(TOLD_EACH)) {
                journal_denial(app, &from.to_string(), &format!("{why}, {guesses} attempts since"));
            }
            if why == Denied::Exceeded {
                journal_denial(app, &from.to_string(), &why.to_string());
            }
            (StatusCode::TOO_MANY_REQUESTS, header::RETRY_AFTER, "60", "too many attempts; wait a minute")
        }
        _ => {
            // A browser's first question is no attempt.
            if why != Denied::Nothing {
                record(app, &from.to_string(), &why.to_string());
                tracing::warn!(from = %from, why = %why, "a client was not recognised");
            }
            let challenge = "Bearer realm=\"hutong\"";
            (StatusCode::UNAUTHORIZED, header::WWW_AUTHENTICATE, challenge, "say who you are: certificate, token or key")
        }
    };
    let mut response = Problem::new(status, detail).into_response();
    let header: (HeaderName, HeaderValue) = (name, HeaderValue::from_static(value));
    response.headers_mut().extend([header]);
    response
}

/// The principal of a request; [`admit`] has put it there.
pub fn of(extensions: &axum::http::Extensions) -> Result<(Principal, Said), Problem> {
    let principal = extensions.get::<Principal>().cloned();
    let principal = principal.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "say who you are"))?;
    Ok((principal, extensions.get::<Said>().cloned().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_needs_an_administrator() {
        let get = |path| needed(&Method::GET, path);
        assert_eq!(get("/healthz"), None);
        assert_eq!(get("/exchange/dicom-web/studies"), Some(Role::Exchange));
        for path in ["/dicom-web", "/dicom-web/studies", "/wado", "/metrics", "/api/v1/studies/1.2/report"] {
            assert_eq!(get(path), Some(Role::House), "{path}");
        }
        for path in [
            "/api/v1/peers",
            "//dicom-web",
            "/dicom-webx/../dicom-web",
            "/Dicom-web",
            "/%64icom-web",
            "/exchange",
            "",
            "*",
            "/api/v1/outbox",
        ] {
            assert_eq!(get(path), Some(Role::Admin), "{path}");
        }
        assert_eq!(needed(&Method::POST, "/api/v1/studies/1.2/rulings"), Some(Role::Admin));
    }
}
