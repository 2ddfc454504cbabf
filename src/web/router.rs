//! The routes.

use super::commitment::{self, Commitments};
use super::edge;
use super::external::External;
use super::layers::{self, Text};
use super::problem::Problem;
use super::turns::Turns;
use super::wado::{bulk, frames, metadata, objects, rendered};
use super::{api, audit, base, capabilities, exchange, external, openapi, peers, qido, reports, rulings, stow, uri};
use crate::access::Guard;
use crate::codec::Pool;
use crate::config::Http;
use crate::exchange::entitled::Entitled;
use crate::index::{Index, View};
use crate::ingest::Ingest;
use crate::journal::Journal;
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::procedure::Procedures;
use crate::retrieve::Opened;
use crate::store::{Papers, Store};
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, options, post};
use axum::{Extension, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Objects that were opened last.
    pub opened: Opened,
    /// Turns at making pictures and frames.
    pub turns: Turns,
    /// Storage commitments.
    pub commitments: Commitments,
    /// What clinicians decided.
    pub decisions: Decisions,
    /// Who is known by DIMSE.
    pub peers: Arc<Peers>,
    /// What is to go out by DIMSE.
    pub outbox: Arc<Outbox>,
    /// Who asks.
    pub guard: Guard,
    /// What other hospitals are shown.
    pub entitled: Entitled,
    /// The record.
    pub journal: Arc<Journal>,
    /// The knowledge: rulings are checked against it.
    pub procedures: Arc<Procedures>,
    /// Metrics.
    pub metrics: PrometheusHandle,
    /// This node's AE title.
    pub name: String,
    /// Other hospitals' nodes.
    pub external: External,
    /// Settings.
    pub config: Http,
    /// The port that is listened on.
    pub port: u16,
    /// Below this, nothing new is taken, bytes.
    pub reserve_bytes: u64,
}

/// The records of decisions.
pub struct Decisions {
    /// The documents.
    pub papers: Papers,
    one: Mutex<()>,
}

impl Decisions {
    /// Below a data root.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(root: &std::path::Path) -> std::io::Result<Decisions> {
        Ok(Decisions { papers: Papers::open(root, "decisions")?, one: Mutex::default() })
    }

    /// Held while a decision is looked for and written: the same one twice at a time is one.
    pub fn lock(&self) -> MutexGuard<'_, ()> {
        self.one.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    /// The absolute URL of the root.
    pub fn url(&self, app: &App, headers: &HeaderMap) -> String {
        format!("{}{}", base::base(&app.config, app.port, headers), self.path)
    }
}

/// Where the owner sees everything.
pub const HOUSE: Root = Root { path: "/dicom-web", view: View::House };
/// What other hospitals are shown.
pub const EXCHANGE: Root = Root { path: "/exchange/dicom-web", view: View::Exchange };

