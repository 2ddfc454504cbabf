//! The worker process: reads requests from standard input, answers on standard output, until the input ends.

use super::protocol::{Request, Response, receive, send};
use super::{DecodeError, decode};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// Longest request body, bytes.
const MAX_REQUEST: u64 = 1 << 31;

/// Runs until the input ends. `memory_mib` bounds the address space; no file can be written, no core dumped.
///
/// # Errors
/// A pipe is broken.
pub fn run(memory_mib: u64) -> io::Result<()> {
    let limit = |resource, bytes| setrlimit(resource, Rlimit { current: Some(bytes), maximum: Some(bytes) });
    limit(Resource::As, memory_mib.saturating_mul(1 << 20))?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let (request, bytes): (Request, Vec<u8>) = match receive(&mut input, MAX_REQUEST) {
            Ok(received) => received,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        };
        let mut rest = bytes.as_slice();
        let mut fragments = Vec::with_capacity(request.fragments.len());
        for length in &request.fragments {
            let Some((now, later)) = rest.split_at_checked(*length) else { return Err(io::ErrorKind::InvalidData.into()) };
            fragments.push(now.to_vec());
            rest = later;
        }
        match decode::decode(&request.layout, &request.transfer_syntax, fragments) {
            Ok(frame) => send(&mut output, &Response::Decoded(frame.layout), &frame.bytes)?,
            Err(DecodeError::Unsupported(syntax)) => send(&mut output, &Response::Unsupported(syntax), &[])?,
            Err(DecodeError::Damaged(why)) => send(&mut output, &Response::Damaged(why), &[])?,
            Err(e) => send(&mut output, &Response::Damaged(e.to_string()), &[])?,
        }
    }
}
