//! An established association: messages in and out (PS3.7 section 6, PS3.8 annex E).

use super::accept::{Rejection, Roles};
use super::command::{Command, Field};
use super::data::DataReader;
use super::link::{self, Link, Timeouts, Waited};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// An accepted presentation context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its odd number.
    pub id: u8,
    /// Abstract syntax: a SOP class.
    pub abstract_syntax: String,
    /// The transfer syntax agreed on.
    pub transfer_syntax: String,
    /// What the requestor of the association does with it.
    pub roles: Roles,
}

/// Why an association ended otherwise than by release.
#[derive(Debug, thiserror::Error)]
pub enum AssociationError {
    /// The peer aborted.
    #[error("the peer aborted the association")]
    Aborted,
    /// The peer closed the connection without releasing.
    #[error("the peer closed the connection without A-RELEASE")]
    Closed,
    /// Nothing came in time.
    #[error("nothing came from the peer in time")]
    Timeout,
    /// We wait for its answer no longer.
    #[error("the answer is not waited for any longer")]
    GivenUp,
    /// The peer broke the protocol.
    #[error("protocol violation: {0}")]
    Protocol(String),
    /// The peer refused the association.
    #[error("the association was rejected: {0}")]
    Rejected(String),
    /// The peer refused an operation: which, status, comment.
    #[error("{0} was refused: status {1:04X}H {2}")]
    Refused(String, u16, String),
    /// We refused it.
    #[error("{0:?} is turned away: {1}")]
    Turned(String, Rejection),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for AssociationError {
    fn from(error: io::Error) -> AssociationError {
        match error.kind() {
            _ if link::is_timeout(&error) => AssociationError::Timeout,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                AssociationError::Closed
            }
            io::ErrorKind::InvalidData => AssociationError::Protocol(error.to_string()),
            _ => AssociationError::Io(error),
        }
    }
}

/// What came next.
pub enum Incoming {
    /// A command; its data set, if it has one, is read with [`Association::data`].
    Message(Context, Command),
    /// The peer released the association, and was answered.
    Released,
    /// This node is stopping; the association was aborted.
    Stopping,
}

/// See the module.
pub struct Association {
    pub(super) link: Link,
    /// The accepted contexts.
    pub contexts: Vec<Context>,
    /// The peer's AE title.
    pub peer_aet: String,
    /// Longest PDU the peer takes; 0 is unlimited.
    pub peer_max_pdu: u32,
    max_pdu: u32,
    pub(super) timeouts: Timeouts,
    stopping: Arc<AtomicBool>,
    pdu_left: u32,
    /// We answered to the association request.
    accepted: bool,
    /// Why a data set ended before its time.
    pub(super) broken: Option<AssociationError>,
}

/// The longest command set taken, bytes.
const MAX_COMMAND: usize = 1 << 16;

pub(super) struct Pdv {
    pub(super) context: u8,
    pub(super) command: bool,
    pub(super) last: bool,
    pub(super) length: u32,
}

pub(super) enum Next {
    Pdv(Pdv),
    Release,
}

impl Association {
    pub(super) fn new(
        link: Link,
        contexts: Vec<Context>,
        peer_aet: String,
        peer_max_pdu: u32,
        max_pdu: u32,
        timeouts: Timeouts,
        stopping: Arc<AtomicBool>,
    ) -> Association {
        Association {
            link,
            contexts,
            peer_aet,
            peer_max_pdu,
            max_pdu,
            timeouts,
            stopping,
            pdu_left: 0,
            accepted: false,
            broken: None,
        }
    }

    /// The same, on the side that was asked for it.
    pub(super) fn accepted(self) -> Association {
        Association { accepted: true, ..self }
    }

    /// Whether the roles that were agreed on (PS3.7 D.3.3.4) let us be the SCU of a context.
    pub fn may_ask(&self, context: &Context) -> bool {
        if self.accepted { context.roles.scp } else { context.roles.scu }
    }

    /// Whether the node is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Why the data set that was read last ended before its time.
    pub fn why_broken(&mut self) -> AssociationError {
        self.broken.take().unwrap_or(AssociationError::Closed)
    }

