//! `GET /api/v1/statistics`: the figures of a period, for the owner and for publishing.

use super::blocking;
use crate::dicom::{Uid, tags};
use crate::exchange::statistics::{Collector, HEADS, Made, Statistics, Studies};
use crate::journal;
use crate::web::problem::Problem;
use crate::web::router::App;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;

/// Its parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// First day, YYYY-MM-DD (in China); none: from the beginning.
    from: Option<String>,
    /// Last day.
    to: Option<String>,
    /// `json` (the default) or `csv`.
    format: Option<String>,
    /// Without persons and small numbers.
    #[serde(default)]
    published: bool,
}

/// `GET /api/v1/statistics`
///
/// # Errors
/// A day that is none.
pub async fn show(State(app): State<Arc<App>>, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    let from = asked.from.as_deref().map_or(Ok(i64::MIN), |day| start_of(day, "from"))?;
    let to = asked.to.as_deref().map_or(Ok(i64::MAX), |day| start_of(day, "to").map(|ms| ms + DAY_MS))?;
    let statistics = blocking(&app, move |app| {
        let mut collector = Collector::new(from..to);
        let unreadable = |e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the journal does not read: {e}"));
        // All of it: what a later record corrects, and when a study was marked first, stands outside of the period.
        journal::scan(app.journal.path(), (i64::MIN, i64::MAX), |at, event| collector.take(at, event)).map_err(unreadable)?;
        let (device, made) = (|study: &str| device(app, study), |study: &str| made(app, study));
        Ok(collector.finish(&Studies { device: &device, made: &made, items: &|study| items(app, study) }))
    })
    .await?;
    match asked.format.as_deref() {
        Some("csv") => csv(&statistics, asked.published),
        None | Some("json") if !asked.published => Ok(Json(statistics).into_response()),
        None | Some("json") => {
            let rows = statistics.rows(true);
            let named = |row: &Vec<String>| HEADS.iter().zip(row).map(|(h, v)| ((*h).to_string(), v.clone().into())).collect();
            let rows: Vec<serde_json::Map<String, serde_json::Value>> = rows.iter().map(named).collect();
            Ok(Json(rows).into_response())
        }
        Some(other) => Err(Problem::bad(format!("format is json or csv, not {other:?}"))),
    }
}

/// Model and station that made a study; none where it is not here any more.
fn device(app: &App, study: &str) -> Option<String> {
    let contents = app.index.contents(&Uid::parse(study).ok()?).ok()?;
    let (series, _) = contents.iter().find(|(_, rows)| rows.iter().any(crate::index::InstanceRow::is_original))?;
    let text = |tag| series.attributes.text(tag).unwrap_or("").trim().to_string();
    let device = format!("{} {}", text(tags::MANUFACTURER_MODEL_NAME), text(tags::STATION_NAME)).trim().to_string();
    Some(if device.is_empty() { "?".into() } else { device })
}

/// The hospital that made a study, and its accepted items.
fn items(app: &App, study: &str) -> Option<Made> {
    let verdict = app.index.verdict(&Uid::parse(study).ok()?).ok()??;
    let items = verdict.accepted().map(|i| i.number).collect();
    Some(Made { producer: verdict.hospital.unwrap_or_default(), items })
}

/// When a study was made, milliseconds since 1970.
fn made(app: &App, study: &str) -> Option<i64> {
    let row = app.index.study(&Uid::parse(study).ok()?).ok()??;
    let digits = |tag| -> String { row.attributes.text(tag).unwrap_or("").chars().filter(char::is_ascii_digit).collect() };
    let (day, time) = (digits(tags::STUDY_DATE), digits(tags::STUDY_TIME));
    let number = |at: usize| time.get(at..at + 2).and_then(|t| t.parse::<i64>().ok());
    let written = format!("{}-{}-{}", day.get(..4)?, day.get(4..6)?, day.get(6..8)?);
    let seconds = number(0)? * 3600 + number(2).unwrap_or(0) * 60 + number(4).unwrap_or(0);
    Some(start_of(&written, "StudyDate").ok()? + seconds * 1000)
}

const DAY_MS: i64 = 86_400_000;

/// The beginning of a day in China, milliseconds since 1970.
///
/// # Errors
/// It is no day; `name` is the parameter's.
pub fn start_of(day: &str, name: &str) -> Result<i64, Problem> {
    let wrong = || Problem::bad(format!("{name} is a day like 2026-01-31"));
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let date = time::Date::parse(day, &format).map_err(|_| wrong())?;
    let start = date.midnight().assume_offset(time::macros::offset!(+8));
    Ok(start.unix_timestamp() * 1000)
}

fn csv(statistics: &Statistics, published: bool) -> Result<Response, Problem> {
    let failed = |e: &dyn std::fmt::Display| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADS).map_err(|e| failed(&e))?;
    for row in statistics.rows(published) {
        // A name that a spreadsheet would take for a formula stays a name.
        let safe =
            row.iter().map(|cell| if cell.starts_with(['=', '+', '-', '@']) { format!("'{cell}") } else { cell.clone() });
        writer.write_record(safe).map_err(|e| failed(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], bytes).into_response())
}
