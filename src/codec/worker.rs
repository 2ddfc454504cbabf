//! The worker process: reads requests from standard input, answers on standard output, until the input ends.

use super::protocol::{Request, Response, Task, receive, send};
use super::{DecodeError, Frame, decode, encode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Longest request body, bytes.
const MAX_REQUEST: u64 = 1 << 31;

/// Longest codestream that an encoder writes to its file in memory, bytes.
const LARGEST_FILE: u64 = 1 << 30;

/// Lets files be written, or not: an encoder needs one, a decoder never does.
pub(super) fn allow_files(allow: bool) -> Option<()> {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let current = if allow { maximum } else { Some(0) };
    // Outside of a worker (in tests) nothing is limited.
    if maximum.is_none() { Some(()) } else { setrlimit(Resource::Fsize, Rlimit { current, maximum }).ok() }
}

/// Runs until the input ends. `memory_mib` bounds the address space; no file can be written but by an encoder, no core dumped.
///
/// # Errors
/// A pipe is broken.
pub fn run(memory_mib: u64) -> io::Result<()> {
    let limit = |resource, bytes| setrlimit(resource, Rlimit { current: Some(bytes), maximum: Some(bytes) });
    limit(Resource::As, memory_mib.saturating_mul(1 << 20))?;
    limit(Resource::Core, 0)?;
    setrlimit(Resource::Fsize, Rlimit { current: Some(0), maximum: Some(LARGEST_FILE) })?;
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
        let result = match request.task {
            Task::Decode => decode::decode(&request.layout, &request.transfer_syntax, fragments),
            Task::Encode => {
                let frame = Frame { layout: request.layout, bytes: fragments.concat() };
                encode::encode(&frame, &request.transfer_syntax).map(|bytes| Frame { layout: frame.layout, bytes })
            }
        };
        match result {
            Ok(frame) => send(&mut output, &Response::Done(frame.layout), &frame.bytes)?,
            Err(DecodeError::Unsupported(syntax)) => send(&mut output, &Response::Unsupported(syntax), &[])?,
            Err(DecodeError::Damaged(why)) => send(&mut output, &Response::Damaged(why), &[])?,
            Err(e) => send(&mut output, &Response::Damaged(e.to_string()), &[])?,
        }
    }
}
