//! What a retrieve request comes with, which stored instances it names, and whether the client has the answer already.

use super::accept::Accepted;
use super::edge::{self, Said};
use super::problem::{Problem, task_failed};
use super::router::{App, Root};
use crate::access::Principal;
use crate::dicom::Uid;
use crate::exam::lifecycle::State;
use crate::index::{Filter, IndexError, InstanceRow, View};
use crate::ingest::now_ms;
use crate::journal::Event;
use axum::extract::{ConnectInfo, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;

/// Everything a retrieve request comes with.
#[derive(Clone)]
pub struct Asked {
    /// The node's parts.
    pub app: Arc<App>,
    /// The root it came to.
    pub root: Root,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its parameters, in order.
    pub query: Vec<(String, String)>,
    /// Who asks.
    pub principal: Principal,
    /// On whose behalf.
    pub said: Said,
    /// The address that it came from.
    pub peer: String,
    /// Its path and parameters as they came.
    pub path: String,
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Asked, Problem> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|e| Problem::bad(e.body_text()))?.0;
        let root = parts.extensions.get::<Root>().copied().ok_or_else(|| Problem::unknown("this root"))?;
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(String::new, |c| c.0.ip().to_string());
        let (principal, said) = edge::of(&parts.extensions)?;
        Ok(Asked {
            app: app.clone(),
            root,
            principal,
            said,
            headers: parts.headers.clone(),
            query,
            peer,
            path: parts.uri.to_string(),
        })
    }
}

/// A UID of a path or parameter.
///
/// # Errors
/// It is none; `what` names it.
pub fn uid(text: &str, what: &str) -> Result<Uid, Problem> {
    Uid::parse(text).map_err(|e| Problem::bad(format!("{what}: {e}")))
}

impl Asked {
    /// A header's text; empty when it is absent.
    pub fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// The absolute URL of the root.
    pub fn url(&self) -> String {
        self.root.url(&self.app, &self.headers)
    }

    /// The absolute URL of an instance.
    pub fn url_of(&self, row: &InstanceRow) -> String {
        address(&self.url(), row)
    }

    /// What it accepts.
    ///
    /// # Errors
    /// Nothing is said.
    pub fn accepts(&self) -> Result<Accepted, Problem> {
        Accepted::of(&self.headers, &self.query, self.app.config.lenient_accept)
    }

    /// What it accepts; DICOM and rendered media types must not be mixed.
    ///
    /// # Errors
    /// Nothing is said, or they are mixed.
    pub fn accepted(&self) -> Result<Accepted, Problem> {
        self.accepts()?.unmixed()
    }