    /// Reading failed: a peer that is silent, or says what cannot be, is told that it is over; one that left needs nothing.
    pub(super) fn lost(&mut self, error: io::Error) -> AssociationError {
        match AssociationError::from(error) {
            AssociationError::Timeout => self.too_slow(),
            AssociationError::Protocol(what) => self.violation(&what),
            other => other,
        }
    }

    /// Waits for the next command.
    ///
    /// # Errors
    /// The association ended otherwise than by release.
    pub fn receive(&mut self) -> Result<Incoming, AssociationError> {
        self.receive_while(self.timeouts.idle, &mut || true)
    }

    /// The command that has begun; it must be whole within the network timeout.
    fn command(&mut self) -> Result<Incoming, AssociationError> {
        self.link.set_timeout(self.timeouts.network)?;
        let until = Instant::now() + self.timeouts.network;
        let mut bytes = Vec::new();
        let mut context = None;
        loop {
            if Instant::now() > until {
                return Err(self.too_slow());
            }
            let pdv = match self.next_pdv()? {
                Next::Release if bytes.is_empty() => {
                    self.link.write_all(&RELEASE_RP)?;
                    self.link.drain(Duration::from_millis(500));
                    return Ok(Incoming::Released);
                }
                Next::Release => return Err(self.violation("A-RELEASE-RQ inside a message")),
                Next::Pdv(pdv) => pdv,
            };
            if !pdv.command || context.is_some_and(|c| c != pdv.context) {
                return Err(self.violation("a data fragment where a command must be"));
            }
            context = Some(pdv.context);
            if bytes.len() + pdv.length as usize > MAX_COMMAND {
                return Err(self.violation("a command set over 64 KiB"));
            }
            let whole = bytes.len() + pdv.length as usize;
            let mut chunk = [0u8; 4096];
            while bytes.len() < whole {
                let room = chunk.len().min(whole - bytes.len());
                let got = self.link.read(chunk.get_mut(..room).unwrap_or_default()).map_err(|e| self.lost(e))?;
                match chunk.get(..got).filter(|new| !new.is_empty()) {
                    Some(new) => bytes.extend_from_slice(new),
                    None => return Err(AssociationError::Closed),
                }
                if Instant::now() > until {
                    return Err(self.too_slow());
                }
            }
            if pdv.last {
                let command = match Command::parse(&bytes) {
                    Ok(command) => command,
                    Err(e) => return Err(self.violation(&format!("the command set is damaged: {e}"))),
                };
                let found = self.contexts.iter().find(|c| c.id == pdv.context).cloned();
                let Some(found) = found else {
                    return Err(self.violation("a presentation context that was not accepted"));
                };
                return Ok(Incoming::Message(found, command));
            }
        }
    }

    /// As [`Association::receive`], for an answer that may take its time: every `each` somebody else is heard, who may give the peer up.
    ///
    /// # Errors
    /// As there; and it was given up.
    pub fn receive_while(&mut self, each: Duration, meanwhile: &mut dyn FnMut() -> bool) -> Result<Incoming, AssociationError> {
        let until = Instant::now() + self.timeouts.idle;
        while self.pdu_left == 0 {
            let left = until.saturating_duration_since(Instant::now());
            match self.link.wait(left.min(each), &self.stopping)? {
                Waited::Ready => break,
                Waited::Closed => return Err(AssociationError::Closed),
                Waited::Stopping => {
                    self.abort();
                    return Ok(Incoming::Stopping);
                }
                Waited::Idle if left.is_zero() => {
                    self.abort();
                    return Err(AssociationError::Timeout);
                }
                Waited::Idle if meanwhile() => {}
                Waited::Idle => {
                    self.abort();
                    return Err(AssociationError::GivenUp);
                }
            }
        }
        self.command()
    }

    /// Whether the peer has something to say, waiting for it no longer than `within`.
    ///
    /// # Errors
    /// It closed the connection.
    pub fn is_ready(&mut self, within: Duration) -> Result<bool, AssociationError> {
        match self.link.wait(within, &self.stopping)? {
            Waited::Ready => Ok(true),
            Waited::Idle | Waited::Stopping => Ok(false),
            Waited::Closed => Err(AssociationError::Closed),
        }
    }

