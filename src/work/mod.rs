//! What time drives: a study that has been quiet is assessed, a verdict is carried out. Jobs are rows; a restart loses none.

mod aside;
mod assess;
mod decodable;
pub mod describe;
pub mod external;
mod pixels;
mod pull;
mod render;
mod reports;
mod runner;
mod send;
mod withdraw;

pub use assess::{Scope, assess, exam_date, today};
pub use runner::{Runner, Sending, Shop};

/// Why a job could not be done now; it is tried again later.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each names the part that failed")]
pub enum JobError {
    #[error(transparent)]
    Index(#[from] crate::index::IndexError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Decoder(#[from] crate::codec::DecodeError),
    #[error(transparent)]
    Ingest(#[from] crate::ingest::Failed),
    #[error(transparent)]
    Step(#[from] crate::exam::lifecycle::Illegal),
    #[error("the region of the verdict is not among the procedures any more")]
    NoRegion,
}
