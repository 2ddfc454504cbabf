//! Health, metrics, and what became of a study.

use super::asked::{journalled, uid};
use super::problem::Problem;
use super::router::App;
use crate::access::Principal;
use crate::index::{Job, JobKind};
use crate::ingest::now_ms;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;
use std::sync::Arc;

/// `GET /healthz`: 200 when the node can store and find, else 503 with what is wrong.
pub async fn health(State(app): State<Arc<App>>) -> Response {
    let checked = tokio::task::spawn_blocking(move || {
        let counts = app.index.counts();
        let free = app.store.free_bytes();
        let space = free.as_ref().is_ok_and(|free| *free >= app.reserve_bytes);
        let healthy = counts.is_ok() && space;
        let body = json!({
            "status": if healthy { "ok" } else { "failing" },
            "index": counts.as_ref().map_or_else(ToString::to_string, |_| "ok".into()),
            "disk": if space { "ok" } else { "below the reserve (storage.reserve_mib)" },
            "free_bytes": free.unwrap_or(0),
            "counts": counts.ok(),
        });
        (if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
    });
    checked.await.map_err(super::problem::task_failed).into_response()
}

/// `GET /metrics`, for Prometheus.
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    if let Ok(counts) = app.index.counts() {
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
        let set = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
        set("hutong_studies", counts.studies);
        set("hutong_original_instances", counts.originals);
        set("hutong_marked_instances", counts.marked);
        set("hutong_quality_reports", counts.reports);
        set("hutong_stored_bytes", counts.bytes);
        set("hutong_free_bytes", app.store.free_bytes().unwrap_or(0));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

/// `GET /api/v1/studies/{study}`: its state and verdict.
pub async fn study(
    State(app): State<Arc<App>>,
    Path(study): Path<String>,
    Extension(by): Extension<Principal>,
) -> Result<Response, Problem> {
    let uid = uid(&study, "Study Instance UID")?;
    journalled(&app, "verdict", &by, vec![format!("StudyInstanceUID={uid}")], 1)?;
    let row = app.index.study(&uid)?.ok_or_else(|| Problem::unknown("this study"))?;
    let verdict = app.index.verdict(&uid)?;
    let current = verdict.as_ref().is_some_and(|v| v.revision == row.revision);
    let body = json!({
        "study": uid,
        "state": row.state,
        "revision": row.revision,
        "instances": row.originals.1,
        "marked": row.marked.1,
        "recognised": row.recognised,
        "verdict_is_current": current,
        "verdict": verdict,
    });
    Ok(Json(body).into_response())
}

/// `POST /api/v1/studies/{study}/complete`: no more images will come; it is assessed now.
pub async fn complete(State(app): State<Arc<App>>, Path(study): Path<String>) -> Result<StatusCode, Problem> {
    let uid = uid(&study, "Study Instance UID")?;
    app.index.study(&uid)?.ok_or_else(|| Problem::unknown("this study"))?;
    let waiting = app.index.due(i64::MAX, usize::MAX)?;
    if let Some(job) = waiting.into_iter().find(|j| j.study == uid && j.kind == JobKind::Assess) {
        let now = Job { due_ms: now_ms(), ..job.clone() };
        app.index.reschedule(&job, Some(now))?;
    }
    Ok(StatusCode::ACCEPTED)
}