    /// Whether the peer has meanwhile asked to cancel a request (PS3.7 9.3.2.3); waits for it no longer than `within`.
    ///
    /// # Errors
    /// The association ended, or something else came that must not come now.
    pub fn is_cancelled(&mut self, message_id: u16, within: Duration) -> Result<bool, AssociationError> {
        if self.pdu_left == 0 {
            match self.link.wait(within, &self.stopping)? {
                Waited::Idle => return Ok(false),
                Waited::Ready => {}
                Waited::Closed => return Err(AssociationError::Closed),
                Waited::Stopping => {
                    self.abort();
                    return Err(AssociationError::Closed);
                }
            }
        }
        match self.receive()? {
            Incoming::Message(_, command) if command.field() == Field::CancelRq => Ok(command.responded_to() == message_id),
            Incoming::Message(..) => Err(self.violation("another request before the answer to this one")),
            Incoming::Released | Incoming::Stopping => Err(AssociationError::Closed),
        }
    }

    /// The data set of the message just received. Read it to its end before anything else.
    pub fn data(&mut self, context: u8) -> DataReader<'_> {
        DataReader::new(self, context)
    }

    /// Sends a command without data.
    ///
    /// # Errors
    /// The connection fails.
    pub fn send(&mut self, context: u8, command: &Command) -> Result<(), AssociationError> {
        self.link.set_timeout(self.timeouts.network)?;
        self.fragment(context, true, true, &command.to_bytes())
    }

    /// Sends a command with its data set. `data` must be at its start.
    ///
    /// # Errors
    /// The connection or `data` fails; the association is aborted, so that the peer never takes a part for the whole.
    pub fn send_with_data(&mut self, context: u8, command: &Command, data: &mut impl Read) -> Result<(), AssociationError> {
        self.send(context, command)?;
        let size = self.fragment_size();
        // Many PDUs go out in one write, each read into its place: a peer that takes 16 KiB at a time costs no more than another.
        let places = (BATCH / (size + HEADER)).max(1);
        let mut batch = vec![0u8; places * (size + HEADER)];
        let mut next = vec![0u8; size];
        let mut ahead = match fill(data, &mut next) {
            Ok(filled) => filled,
            Err(e) => return Err(self.give_up(e)),
        };
        loop {
            let mut used = 0;
            let mut ended = false;
            for place in batch.chunks_exact_mut(size + HEADER) {
                let Some((head, room)) = place.split_at_mut_checked(HEADER) else { break };
                let filled = ahead;
                if let (Some(to), Some(from)) = (room.get_mut(..filled), next.get(..filled)) {
                    to.copy_from_slice(from);
                }
                ahead = match fill(data, &mut next) {
                    Ok(filled) => filled,
                    Err(e) => return Err(self.give_up(e)),
                };
                ended = ahead == 0;
                head.copy_from_slice(&pdu_header(context, false, ended, filled));
                used += HEADER + filled;
                // Only the last one is shorter than its place.
                if ended {
                    break;
                }
            }
            self.link.write_all(batch.get(..used).unwrap_or_default())?;
            if ended {
                return Ok(());
            }
        }
    }

    /// Sends A-RELEASE-RQ and waits for the answer.
    ///
    /// # Errors
    /// The peer does not answer it.
    pub fn release(mut self) -> Result<(), AssociationError> {
        self.link.set_timeout(self.timeouts.network)?;
        self.link.write_all(&RELEASE_RQ)?;
        let (kind, length) = self.link.pdu_header()?;
        self.link.whole_pdu(kind, length, 1 << 10)?;
        match kind {
            0x06 => Ok(()),
            0x07 => Err(AssociationError::Aborted),
            other => Err(AssociationError::Protocol(format!("PDU type {other:02X}H instead of A-RELEASE-RP"))),
        }
    }

    /// Releases when everything that was asked for is answered: how the peer takes its leave changes nothing.
    pub fn leave(self) {
        let _ = self.release();
    }

    /// Sends A-ABORT and gives the connection up. Failures do not matter any more.
    pub fn abort(&mut self) {
        let _ = self.link.write_all(&abort_pdu(2, 0));
        self.link.drain(Duration::from_millis(200));
    }

    fn give_up(&mut self, error: io::Error) -> AssociationError {
        self.abort();
        AssociationError::Io(error)
    }

    /// What drips holds a place that others need.
    fn too_slow(&mut self) -> AssociationError {
        self.abort();
        AssociationError::Timeout
    }

    pub(super) fn violation(&mut self, what: &str) -> AssociationError {
        let _ = self.link.write_all(&abort_pdu(2, 2));
        self.link.drain(Duration::from_millis(200));
        AssociationError::Protocol(what.to_string())
    }

    fn fragment_size(&self) -> usize {
        let theirs = if self.peer_max_pdu == 0 { 1 << 17 } else { self.peer_max_pdu.clamp(64, 1 << 17) };
        theirs as usize - 6
    }

    fn fragment(&mut self, context: u8, command: bool, last: bool, bytes: &[u8]) -> Result<(), AssociationError> {
        let size = self.fragment_size();
        let mut rest = bytes;
        loop {
            let (now, later) = rest.split_at(size.min(rest.len()));
            let end = last && later.is_empty();
            let mut pdu = pdu_header(context, command, end, now.len()).to_vec();
            pdu.extend_from_slice(now);
            self.link.write_all(&pdu)?;
            rest = later;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    pub(super) fn next_pdv(&mut self) -> Result<Next, AssociationError> {
        while self.pdu_left == 0 {
            let (kind, length) = self.link.pdu_header().map_err(|e| self.lost(e))?;
            match kind {
                0x04 if length <= self.max_pdu => self.pdu_left = length,
                0x04 => {
                    return Err(self.violation(&format!("a P-DATA-TF of {length} bytes, {} were announced", self.max_pdu)));
                }
                0x05 => {
                    self.link.whole_pdu(kind, length, 1 << 10).map_err(|e| self.lost(e))?;
                    return Ok(Next::Release);
                }
                0x07 => return Err(AssociationError::Aborted),
                other => {
                    return Err(self.violation(&format!("PDU type {other:02X}H in an established association")));
                }
            }
        }
        if self.pdu_left < 6 {
            return Err(self.violation("a presentation data value without room for its header"));
        }
        let mut head = [0u8; 6];
        self.link.read_exact(&mut head).map_err(|e| self.lost(e))?;
        let [a, b, c, d, context, flags] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        self.pdu_left -= 6;
        let length = length.checked_sub(2).filter(|l| *l <= self.pdu_left);
        let Some(length) = length else {
            return Err(self.violation("a presentation data value longer than its PDU"));
        };
        self.pdu_left -= length;
        Ok(Next::Pdv(Pdv { context, command: flags & 1 != 0, last: flags & 2 != 0, length }))
    }
}

const RELEASE_RQ: [u8; 10] = [0x05, 0, 0, 0, 0, 4, 0, 0, 0, 0];
const RELEASE_RP: [u8; 10] = [0x06, 0, 0, 0, 0, 4, 0, 0, 0, 0];

fn abort_pdu(source: u8, reason: u8) -> [u8; 10] {
    [0x07, 0, 0, 0, 0, 4, 0, 0, source, reason]
}

/// Bytes before the value of a P-DATA-TF with one presentation data value.
const HEADER: usize = 12;
/// Bytes written at a time.
const BATCH: usize = 1 << 18;

fn pdu_header(context: u8, command: bool, last: bool, length: usize) -> [u8; HEADER] {
    let length = u32::try_from(length).unwrap_or(0);
    let ([a, b, c, d], [e, f, g, h]) = ((length + 6).to_be_bytes(), (length + 2).to_be_bytes());
    [0x04, 0, a, b, c, d, e, f, g, h, context, u8::from(command) | (u8::from(last) << 1)]
}

fn fill(data: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|r| !r.is_empty()) {
        match data.read(room) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
