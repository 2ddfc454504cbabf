//! What another hospital's node needs to verify a study that it fetches: who made it, what was recognised, and the digest of each object.

use crate::federation::{Listed, Manifest};
use crate::web::asked::Asked;
use crate::web::problem::{Problem, task_failed};
use axum::Json;
use axum::extract::Path;

/// `GET /exchange/dicom-web/studies/{study}/manifest`
///
/// # Errors
/// As of a retrieval: there is nothing, or nothing for this hospital.
pub async fn show(asked: Asked, Path(study): Path<String>) -> Result<Json<Manifest>, Problem> {
    let rows = asked.listed(&study).await?;
    let app = asked.app.clone();
    let work = move || {
        let Some(first) = rows.first() else { return Err(Problem::unknown("this study")) };
        let verdict = app.index.verdict(&first.study)?.ok_or_else(|| Problem::unknown("a verdict on this study"))?;
        let (region, edition) = verdict.region.clone().unwrap_or_default();
        let mark = app.procedures.region(&region, &edition).map_or_else(String::new, |r| r.mark.text());
        let listed = |row: &crate::index::InstanceRow| Listed {
            series: row.series.to_string(),
            instance: row.sop_instance.to_string(),
            sha256: Some(row.sha256.clone()),
        };
        Ok(Manifest {
            hospital: verdict.hospital.clone().unwrap_or_default(),
            items: verdict.accepted().map(|i| i.number).collect(),
            objects: rows.iter().map(listed).collect(),
            region,
            edition,
            mark,
        })
    };
    tokio::task::spawn_blocking(work).await.map_err(task_failed)?.map(Json)
}
