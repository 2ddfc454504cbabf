//! What DIMSE drives: the listener and, one file each, the services it gives.

mod echo;
mod find;
mod listener;
mod mpps;
mod policy;
mod store;

pub use listener::Listener;
