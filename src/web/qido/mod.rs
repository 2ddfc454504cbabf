//! QIDO-RS (PS3.18 10.6): search for studies, series and instances.

mod ask;
mod rows;

use self::ask::Sought;
use super::accept::Offer;
use super::asked::{Asked, uid};
use super::multipart::Boundary;
use super::problem::Problem;
use super::router::App;
use super::wado::metadata::OFFERS;
use crate::dicom::{Uid, json, xml};
use crate::index::names_a_patient;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json};

/// `GET /studies`
pub async fn studies(request: Asked) -> Result<Response, Problem> {
    answer(request, None, None, |app, sought, url| {
        let page = app.index.studies(&sought.search)?;
        Ok(Found { objects: page.rows.iter().map(|s| rows::study(s, sought, url)).collect(), more: page.more })
    })
    .await
}

/// `GET /series`
pub async fn all_series(request: Asked) -> Result<Response, Problem> {
    answer(request, None, None, |app, sought, url| series(app, sought, url, true)).await
}

/// `GET /studies/{study}/series`
pub async fn series_of_study(Path(study): Path<String>, request: Asked) -> Result<Response, Problem> {
    let study = uid(&study, "Study Instance UID")?;
    answer(request, Some(study), None, |app, sought, url| series(app, sought, url, false)).await
}

/// `GET /instances`
pub async fn all_instances(request: Asked) -> Result<Response, Problem> {
    answer(request, None, None, |app, sought, url| instances(app, sought, url, (true, true))).await
}

/// `GET /studies/{study}/instances`
pub async fn instances_of_study(Path(study): Path<String>, request: Asked) -> Result<Response, Problem> {
    let study = uid(&study, "Study Instance UID")?;
    answer(request, Some(study), None, |app, sought, url| instances(app, sought, url, (false, true))).await
}

/// `GET /studies/{study}/series/{series}/instances`
pub async fn instances_of_series(Path((study, series)): Path<(String, String)>, request: Asked) -> Result<Response, Problem> {
    let (study, series) = (uid(&study, "Study Instance UID")?, uid(&series, "Series Instance UID")?);
    answer(request, Some(study), Some(series), |app, sought, url| instances(app, sought, url, (false, false))).await
}

/// Matches as objects of the JSON model, and how many there are behind them.
struct Found {
    objects: Vec<Map<String, Json>>,
    more: usize,
}

fn series(app: &App, sought: &Sought, url: &str, with_study: bool) -> Result<Found, Problem> {
    let page = app.index.series(&sought.search)?;
    Ok(Found { objects: page.rows.iter().map(|m| rows::series(m, sought, url, with_study)).collect(), more: page.more })
}

fn instances(app: &App, sought: &Sought, url: &str, with: (bool, bool)) -> Result<Found, Problem> {
    let page = app.index.instances(&sought.search)?;
    let mut objects: Vec<Map<String, Json>> = page.rows.iter().map(|m| rows::instance(m, sought, url, with)).collect();
    if !sought.beyond.is_empty() {
        rows::add_beyond(app, sought, url, &page.rows, &mut objects)?;
    }
    Ok(Found { objects, more: page.more })
}

async fn answer(
    request: Asked,
    study: Option<Uid>,
    series: Option<Uid>,
    find: impl FnOnce(&App, &Sought, &str) -> Result<Found, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let accepted = request.accepts()?;
    accepted.utf8(&request.headers, &request.query)?;
    let offer = accepted.choose(OFFERS)?.0;
    let (url, app) = (request.url(), request.app.clone());
    let mut sought = Sought::read(request.query.clone(), request.root.view)?;
    (sought.search.study, sought.search.series) = (study, series);
    sought.search.only = request.shown();
    if request.principal.hospital.is_some() && !app.guard.may_browse() && !names_a_patient(&mut sought.search) {
        let detail = "name the patient: PatientID, or the whole PatientName and PatientBirthDate, or a study";
        // Who tries to browse stands in the journal.
        request.record_refusal("the search names no patient")?;
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if app.config.search_studies > 0 {
        sought.search.examined = app.config.search_studies;
    }
    let work = move || {
        let found = find(&app, &sought, &url)?;
        let keys = sought.search.keys.iter().filter(|k| !k.pattern.trim().is_empty());
        request.record_search(keys.map(|k| json::keyword(k.tag())).collect(), found.objects.len())?;
        Ok(respond(found, &sought, offer, &url))
    };
    tokio::task::spawn_blocking(work).await.map_err(super::problem::task_failed)?
}

fn respond(found: Found, sought: &Sought, offer: Offer, service: &str) -> Response {
    let mut headers = HeaderMap::new();
    let mut warn = |text: String| {
        if let Ok(value) = HeaderValue::from_str(&format!("299 {service}: {text}")) {
            headers.append(header::WARNING, value);
        }
    };
    if found.more > 0 {
        warn(format!("There are {} additional results that can be requested", found.more));
    }
    if !sought.unmatched.is_empty() {
        warn(format!("The following attributes are not matched here: {}", sought.unmatched.join(", ")));
    }
    if found.objects.is_empty() {
        return (StatusCode::NO_CONTENT, headers).into_response();
    }
    let (kind, text) = if offer.multipart {
        let (mut text, boundary) = (String::new(), Boundary::random());
        for object in &found.objects {
            text.push_str(&boundary.head(offer.media, None));
            text.push_str(&xml::of_json(object));
        }
        text.push_str(&boundary.tail());
        (format!("{offer}; boundary={boundary}"), text)
    } else {
        (offer.media.to_string(), serde_json::to_string(&found.objects).unwrap_or_default())
    };
    headers.extend(HeaderValue::from_str(&kind).map(|value| (header::CONTENT_TYPE, value)));
    (StatusCode::OK, headers, text).into_response()
}
