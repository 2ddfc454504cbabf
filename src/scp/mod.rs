//! What DIMSE drives: the listener and, one file each, the services it gives.

mod asking;
mod commitment;
mod echo;
mod find;
mod listener;
mod mpps;
mod policy;
mod retrieve;
mod silent;
mod store;

pub use listener::{Listener, Shared};
