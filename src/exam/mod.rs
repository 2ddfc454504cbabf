//! One examination as facts, and what follows from them: item, completeness, quality, verdict.
//!
//! PURE: no disk, no clock, no network. Never guesses: what is ambiguous becomes an outcome of its own.

pub mod alike;
pub mod classify;
pub mod complete;
pub mod facts;
pub mod finding;
pub mod geometry;
pub mod labelled;
pub mod lifecycle;
pub mod quality;
pub mod report;
pub mod ruling;
pub mod score;
pub mod verdict;

pub use facts::{ImageFacts, SeriesFacts, StudyFacts};
pub use finding::{Finding, Level};
