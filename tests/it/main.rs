//! One integration binary: journeys over real sockets, crashes, architecture, the labelled development set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod abuse;
mod architecture;
mod association;
mod classify;
mod crash;
mod exchange;
mod faults;
mod fuzz;
mod goldset;
mod hostile;
mod index;
mod journey;
mod lifecycle;
mod marking;
mod multiframe;
mod perception;
mod real;
mod real_faults;
mod report;
mod rulings;
#[path = "../fuzz/serve.rs"]
mod serve;
mod support;
mod withdrawal;
