//! The only door out: stored objects as they are, their frames, their metadata, pictures of them, and marked copies.
//!
//! Never reads a whole object into memory where a frame will do.

mod copy;
mod frames;
mod object;
pub mod render;

pub use copy::{Copied, NoCopy, WRITTEN, carried, marked, marked_copy, refers, source_of, transcoded};
pub use object::{Object, ObjectError};
pub use render::{encode, picture};
