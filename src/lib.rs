//! Hutong (互通): a DICOM imaging exchange node. See docs/architecture.md for the map and the rules between these modules.

pub mod access;
pub mod audit;
pub mod codec;
pub mod config;
pub mod dicom;
pub mod dimse;
pub mod exam;
pub mod exchange;
pub mod federation;
pub mod index;
pub mod ingest;
pub mod journal;
pub mod mark;
pub mod node;
pub mod outbox;
pub mod peers;
pub mod phantom;
pub mod procedure;
pub mod report;
pub mod retrieve;
pub mod scp;
pub mod store;
pub mod web;
pub mod work;