    /// A parameter, unless it stands twice.
    ///
    /// # Errors
    /// It stands twice.
    pub fn parameter(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.query.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Problem::bad(format!("{name} stands twice"))),
            (value, None) => Ok(value),
        }
    }

    /// The instances that a path names, this root shows and the policy grants; at least one. Journalled as retrieved.
    ///
    /// # Errors
    /// A UID is none; nothing is there (404), or not any more (410).
    pub async fn rows(&self, study: &str, series: Option<&str>, instance: Option<&str>) -> Result<Vec<InstanceRow>, Problem> {
        let rows = self.looked_up(study, series, instance).await?;
        // Here, so that no way to what is stored goes around the journal.
        self.record(&rows)?;
        Ok(rows)
    }

    /// As [`Asked::rows`], of what is told about the instances and does not show them: journalled as a search.
    ///
    /// # Errors
    /// As [`Asked::rows`].
    pub async fn listed(&self, study: &str) -> Result<Vec<InstanceRow>, Problem> {
        let rows = self.looked_up(study, None, None).await?;
        self.record_search(vec!["manifest".into(), format!("StudyInstanceUID={study}")], rows.len())?;
        Ok(rows)
    }

    async fn looked_up(&self, study: &str, series: Option<&str>, instance: Option<&str>) -> Result<Vec<InstanceRow>, Problem> {
        let study = uid(study, "Study Instance UID")?;
        let series = series.map(|s| uid(s, "Series Instance UID")).transpose()?;
        let instance = instance.map(|i| uid(i, "SOP Instance UID")).transpose()?;
        let (app, view, only, named) = (self.app.clone(), self.root.view, self.shown(), study.to_string());
        let found = tokio::task::spawn_blocking(move || {
            // What is there and not for this hospital looks like what is not there.
            if only.is_some() && !app.index.study(&study)?.map_or(Ok(false), |row| only.allows(&row))? {
                return Err(Problem::unknown("what the path names"));
            }
            let rows = app.index.named(view, &study, series.as_ref(), instance.as_ref())?;
            if rows.is_empty() { Err(absent(&app, view, &study, series.as_ref(), instance.as_ref())?) } else { Ok(rows) }
        });
        let found: Result<Vec<InstanceRow>, Problem> = found.await.map_err(task_failed)?;
        if found.is_err() && self.principal.hospital.is_some() {
            // What another hospital asked for and was not shown: whether it is there or not is not said here either.
            self.record_refusal(&format!("nothing shown of study {named}"))?;
        }
        found
    }

    /// The one instance that a path names.
    ///
    /// # Errors
    /// As [`Asked::rows`].
    pub async fn row(&self, study: &str, series: &str, instance: &str) -> Result<InstanceRow, Problem> {
        let rows = self.rows(study, Some(series), Some(instance)).await?;
        rows.into_iter().next().ok_or_else(|| Problem::unknown("what the path names"))
    }

    /// The studies that may be seen beside what the root shows.
    pub fn shown(&self) -> Filter {
        match &self.principal.hospital {
            Some(hospital) => self.app.entitled.filter(hospital),
            None => Filter::default(),
        }
    }

    /// As it stands in the journal.
    pub fn by(&self) -> String {
        format!("{} {}", self.principal.name, self.peer)
    }

    /// Journals a retrieval.
    ///
    /// # Errors
    /// It cannot be recorded: then it is not granted.
    fn record(&self, rows: &[InstanceRow]) -> Result<(), Problem> {
        let Some(first) = rows.first() else { return Ok(()) };
        self.journal(Event::Retrieved {
            view: format!("{:?}", self.root.view).to_lowercase(),
            study: first.study.to_string(),
            by: self.by(),
            hospital: self.principal.hospital.clone().unwrap_or_default(),
            instances: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            on_behalf: self.said.0.clone(),
        })
    }

    /// Journals that something was refused which another hospital may not ask for.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn record_refusal(&self, why: &str) -> Result<(), Problem> {
        self.journal(Event::Denied { by: self.by(), why: why.into() })
    }

    /// Journals a search: which attributes it was narrowed by, not with what.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn record_search(&self, keys: Vec<String>, matches: usize) -> Result<(), Problem> {
        self.journal(Event::Queried {
            view: format!("{:?}", self.root.view).to_lowercase(),
            by: self.by(),
            keys,
            matches: u32::try_from(matches).unwrap_or(u32::MAX),
            on_behalf: self.said.0.clone(),
        })
    }

    /// Journals what is granted.
    ///
    /// # Errors
    /// It cannot be recorded.
    fn journal(&self, event: Event) -> Result<(), Problem> {
        append(&self.app, event)
    }

    /// The entity tag of an answer: a function of the stored bytes, of what was asked and of how it is answered.
    pub fn tag(&self, rows: &[InstanceRow], form: &str) -> String {
        let mut hash = Sha256::new();
        for row in rows {
            hash.update(row.sop_instance.as_str());
            hash.update(&row.sha256);
        }
        for part in [&self.url(), &self.path, form, env!("CARGO_PKG_VERSION")] {
            hash.update([0]);
            hash.update(part);
        }
        let digest: String = hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
        format!("\"{digest}\"")
    }

    /// 304 when the client has the answer with this tag already.
    pub fn unchanged(&self, tag: &str) -> Option<Response> {
        let known = self.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
        let has = known.flat_map(|v| v.split(',')).map(|t| t.trim().trim_start_matches("W/")).any(|t| t == tag || t == "*");
        has.then(|| (StatusCode::NOT_MODIFIED, [(header::ETAG, tag), (header::CACHE_CONTROL, CACHED)]).into_response())
    }
}

/// Images are private, and whether they may still be seen is asked each time.
pub const CACHED: &str = "private, no-cache";

/// The absolute URL of an instance below that of its root.
pub fn address(url: &str, row: &InstanceRow) -> String {
    address_of(url, &row.study, &row.series, &row.sop_instance)
}

/// As [`address`], by the instance's names.
pub fn address_of(url: &str, study: &Uid, series: &Uid, instance: &Uid) -> String {
    format!("{url}/studies/{study}/series/{series}/instances/{instance}")
}

/// Why a root shows nothing: copies that it showed once were withdrawn (410), or there never were any (404).
fn absent(app: &App, view: View, study: &Uid, series: Option<&Uid>, instance: Option<&Uid>) -> Result<Problem, IndexError> {
    let unknown = Problem::unknown("what the path names");
    if view == View::House {
        return Ok(unknown);
    }
    // While images come the copies of before are not withdrawn: the verdict on all of them is awaited.
    let settled = app.journal.was_withdrawn(study.as_str())
        && app.index.study(study)?.is_some_and(|s| matches!(s.state, State::Ready | State::Review));
    let contents = if settled { app.index.contents(study)? } else { Vec::new() };
    let rows = contents.iter().filter(|(s, _)| series.is_none_or(|u| *u == s.series)).flat_map(|(_, rows)| rows);
    let gone = rows.filter(|r| r.is_marked()).any(|r| instance.is_none_or(|u| *u == r.sop_instance));
    let why = || Problem::new(StatusCode::GONE, "the recognition was withdrawn; ask the hospital that produced the study");
    Ok(if gone { why() } else { unknown })
}

/// Journals that something was read by another way than a root's: a report, a record, a verdict.
///
/// # Errors
/// It cannot be recorded: then it is not shown.
pub fn journalled(app: &App, view: &str, by: &Principal, keys: Vec<String>, matches: usize) -> Result<(), Problem> {
    let matches = u32::try_from(matches).unwrap_or(u32::MAX);
    let event = Event::Queried { view: view.into(), by: by.name.clone(), keys, matches, on_behalf: by.says.clone() };
    append(app, event)
}

fn append(app: &App, event: Event) -> Result<(), Problem> {
    app.journal.append(event, now_ms(), false).map_err(|e| {
        tracing::error!(error = %e, "the journal cannot be written");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the journal cannot be written, so nothing is shown; see the node's log")
    })
}
