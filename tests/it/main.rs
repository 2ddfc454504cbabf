//! One integration binary: journeys over real sockets, crash and architecture tests, the labelled development set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod goldset;
