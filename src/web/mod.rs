//! What HTTP drives: DICOMweb on two roots (PS3.18), the API, health and metrics.
//!
//! `/dicom-web` shows the owner everything; `/exchange/dicom-web` shows recognised studies and their marked copies only.

mod accept;
mod api;
mod multipart;
mod problem;
mod qido;
mod reports;
mod router;
mod rulings;
mod stow;
mod wado;

pub use router::{App, router};
