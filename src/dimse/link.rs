//! A byte stream with deadlines, and the frames of PDUs on it (PS3.8 9.3.1).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What an association runs over: a TCP stream, or one with TLS on it.
pub trait Stream: Read + Write + Send {
    /// Bounds every later read and write.
    ///
    /// # Errors
    /// The socket refuses.
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// Whether a read would return at once: bytes are there, or the peer has closed.
    ///
    /// # Errors
    /// The socket refuses.
    fn is_readable(&self) -> io::Result<bool>;
}

impl Stream for TcpStream {
    fn is_readable(&self) -> io::Result<bool> {
        self.set_nonblocking(true)?;
        let peeked = self.peek(&mut [0]);
        self.set_nonblocking(false)?;
        match peeked {
            Ok(_) => Ok(true),
            Err(e) if is_timeout(&e) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the association request or its answer (the ARTIM timer, PS3.8 9.1.4).
    pub association: Duration,
    /// For the next bytes within a message.
    pub network: Duration,
    /// For the next message.
    pub idle: Duration,
}

/// The stream of an association.
pub struct Link {
    reader: BufReader<Box<dyn Stream>>,
    timeout: Option<Duration>,
}

/// What waiting for the next message ended with.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// Bytes are there.
    Ready,
    /// The peer closed the connection.
    Closed,
    /// Nothing came in time.
    Idle,
    /// This node is stopping.
    Stopping,
}

/// How often a thread that waits looks whether the node is stopping.
const LOOK: Duration = Duration::from_millis(200);

impl Link {
    /// Takes a stream over.
    pub fn new(stream: Box<dyn Stream>) -> Link {
        Link { reader: BufReader::with_capacity(1 << 16, stream), timeout: None }
    }

    /// Waits for the first byte of the next PDU.
    ///
    /// # Errors
    /// The socket fails.
    pub fn wait(&mut self, at_most: Duration, stopping: &AtomicBool) -> io::Result<Waited> {
        let until = Instant::now() + at_most;
        loop {
            if !self.reader.buffer().is_empty() {
                return Ok(Waited::Ready);
            }
            if stopping.load(Ordering::Relaxed) {
                return Ok(Waited::Stopping);
            }
            let left = until.saturating_duration_since(Instant::now());
            // A wait that is over still looks: the kernel rounds time limits up to its own clock.
            if left.is_zero() && !self.reader.get_ref().is_readable()? {
                return Ok(Waited::Idle);
            }
            self.set_timeout(left.min(LOOK))?;
            match self.reader.fill_buf() {
                Ok([]) => return Ok(Waited::Closed),
                Ok(_) => return Ok(Waited::Ready),
                Err(e) if is_timeout(&e) || e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Bounds every later read and write.
    ///
    /// # Errors
    /// The socket refuses.
    pub fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = timeout.max(Duration::from_millis(1));
        if self.timeout != Some(timeout) {
            self.reader.get_ref().set_timeout(timeout)?;
            self.timeout = Some(timeout);
        }
        Ok(())
    }

    /// Type and length of the next PDU.
    ///
    /// # Errors
    /// The connection ends or times out.
    pub fn pdu_header(&mut self) -> io::Result<(u8, u32)> {
        let mut head = [0u8; 6];
        self.reader.read_exact(&mut head)?;
        let [kind, _, a, b, c, d] = head;
        Ok((kind, u32::from_be_bytes([a, b, c, d])))
    }

    /// The rest of a PDU, header bytes put back in front, for a reader of whole PDUs.
    ///
    /// # Errors
    /// The connection ends or times out, or the PDU is longer than `max`.
    pub fn whole_pdu(&mut self, kind: u8, length: u32, max: u32) -> io::Result<Vec<u8>> {
        if length > max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a PDU of {length} bytes, {max} are allowed")));
        }
        let mut bytes = vec![kind, 0];
        bytes.extend_from_slice(&length.to_be_bytes());
        let wanted = length as usize + 6;
        // The time is for the whole PDU: a peer that sends a byte now and then does not hold its thread for ever.
        let until = Instant::now() + self.timeout.unwrap_or(LOOK);
        let mut chunk = [0u8; 4096];
        while bytes.len() < wanted {
            let room = chunk.len().min(wanted - bytes.len());
            let got = self.reader.read(chunk.get_mut(..room).unwrap_or_default())?;
            match chunk.get(..got).filter(|c| !c.is_empty()) {
                Some(new) => bytes.extend_from_slice(new),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            if Instant::now() > until {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(bytes)
    }

    /// Reads and drops what the peer still sends, until it closes or `at_most` has passed, so that closing our side does not
    /// reset the connection before the peer has read our last PDU.
    pub fn drain(&mut self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut sink = [0u8; 4096];
        while Instant::now() < until {
            if self.set_timeout(LOOK).is_err() || matches!(self.reader.read(&mut sink), Ok(0)) {
                return;
            }
        }
    }
}

impl Read for Link {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

impl Write for Link {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.reader.get_mut().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.reader.get_mut().flush()
    }
}

/// Whether a socket error means that time ran out.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
