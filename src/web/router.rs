//! The routes.

use super::problem::Problem;
use super::{api, qido, reports, rulings, stow, wado};
use crate::codec::Pool;
use crate::config::Http;
use crate::index::{Index, View};
use crate::ingest::Ingest;
use crate::journal::Journal;
use crate::procedure::Procedures;
use crate::store::Store;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use axum::{Extension, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;

/// What handlers work with.
pub struct App {
    /// Files.
    pub store: Arc<Store>,
    /// Facts.
    pub index: Arc<dyn Index>,
    /// The door in.
    pub ingest: Arc<Ingest>,
    /// Decoders.
    pub pool: Arc<Pool>,
    /// The record.
    pub journal: Arc<Journal>,
    /// The knowledge: rulings are checked against it.
    pub procedures: Arc<Procedures>,
    /// Metrics.
    pub metrics: PrometheusHandle,
    /// Settings.
    pub config: Http,
    /// Below this, nothing new is taken, bytes.
    pub reserve_bytes: u64,
}

/// One of the two DICOMweb roots.
#[derive(Debug, Clone, Copy)]
pub struct Root {
    /// Its path.
    pub path: &'static str,
    /// What it shows.
    pub view: View,
}

impl Root {
    /// The absolute URL of the root: the configured public one, else from the request's Host.
    pub fn url(&self, app: &App, headers: &HeaderMap) -> String {
        let host = || {
            let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("localhost");
            format!("http://{host}")
        };
        let base = app.config.public_url.clone().unwrap_or_else(host);
        format!("{}{}", base.trim_end_matches('/'), self.path)
    }
}

const HOUSE: Root = Root { path: "/dicom-web", view: View::House };
const EXCHANGE: Root = Root { path: "/exchange/dicom-web", view: View::Exchange };

/// Everything that is served.
pub fn router(app: Arc<App>) -> Router {
    let limit = usize::try_from(app.config.max_body_mib.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
    // Only the owner stores: the exchange root has no STOW-RS.
    let house = dicomweb(HOUSE)
        .merge(Router::new().route("/studies", post(stow::store)).route("/studies/{study}", post(stow::store_in)))
        .layer(Extension(HOUSE));
    Router::new()
        .nest(HOUSE.path, house)
        .nest(EXCHANGE.path, dicomweb(EXCHANGE))
        .route("/healthz", get(api::health))
        .route("/metrics", get(api::metrics))
        .route("/api/v1/studies/{study}", get(api::study))
        .route("/api/v1/studies/{study}/complete", post(api::complete))
        .route("/api/v1/studies/{study}/report", get(reports::show).post(reports::store))
        .route("/api/v1/studies/{study}/rulings", post(rulings::rule))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "no such resource; DICOMweb is under /dicom-web and /exchange/dicom-web")
        })
        .layer(DefaultBodyLimit::disable())
        .layer(tower_http::limit::RequestBodyLimitLayer::new(limit))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .with_state(app)
}

fn dicomweb(root: Root) -> Router<Arc<App>> {
    Router::new()
        .route("/studies", get(qido::studies))
        .route("/series", get(qido::all_series))
        .route("/instances", get(qido::all_instances))
        .route("/studies/{study}", get(wado::study))
        .route("/studies/{study}/metadata", get(wado::study_metadata))
        .route("/studies/{study}/rendered", get(wado::study_rendered))
        .route("/studies/{study}/series", get(qido::series_of_study))
        .route("/studies/{study}/instances", get(qido::instances_of_study))
        .route("/studies/{study}/series/{series}", get(wado::series))
        .route("/studies/{study}/series/{series}/metadata", get(wado::series_metadata))
        .route("/studies/{study}/series/{series}/rendered", get(wado::series_rendered))
        .route("/studies/{study}/series/{series}/instances", get(qido::instances_of_series))
        .route("/studies/{study}/series/{series}/instances/{instance}", get(wado::instance))
        .route("/studies/{study}/series/{series}/instances/{instance}/metadata", get(wado::instance_metadata))
        .route("/studies/{study}/series/{series}/instances/{instance}/rendered", get(wado::instance_rendered))
        .route("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}", get(wado::frames))
        .route("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered", get(wado::frame_rendered))
        .route("/studies/{study}/series/{series}/instances/{instance}/bulkdata/{*path}", get(wado::bulkdata))
        .layer(Extension(root))
}
