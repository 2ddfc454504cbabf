//! The journal as FHIR AuditEvent, for an auditor of the owner's.

use super::exchange::statistics::start_of;
use super::problem::{Problem, task_failed};
use super::router::App;
use crate::audit::{of, resource};
use crate::journal::{self, Place};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

/// Events of one answer, and what one may ask for.
const PAGE: usize = 100;
const MOST: usize = 1_000;
/// Records that are read at a time.
const CHUNK: usize = 5_000;

/// `GET /api/v1/fhir/AuditEvent?date=ge2026-01-01&date=lt2026-02-01&_count=100&_after=1234`: in the journal's order; `_after` is the number of
/// the last record that is known.
///
/// # Errors
/// A parameter does not read, or the journal.
pub async fn events(State(app): State<Arc<App>>, Query(query): Query<Vec<(String, String)>>) -> Result<Response, Problem> {
    let (mut from, mut to, mut count, mut next) = (i64::MIN, i64::MAX, PAGE, 0u64);
    for (name, value) in &query {
        let number = || value.parse::<u64>().map_err(|_| Problem::bad(format!("{name} is a number")));
        match name.as_str() {
            "date" => match value.split_at_checked(2) {
                Some(("ge", day)) => from = start_of(day, name)?,
                Some(("lt", day)) => to = start_of(day, name)?,
                _ => return Err(Problem::bad("date is ge or lt and a day: ge2026-01-01")),
            },
            "_count" => count = usize::try_from(number()?).unwrap_or(MOST).clamp(1, MOST),
            "_after" => next = number()?.saturating_add(1),
            other => {
                return Err(Problem::bad(format!("{other:?} is no parameter of this search; date, _count and _after are")));
            }
        }
    }
    let work = move || {
        let (mut found, mut last, mut place) = (Vec::new(), None, Place::default());
        loop {
            let (records, behind) = journal::since(app.journal.path(), place, CHUNK)?;
            if records.is_empty() {
                break;
            }
            place = behind;
            for record in records.iter().filter(|r| r.n >= next && (from..to).contains(&r.at_ms)) {
                if let Some(told) = of(&record.event) {
                    found.push(resource(&told, record.n, record.at_ms, &app.name));
                    last = Some(record.n);
                }
                if found.len() == count {
                    return Ok((found, last));
                }
            }
        }
        Ok((found, None))
    };
    let found: std::io::Result<_> = tokio::task::spawn_blocking(work).await.map_err(task_failed)?;
    let (found, more) =
        found.map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the journal does not read: {e}")))?;
    let entries: Vec<_> =
        found.into_iter().map(|resource| json!({"resource": resource, "search": {"mode": "match"}})).collect();
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset"});
    if let (Some(object), false) = (bundle.as_object_mut(), entries.is_empty()) {
        object.insert("entry".into(), entries.into());
    }
    if let (Some(object), Some(last)) = (bundle.as_object_mut(), more) {
        let dates: String = query.iter().filter(|(n, _)| n == "date").map(|(_, v)| format!("date={v}&")).collect();
        let url = format!("AuditEvent?{dates}_count={count}&_after={last}");
        object.insert("link".into(), json!([{"relation": "next", "url": url}]));
    }
    Ok(([(header::CONTENT_TYPE, "application/fhir+json; charset=utf-8")], bundle.to_string()).into_response())
}
