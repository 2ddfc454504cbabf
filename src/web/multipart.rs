//! Streams between threads that block and tasks that must not: bodies out of readers, readers out of bodies.

use axum::body::{Body, Bytes};
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes handed over at a time.
const CHUNK: usize = 1 << 18;
/// Chunks that may wait: memory is bounded by this whatever the object's size.
const WAITING: usize = 2;

/// Longest wait for a client to take the next chunk …
const PATIENCE: Duration = Duration::from_secs(120);
/// … and when there is hardly room for another body: who does not read goes first.
const HURRIED: Duration = Duration::from_secs(5);

/// Bodies that are written at a time: each holds a thread and its chunks. There are more threads than that, so that whoever asks for little is
/// answered meanwhile.
const BODIES: usize = 512;
static FREE: Semaphore = Semaphore::const_new(BODIES);
/// Bodies that wait for room, each with what was made for it already.
static QUEUED: AtomicUsize = AtomicUsize::new(0);
/// When so many wait, nothing more is begun.
const MOST_QUEUED: usize = 128;

/// Whether so many bodies wait that another request for one is better refused before anything is made for it.
pub fn is_overloaded() -> bool {
    QUEUED.load(Ordering::Relaxed) >= MOST_QUEUED
}

/// Runs `write` on a blocking thread; what it writes is the body. An error cuts the body off, so that nobody takes it for whole.
pub fn body(write: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static) -> Body {
    let (sender, mut receiver) = channel::<io::Result<Bytes>>(WAITING);
    // Set when all was written: a body that ends without it was cut off, and must not look whole.
    let whole = Arc::new(AtomicBool::new(false));
    let (written, mut told) = (whole.clone(), false);
    let run = move |_permit: SemaphorePermit<'static>, sender: Sender<io::Result<Bytes>>| {
        let mut writer = Writer { sender, buffer: Vec::with_capacity(CHUNK) };
        match write(&mut writer).and_then(|()| writer.flush()) {
            Ok(()) => written.store(true, Ordering::Release),
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
            Err(e) => tracing::warn!(error = %e, "a response was cut off"),
        }
    };
    match FREE.try_acquire() {
        Ok(permit) => drop(tokio::task::spawn_blocking(move || run(permit, sender))),
        Err(_) => drop(tokio::spawn(async move {
            QUEUED.fetch_add(1, Ordering::Relaxed);
            // Who has gone waits no more.
            let permit = tokio::select! {
                permit = FREE.acquire() => permit.ok(),
                () = sender.closed() => None,
                () = tokio::time::sleep(PATIENCE) => None,
            };
            QUEUED.fetch_sub(1, Ordering::Relaxed);
            if let Some(permit) = permit {
                drop(tokio::task::spawn_blocking(move || run(permit, sender)));
            }
        })),
    }
    // Who compresses a body asks once more after its end, which this stream bears.
    Body::from_stream(futures_util::stream::poll_fn(move |context| match receiver.poll_recv(context) {
        Poll::Ready(None) if !told && !whole.load(Ordering::Acquire) => {
            told = true;
            Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())))
        }
        polled => polled,
    }))
}