/// Everything that is served.
pub fn router(app: Arc<App>) -> Router {
    let limit = usize::try_from(app.config.max_body_mib.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
    // Only the owner stores: the exchange root has no STOW-RS.
    let house = dicomweb(HOUSE)
        .merge(Router::new().route("/studies", post(stow::store)).route("/studies/{study}", post(stow::store_in)))
        .route("/commitment-requests/{transaction}", post(commitment::request).get(commitment::result))
        .layer(Extension(HOUSE));
    // Not of the standard: what a Hutong node verifies a fetched study with.
    let exchange = dicomweb(EXCHANGE)
        .merge(Router::new().route("/studies/{study}/manifest", get(exchange::manifest::show)).layer(Extension(EXCHANGE)));
    let roots = [(HOUSE, house), (EXCHANGE, exchange)];
    let mut all = Router::new();
    for (root, routes) in roots {
        // With and without a slash at the end.
        let service = || Router::new().route("/", options(capabilities::options)).layer(Extension(root));
        all = all
            .nest(root.path, routes)
            .route(root.path, options(capabilities::options).layer(Extension(root)))
            .nest(&format!("{}/", root.path), service());
    }
    all.route("/wado", get(uri::get).layer(Extension(HOUSE)))
        .route("/exchange/wado", get(uri::get).layer(Extension(EXCHANGE)))
        .route("/exchange/fhir/metadata", get(exchange::fhir::capabilities))
        .route("/exchange/fhir/{type}", get(exchange::fhir::search).layer(Extension(EXCHANGE)))
        .route(
            "/exchange/fhir/{type}/{id}",
            get(exchange::fhir::read).post(exchange::fhir::search_by_form).layer(Extension(EXCHANGE)),
        )
        .route("/exchange/reminders", post(exchange::reminders::remind))
        .route("/exchange/cds-services", get(exchange::cds::discovery))
        .route("/exchange/cds-services/{id}", post(exchange::cds::call))
        .route("/exchange/decisions", post(exchange::decisions::record))
        .route("/exchange/decisions/{id}", get(exchange::decisions::show))
        .route("/public/{form}", get(exchange::public::items))
        .route("/api/v1/register", get(exchange::register::show).put(exchange::register::replace))
        .route("/api/v1/statistics", get(exchange::statistics::show))
        .route("/openapi.json", get(openapi::document))
        .route("/healthz", get(api::health))
        .route("/metrics", get(api::metrics))
        .route("/api/v1/studies/{study}", get(api::study))
        .route("/api/v1/studies/{study}/complete", post(api::complete))
        .route("/api/v1/studies/{study}/report", get(reports::show).post(reports::store))
        .route("/api/v1/studies/{study}/reports", post(reports::add))
        .route("/api/v1/studies/{study}/rulings", post(rulings::rule))
        .route("/api/v1/studies/{study}/send", post(peers::send))
        .route("/api/v1/peers", get(peers::all))
        .route("/api/v1/peers/{aet}", get(peers::one).put(peers::put).delete(peers::delete))
        .route("/api/v1/peers/{aet}/pull", post(peers::pull))
        .route("/api/v1/fhir/AuditEvent", get(audit::events))
        .route("/api/v1/external", get(external::all))
        .route("/api/v1/external/searches", post(external::find))
        .route("/api/v1/external/retrievals", post(external::retrieve))
        .route("/api/v1/external/retrievals/{id}", get(external::progress).delete(external::forget))
        .route("/api/v1/outbox", get(peers::outbox))
        .route("/api/v1/outbox/{id}", delete(peers::drop_task))
        .route("/api/v1/outbox/{id}/retry", post(peers::retry))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "no such resource; DICOMweb is under /dicom-web and /exchange/dicom-web")
        })
        .layer(DefaultBodyLimit::disable())
        .layer(tower_http::limit::RequestBodyLimitLayer::new(limit))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(panicked))
        .layer(axum::middleware::from_fn_with_state(app.clone(), edge::admit))
        .layer(axum::middleware::from_fn_with_state(app.clone(), layers::around))
        .layer(
            tower_http::compression::CompressionLayer::new().quality(tower_http::CompressionLevel::Fastest).compress_when(Text),
        )
        .with_state(app)
}

/// A fault of ours costs one answer.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this request met a fault in the node; its log says more").into_response()
}

fn dicomweb(root: Root) -> Router<Arc<App>> {
    Router::new()
        .route("/studies", get(qido::studies))
        .route("/series", get(qido::all_series))
        .route("/instances", get(qido::all_instances))
        .route("/studies/{study}", get(objects::study))
        .route("/studies/{study}/metadata", get(metadata::study))
        .route("/studies/{study}/rendered", get(rendered::study))
        .route("/studies/{study}/thumbnail", get(rendered::study_thumbnail))
        .route("/studies/{study}/bulkdata", get(bulk::of_study))
        .route("/studies/{study}/pixeldata", get(bulk::pixels_of_study))
        .route("/studies/{study}/series", get(qido::series_of_study))
        .route("/studies/{study}/instances", get(qido::instances_of_study))
        .route("/studies/{study}/series/{series}", get(objects::series))
        .route("/studies/{study}/series/{series}/metadata", get(metadata::series))
        .route("/studies/{study}/series/{series}/rendered", get(rendered::series))
        .route("/studies/{study}/series/{series}/thumbnail", get(rendered::series_thumbnail))
        .route("/studies/{study}/series/{series}/bulkdata", get(bulk::of_series))
        .route("/studies/{study}/series/{series}/pixeldata", get(bulk::pixels_of_series))
        .route("/studies/{study}/series/{series}/instances", get(qido::instances_of_series))
        .route("/studies/{study}/series/{series}/instances/{instance}", get(objects::instance))
        .route("/studies/{study}/series/{series}/instances/{instance}/metadata", get(metadata::instance))
        .route("/studies/{study}/series/{series}/instances/{instance}/rendered", get(rendered::instance))
        .route("/studies/{study}/series/{series}/instances/{instance}/thumbnail", get(rendered::instance_thumbnail))
        .route("/studies/{study}/series/{series}/instances/{instance}/bulkdata", get(bulk::of_instance))
        .route("/studies/{study}/series/{series}/instances/{instance}/bulkdata/{*path}", get(bulk::value))
        .route("/studies/{study}/series/{series}/instances/{instance}/pixeldata", get(bulk::pixels_of_instance))
        .route("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}", get(frames::frames))
        .route("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered", get(rendered::frames))
        .route(
            "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
            get(rendered::frame_thumbnail),
        )
        .layer(Extension(root))
}
