//! What HTTP drives: DICOMweb on two roots (PS3.18), the API, health and metrics.
//!
//! `/dicom-web` shows the owner everything; `/exchange/dicom-web` shows recognised studies and their marked copies only.

mod accept;
mod api;
mod asked;
pub mod audit;
mod base;
mod capabilities;
mod commitment;
mod edge;
mod exchange;
pub mod external;
mod layers;
mod multipart;
mod openapi;
mod peers;
mod problem;
mod qido;
mod ranges;
mod reports;
pub mod resources;
mod router;
mod rulings;
pub mod server;
mod stow;
mod turns;
mod uri;
mod wado;

pub use commitment::Commitments;
pub use router::{App, Decisions, router};
pub use turns::Turns;
