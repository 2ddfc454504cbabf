//! The only door out: stored objects as they are, their frames, their metadata, pictures of them, and marked copies.
//!
//! Never reads a whole object into memory where a frame will do.

pub mod commitment;
mod copy;
pub mod describe;
pub mod document;
mod frames;
pub mod look;
mod lossy;
mod object;
mod opened;
mod outgoing;
pub mod pictures;
pub mod render;

pub use copy::{
    Copied, NoCopy, WRITTEN, carried, corner_of, marked, marked_copy, refers, shades_of, source_of, transcoded,
    transcoded_object,
};
pub use lossy::compression;
pub use object::{Object, ObjectError};
pub use opened::Opened;
pub use outgoing::{others, outgoing, rewritten};
pub use pictures::encode;
pub use render::picture;
