//! Hutong (互通): a DICOM imaging exchange node. See docs/architecture.md for the map and the rules between these modules.

pub mod dicom;
pub mod dimse;
pub mod exam;
pub mod index;
pub mod procedure;
pub mod config;
pub mod ingest;
pub mod journal;
pub mod store;
pub mod codec;
pub mod mark;
pub mod exchange;
pub mod retrieve;
pub mod work;
pub mod scp;
pub mod web;
pub mod node;
pub mod phantom;
