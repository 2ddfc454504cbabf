//! QIDO-RS (PS3.18 10.6): search for studies, series and instances.

mod ask;
mod rows;

use self::ask::Asked;
use super::accept::{Accepted, Offer};
use super::multipart::{BOUNDARY, TAIL, part_head};
use super::problem::Problem;
use super::router::{App, Root};
use super::wado::metadata::OFFERS;
use crate::dicom::{Uid, xml};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

fn uid(text: &str, what: &str) -> Result<Uid, Problem> {
    Uid::parse(text).map_err(|e| Problem::bad(format!("{what}: {e}")))
}

/// What a search request comes with.
pub struct Request {
    app: Arc<App>,
    root: Root,
    headers: HeaderMap,
    query: Vec<(String, String)>,
}

impl FromRequestParts<Arc<App>> for Request {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Request, Problem> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|e| Problem::bad(e.body_text()))?.0;
        let root = parts.extensions.get::<Root>().copied().ok_or_else(|| Problem::unknown("this root"))?;
        Ok(Request { app: app.clone(), root, headers: parts.headers.clone(), query })
    }
}

/// `GET /studies`
pub async fn studies(request: Request) -> Result<Response, Problem> {
    answer(request, None, None, |app, asked, url| {
        let page = app.index.studies(&asked.search)?;
        Ok(Found { objects: page.rows.iter().map(|s| rows::study(s, asked, url)).collect(), more: page.more })
    })
    .await
}

/// `GET /series`
pub async fn all_series(request: Request) -> Result<Response, Problem> {
    answer(request, None, None, |app, asked, url| series(app, asked, url, true)).await
}

/// `GET /studies/{study}/series`
pub async fn series_of_study(Path(study): Path<String>, request: Request) -> Result<Response, Problem> {
    let study = uid(&study, "Study Instance UID")?;
    answer(request, Some(study), None, |app, asked, url| series(app, asked, url, false)).await
}

/// `GET /instances`
pub async fn all_instances(request: Request) -> Result<Response, Problem> {
    answer(request, None, None, |app, asked, url| instances(app, asked, url, (true, true))).await
}

/// `GET /studies/{study}/instances`
pub async fn instances_of_study(Path(study): Path<String>, request: Request) -> Result<Response, Problem> {
    let study = uid(&study, "Study Instance UID")?;
    answer(request, Some(study), None, |app, asked, url| instances(app, asked, url, (false, true))).await
}

/// `GET /studies/{study}/series/{series}/instances`
pub async fn instances_of_series(Path((study, series)): Path<(String, String)>, request: Request) -> Result<Response, Problem> {
    let (study, series) = (uid(&study, "Study Instance UID")?, uid(&series, "Series Instance UID")?);
    answer(request, Some(study), Some(series), |app, asked, url| instances(app, asked, url, (false, false))).await
}

/// Matches as objects of the JSON model, and how many there are behind them.
struct Found {
    objects: Vec<Map<String, Json>>,
    more: usize,
}

fn series(app: &App, asked: &Asked, url: &str, with_study: bool) -> Result<Found, Problem> {
    let page = app.index.series(&asked.search)?;
    Ok(Found { objects: page.rows.iter().map(|m| rows::series(m, asked, url, with_study)).collect(), more: page.more })
}

fn instances(app: &App, asked: &Asked, url: &str, with: (bool, bool)) -> Result<Found, Problem> {
    let page = app.index.instances(&asked.search)?;
    let mut objects: Vec<Map<String, Json>> = page.rows.iter().map(|m| rows::instance(m, asked, url, with)).collect();
    if !asked.beyond.is_empty() {
        rows::add_beyond(app, asked, url, &page.rows, &mut objects)?;
    }
    Ok(Found { objects, more: page.more })
}

async fn answer(
    request: Request,
    study: Option<Uid>,
    series: Option<Uid>,
    find: impl FnOnce(&App, &Asked, &str) -> Result<Found, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let accepted = Accepted::of(&request.headers, &request.query, request.app.config.lenient_accept)?;
    accepted.utf8(&request.headers, &request.query)?;
    let offer = accepted.choose(OFFERS)?.0;
    let url = request.root.url(&request.app, &request.headers);
    let mut asked = Asked::read(request.query, request.root.view)?;
    (asked.search.study, asked.search.series) = (study, series);
    if request.app.config.search_studies > 0 {
        asked.search.examined = request.app.config.search_studies;
    }
    let app = request.app;
    let work = move || find(&app, &asked, &url).map(|found| respond(found, &asked, offer, &url));
    tokio::task::spawn_blocking(work).await.map_err(super::problem::task_failed)?
}

fn respond(found: Found, asked: &Asked, offer: Offer, service: &str) -> Response {
    let mut headers = HeaderMap::new();
    let mut warn = |text: String| {
        if let Ok(value) = HeaderValue::from_str(&format!("299 {service}: {text}")) {
            headers.append(header::WARNING, value);
        }
    };
    if found.more > 0 {
        warn(format!("There are {} additional results that can be requested", found.more));
    }
    if !asked.unmatched.is_empty() {
        warn(format!("The following attributes are not matched here: {}", asked.unmatched.join(", ")));
    }
    if found.objects.is_empty() {
        return (StatusCode::NO_CONTENT, headers).into_response();
    }
    let (kind, text) = if offer.multipart {
        let mut text = String::new();
        for object in &found.objects {
            text.push_str(&part_head(offer.media, None));
            text.push_str(&xml::of_json(object));
        }
        text.push_str(TAIL);
        (format!("{offer}; boundary={BOUNDARY}"), text)
    } else {
        (offer.media.to_string(), serde_json::to_string(&found.objects).unwrap_or_default())
    };
    headers.extend(HeaderValue::from_str(&kind).map(|value| (header::CONTENT_TYPE, value)));
    (StatusCode::OK, headers, text).into_response()
}
