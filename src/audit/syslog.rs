//! Audit messages to a syslog server: RFC 5424 over TLS (RFC 5425), or over TCP where that is configured. The journal's file is followed
//! from where it was left off; a position is kept only after the server has taken what stands before it.
//!
//! Never holds the node up: the journal is written whether or not a server answers.

use super::message::of;
use crate::dimse::{ClientTls, Own};
use crate::journal::{self, Place};
use crate::store::Papers;
use serde::Deserialize;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `[audit]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Host and port of the syslog server; without it nothing is sent.
    pub syslog: Option<String>,
    /// Certificates of the authorities that its certificate is signed by, PEM.
    pub authorities: Option<PathBuf>,
    /// Our own certificate, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Send in the clear; for a server on the same machine.
    pub clear: bool,
}

impl Settings {
    /// What is wrong with them.
    ///
    /// # Errors
    /// The field, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        match () {
            () if self.syslog.is_none() => Ok(()),
            () if self.clear == self.authorities.is_some() => Err("audit: authorities for TLS, or clear = true".into()),
            () if self.certificate.is_some() != self.key.is_some() => Err("audit: certificate and key go together".into()),
            () => Ok(()),
        }
    }
}

/// How often the journal is looked at.
const TICK: Duration = Duration::from_millis(500);
/// Wait after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// Time for connecting and for each write.
const PATIENCE: Duration = Duration::from_secs(10);
/// Records between two kept positions.
const TOGETHER: usize = 200;

/// Follows a journal.
pub struct Follower {
    settings: Settings,
    address: String,
    tls: Option<ClientTls>,
    journal: PathBuf,
    papers: Papers,
    name: String,
}

const POSITION: &str = "position";

impl Follower {
    /// None where no server is configured. `name` is this node's AE title.
    ///
    /// # Errors
    /// A certificate does not read, or the position cannot be kept.
    pub fn open(settings: &Settings, root: &Path, journal: &Path, name: &str) -> Result<Option<Follower>, String> {
        let Some(address) = settings.syslog.clone() else { return Ok(None) };
        let own = settings.certificate.as_deref().zip(settings.key.as_deref());
        let own = own.map(|(certificate, key)| Own { certificate, key });
        let tls = settings.authorities.as_deref().map(|authorities| ClientTls::new(authorities, own, true)).transpose()?;
        let papers = Papers::open(root, "outbox/audit").map_err(|e| e.to_string())?;
        let (settings, journal, name) = (settings.clone(), journal.to_path_buf(), name.to_string());
        Ok(Some(Follower { settings, address, tls, journal, papers, name }))
    }

    /// Sends until the node stops.
    pub fn follow(&self, stopping: &AtomicBool) {
        let mut down = false;
        while !stopping.load(Ordering::Relaxed) {
            match self.send(stopping) {
                Ok(sent) => {
                    if down {
                        tracing::info!("the audit server answers again");
                    }
                    down = false;
                    if sent == 0 {
                        std::thread::sleep(TICK);
                    }
                }
                Err(e) => {
                    // Told once, not every few seconds.
                    if !down {
                        tracing::error!(error = %e, "audit messages cannot be sent; they wait in the journal");
                    }
                    down = true;
                    metrics::counter!("hutong_audit_failures_total").increment(1);
                    let until = std::time::Instant::now() + PAUSE;
                    while std::time::Instant::now() < until && !stopping.load(Ordering::Relaxed) {
                        std::thread::sleep(TICK);
                    }
                }
            }
        }
    }

    /// Sends what is new, on one connection; how many records were gone through.
    fn send(&self, stopping: &AtomicBool) -> io::Result<usize> {
        let place: Place = self.papers.read(POSITION)?.unwrap_or_default();
        let (records, behind) = journal::since(&self.journal, place, TOGETHER)?;
        if records.is_empty() {
            return Ok(0);
        }
        let told: Vec<String> =
            records.iter().filter_map(|r| Some(self.line(r.at_ms, &of(&r.event)?.xml(r.at_ms, &self.name)))).collect();
        if !told.is_empty() {
            let mut connection = self.connect()?;
            for line in &told {
                if stopping.load(Ordering::Relaxed) {
                    return Ok(0);
                }
                // Octet counting (RFC 5425 4.3).
                connection.write_all(format!("{} {line}", line.len()).as_bytes())?;
            }
            connection.flush()?;
            connection.close()?;
        }
        // What was sent must not be lost by a power failure that the position survives.
        std::fs::File::open(&self.journal)?.sync_data()?;
        self.papers.save(POSITION, &behind)?;
        metrics::counter!("hutong_audit_sent_total").increment(told.len() as u64);
        Ok(records.len())
    }

    /// An RFC 5424 message: facility 10 (security), severity 5; the identifier is what PS3.15 A.6 asks for.
    fn line(&self, at_ms: i64, xml: &str) -> String {
        let at = super::message::instant(at_ms);
        format!("<85>1 {at} {} hutong {} DICOM+RFC3881 - \u{FEFF}{xml}", self.name, std::process::id())
    }

    fn connect(&self) -> io::Result<Connection> {
        let address = self.address.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the name has no address"))?;
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        match &self.tls {
            None if self.settings.clear => Ok(Connection::Clear(socket)),
            None => Err(io::Error::other("neither TLS nor clear")),
            Some(tls) => tls.stream(socket, &self.address).map(|s| Connection::Secure(Box::new(s))),
        }
    }
}

enum Connection {
    Clear(TcpStream),
    Secure(Box<crate::dimse::TlsStream>),
}

impl Connection {
    /// Closes its side, and reads what the other one still has to say: a refusal of our certificate comes only now, and a server that
    /// closes without having read resets the connection.
    fn close(self) -> io::Result<()> {
        match self {
            Connection::Clear(mut socket) => {
                socket.shutdown(std::net::Shutdown::Write)?;
                until_closed(&mut socket)
            }
            Connection::Secure(mut stream) => {
                stream.conn.send_close_notify();
                stream.flush()?;
                until_closed(&mut stream)
            }
        }
    }
}

/// Servers that never close, or close without a word, have taken what came all the same.
fn until_closed(stream: &mut impl Read) -> io::Result<()> {
    let mut rest = [0u8; 512];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::UnexpectedEof) =>
            {
                return Ok(());
            }
            Err(e) => return Err(e),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Clear(socket) => socket.write(bytes),
            Connection::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Connection::Clear(socket) => socket.flush(),
            Connection::Secure(stream) => stream.flush(),
        }
    }
}
