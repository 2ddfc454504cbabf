//! WADO-RS (PS3.18 10.4): objects, metadata, frames, bulk data and pictures, as streams.

pub mod bulk;
pub mod frames;
pub mod metadata;
pub mod objects;
pub mod rendered;
pub mod text;