/// Where a blocking thread writes a body.
pub struct Writer {
    sender: Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Writer {
    /// Copies bytes of a file, read straight into the chunks that go out.
    ///
    /// # Errors
    /// The file is too short or fails, or the client went away.
    pub fn copy(&mut self, (file, start): &(File, u64), from: u64, length: u64) -> io::Result<()> {
        let (mut at, mut left) = (start + from, length);
        while left > 0 {
            if self.buffer.len() >= CHUNK {
                self.flush()?;
            }
            let begin = self.buffer.len();
            let room = (CHUNK - begin).min(usize::try_from(left).unwrap_or(CHUNK));
            self.buffer.resize(begin + room, 0);
            let got = file.read_at(self.buffer.get_mut(begin..).unwrap_or_default(), at)?;
            self.buffer.truncate(begin + got);
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += got as u64;
            left -= got as u64;
        }
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut chunk = Ok(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK)).into());
        let begun = Instant::now();
        // A client that reads no more must not hold this thread.
        loop {
            match Handle::current().block_on(self.sender.send_timeout(chunk, Duration::from_secs(1))) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Timeout(back)) => chunk = back,
                Err(SendTimeoutError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            let patience = if FREE.available_permits() < BODIES / 4 { HURRIED } else { PATIENCE };
            if begun.elapsed() >= patience {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }
}

/// What a blocking thread reads of a body that a task receives. It ends where an empty chunk says so: a sender that is gone without
/// saying it has broken off, and what came must not be taken for whole.
pub struct ChunkReader {
    receiver: Receiver<io::Result<Bytes>>,
    now: Bytes,
    ended: bool,
}

/// The two ends of a bounded stream of chunks; an empty chunk ends it.
pub fn pipe() -> (Sender<io::Result<Bytes>>, ChunkReader) {
    let (sender, receiver) = channel(WAITING);
    (sender, ChunkReader { receiver, now: Bytes::new(), ended: false })
}

impl Read for ChunkReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.receiver.blocking_recv() {
                Some(chunk) => {
                    self.now = chunk?;
                    self.ended = self.now.is_empty();
                }
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = buf.len().min(self.now.len());
        let now = self.now.split_to(count);
        if let Some(room) = buf.get_mut(..count) {
            room.copy_from_slice(&now);
        }
        Ok(count)
    }
}

/// What stands between the parts of one answer. It follows from what is answered and from a secret of this process: who stores an object
/// cannot write into it what would end a part of somebody's answer and begin another.
#[derive(Clone)]
pub struct Boundary(String);

impl Boundary {
    /// Of an answer with this entity tag, or other content that tells it from others.
    pub fn of(content: &str) -> Boundary {
        static SECRET: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
        let [first, second] = SECRET.each_ref().map(|keys| keys.hash_one(content));
        Boundary(format!("hutong-{first:016x}{second:016x}"))
    }

    /// Of an answer that is no other's.
    pub fn random() -> Boundary {
        Boundary::of(&RandomState::new().hash_one(0u8).to_string())
    }

    /// What opens a part.
    pub fn head(&self, content_type: &str, location: Option<&str>) -> String {
        let location = location.map_or_else(String::new, |l| format!("Content-Location: {l}\r\n"));
        format!("\r\n--{self}\r\nContent-Type: {content_type}\r\n{location}\r\n")
    }

    /// What closes the body.
    pub fn tail(&self) -> String {
        format!("\r\n--{self}--\r\n")
    }

    /// Opens a part.
    ///
    /// # Errors
    /// The reader of the body went away.
    pub fn part(&self, out: &mut Writer, content_type: &str, location: Option<&str>) -> io::Result<()> {
        out.write_all(self.head(content_type, location).as_bytes())
    }

    /// Closes the body.
    ///
    /// # Errors
    /// The reader of the body went away.
    pub fn end(&self, out: &mut Writer) -> io::Result<()> {
        out.write_all(self.tail().as_bytes())
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_tell_answers_apart_and_keep_to_one() {
        let (one, again, other) = (Boundary::of("a").to_string(), Boundary::of("a").to_string(), Boundary::of("b").to_string());
        assert!(one == again && one != other && one.len() <= 70, "{one} {again} {other}");
    }

    #[test]
    fn a_body_that_was_not_written_to_its_end_never_looks_whole() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        for (fails, chunks) in [(false, 1), (true, 0), (true, 9)] {
            let body = body(move |out| {
                out.write_all(&vec![7; chunks * CHUNK])?;
                if fails { Err(io::Error::other("it does not decode")) } else { Ok(()) }
            });
            let read = runtime.block_on(axum::body::to_bytes(body, usize::MAX));
            assert_eq!(read.is_err(), fails, "{chunks}");
        }
    }

    #[test]
    fn a_stream_that_does_not_say_its_end_has_broken_off() {
        for (ends, whole) in [(true, true), (false, false)] {
            let (sender, mut reader) = pipe();
            sender.blocking_send(Ok(Bytes::from_static(b"abc"))).unwrap();
            if ends {
                sender.blocking_send(Ok(Bytes::new())).unwrap();
            }
            drop(sender);
            let mut read = Vec::new();
            assert_eq!(reader.read_to_end(&mut read).is_ok(), whole);
            assert_eq!(read, b"abc");
        }
    }
}
