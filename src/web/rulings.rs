//! Rulings (裁定) of persons on a study's verdict: taken, journalled, and the study judged again with them.
//!
//! Never changes a verdict itself: the judge applies what the journal holds, so that a ruling survives a rebuilt index.

use super::asked::uid;
use super::problem::{self, Problem};
use super::router::App;
use crate::dicom::{Uid, tags};
use crate::exam::facts::rule_modality;
use crate::exam::lifecycle::{Event, step};
use crate::exam::ruling::{NotRuled, Ruling};
use crate::exam::verdict::{Outcome, Verdict};
use crate::index::StudyRow;
use crate::ingest::now_ms;
use crate::journal::Event as Record;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is posted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posted {
    item: Option<u32>,
    outcome: Outcome,
    by: String,
    reason: String,
    #[serde(default)]
    series: Vec<String>,
    /// The `contents` of the verdict that the person saw; without it the present one is meant.
    contents: Option<String>,
}

/// `POST /api/v1/studies/{study}/rulings`: 202 once it is journalled; the verdict follows.
pub async fn rule(
    State(app): State<Arc<App>>,
    Path(study): Path<String>,
    posted: Result<Json<Posted>, JsonRejection>,
) -> Result<Response, Problem> {
    let uid = uid(&study, "Study Instance UID")?;
    let Json(posted) = posted.map_err(|e| Problem::new(e.status(), e.body_text()))?;
    tokio::task::spawn_blocking(move || take(&app, &uid, posted)).await.map_err(problem::task_failed)?
}

fn take(app: &App, uid: &Uid, posted: Posted) -> Result<Response, Problem> {
    let row = app.index.study(uid)?.ok_or_else(|| Problem::unknown("this study"))?;
    let verdict = app.index.verdict(uid)?.filter(|v| v.revision == row.revision);
    let verdict = verdict.ok_or_else(|| Problem::new(StatusCode::CONFLICT, "the study has no verdict yet; wait for it"))?;
    if step(row.state, Event::Ruled(posted.outcome)).is_err() {
        let detail = format!("the study is {:?}: it can be ruled on when it is in review or ready", row.state);
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    if posted.contents.as_ref().is_some_and(|seen| *seen != verdict.contents) {
        let detail = "images came or went since this verdict was shown; look at the present one first";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let ruling = ruling(app, uid, &verdict, posted)?;
    journal(app, &row, &ruling)?;
    let body = serde_json::json!({"study": uid, "ruling": ruling});
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// The ruling, checked against what it is about.
fn ruling(app: &App, uid: &Uid, verdict: &Verdict, posted: Posted) -> Result<Ruling, Problem> {
    let series: Result<BTreeSet<Uid>, Problem> = posted.series.iter().map(|s| super::asked::uid(s, "series")).collect();
    let mut ruling = Ruling {
        contents: verdict.contents.clone(),
        item: posted.item,
        outcome: posted.outcome,
        series: series?,
        by: posted.by.trim().into(),
        reason: posted.reason.trim().into(),
        at_ms: now_ms(),
        overruled: vec![],
    };
    let modality = |m: &str| rule_modality(m).to_string();
    let contents = app.index.contents(uid)?;
    let originals = contents.iter().filter(|(_, rows)| rows.iter().any(|r| r.is_original()));
    let modalities: Vec<(Uid, String)> =
        originals.map(|(s, _)| (s.series.clone(), modality(s.attributes.text(tags::MODALITY).unwrap_or("")))).collect();
    let region = verdict.region.as_ref().and_then(|(code, edition)| app.procedures.region(code, edition));
    ruling.check(verdict, region, &modalities).map_err(refused)?;
    ruling.overruled = ruling.overrules(verdict);
    Ok(ruling)
}

fn refused(why: NotRuled) -> Problem {
    let status = match why {
        NotRuled::Fixed(_) | NotRuled::NoEdition => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Problem::new(status, why.to_string())
}

/// Into the journal first: what follows a crash in between is a ruling that the next judgement applies.
fn journal(app: &App, row: &StudyRow, ruling: &Ruling) -> Result<(), Problem> {
    let failed =
        |e: &dyn std::fmt::Display| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the journal failed: {e}"));
    let record = Record::Ruled { study: row.study.to_string(), ruling: serde_json::to_value(ruling).map_err(|e| failed(&e))? };
    app.journal.append(record, ruling.at_ms, true).map_err(|e| failed(&e))?;
    let outcome = format!("{:?}", ruling.outcome).to_lowercase();
    metrics::counter!("hutong_rulings_total", "outcome" => outcome).increment(1);
    tracing::info!(study = %row.study, item = ruling.item, outcome = ?ruling.outcome, "a person ruled");
    // What a person rejects is not shown while the study is judged again.
    let withdrawn = ruling.outcome == Outcome::Reject && row.recognised.instances > 0;
    if withdrawn {
        let (study, copies) = (row.study.to_string(), row.recognised.instances);
        let record = Record::Withdrawn { study, copies, why: "RULED".into() };
        app.journal.append(record, now_ms(), true).map_err(|e| failed(&e))?;
        metrics::counter!("hutong_withdrawals_total").increment(1);
    }
    app.ingest.judge_again(&row.study, withdrawn)?;
    Ok(())
}
