//! What node and worker say to each other over a pipe: a length, a JSON head, a length, bytes; both ways.

use super::DecodeError;
use crate::dicom::image::Layout;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Fragments follow, samples come back.
    Decode,
    /// Samples follow, one fragment comes back.
    Encode,
}

/// One frame to decode or to encode.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Which of the two.
    pub task: Task,
    /// Shape that the header promises; frames is 1.
    pub layout: Layout,
    /// Transfer syntax of the fragments.
    pub transfer_syntax: String,
    /// Lengths of the fragments that follow.
    pub fragments: Vec<usize>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// Samples, or a fragment, follow.
    Done(Layout),
    /// Nothing follows.
    Unsupported(String),
    /// Nothing follows.
    Damaged(String),
}

impl Response {
    /// As the caller's result.
    pub fn into_result(self) -> Result<Layout, DecodeError> {
        match self {
            Response::Done(layout) => Ok(layout),
            Response::Unsupported(syntax) => Err(DecodeError::Unsupported(syntax)),
            Response::Damaged(why) => Err(DecodeError::Damaged(why)),
        }
    }
}

/// No head is longer.
const MAX_HEAD: u64 = 1 << 24;

/// Sends a head with its bytes.
///
/// # Errors
/// The pipe is broken.
pub fn send<T: Serialize>(out: &mut impl Write, head: &T, bytes: &[u8]) -> io::Result<()> {
    let head = serde_json::to_vec(head).map_err(io::Error::other)?;
    out.write_all(&(head.len() as u64).to_le_bytes())?;
    out.write_all(&head)?;
    out.write_all(&(bytes.len() as u64).to_le_bytes())?;
    out.write_all(bytes)?;
    out.flush()
}

/// Receives a head with its bytes, at most `limit` of them.
///
/// # Errors
/// The pipe is broken, or what came is not of the protocol.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read, limit: u64) -> io::Result<(T, Vec<u8>)> {
    let head = block(from, MAX_HEAD)?;
    let head = serde_json::from_slice(&head).map_err(io::Error::other)?;
    Ok((head, block(from, limit)?))
}

fn block(from: &mut impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut length = [0u8; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > limit {
        return Err(io::Error::other("a block over its limit"));
    }
    let mut bytes = Vec::new();
    if from.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}
