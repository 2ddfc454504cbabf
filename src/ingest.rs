//! The only door in: from a stream of bytes to an object that is durable and findable (in this order), or to a reason why not.
//!
//! Success is never said before file, folder and index are on disk. Syncs are shared by all who wait for them: a commit
//! thread takes everything that is ready, publishes it, and answers.

mod commit;
mod cut;
mod recover;

pub use recover::{is_whole, read_back, rebuild, recover};

use self::commit::commit_loop;
use crate::dicom::dataset::{Seeking, Streaming};
use crate::dicom::header::HeaderError;
use crate::dicom::part10::{FileError, Meta, read_meta};
use crate::dicom::stamp::{Kind, Stamp};
use crate::dicom::{Attributes, Header, Syntax, Uid, levels};
use crate::index::{Index, IndexError, InstanceRow, Job, JobKind, State, StudyRow, Transition};
use crate::store::{Finished, Key, Store};
use std::collections::HashSet;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Beginnings that are tried for the header, bytes; over the last, what is there must do.
const BEGINNINGS: [usize; 3] = [1 << 18, 1 << 21, 1 << 24];
/// An inflated header is not longer.
const INFLATED: u64 = 1 << 26;

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored.
    New,
    /// The same bytes were there already.
    Same,
}

/// An accepted object.
#[derive(Debug, Clone)]
pub struct Stored {
    /// New or known.
    pub outcome: Outcome,
    /// SOP class.
    pub sop_class: String,
    /// Its names.
    pub key: Key,
    /// Its uncompressed pixel data end before they should.
    pub is_cut: bool,
}

/// The peer's fault: sending again will not help.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Same SOP Instance UID, other bytes.
    #[error("SOP instance is stored already with other content; first copy kept")]
    Conflict(Box<Key>, String),
    /// It belongs to another study than the request names.
    #[error("Study Instance UID differs from the one of the request")]
    OtherStudy(Box<Key>, String),
    /// Not a file of PS3.10.
    #[error("{0}")]
    NotAFile(FileError),
    /// The data set says something else than the command.
    #[error("{0} in data set differs from the command")]
    Mismatch(&'static str),
    /// No header.
    #[error("{0}")]
    NotUnderstood(#[from] HeaderError),
    /// Over the configured size.
    #[error("object is larger than {0} MiB (storage.max_object_mib)")]
    TooLarge(u64),
}

/// Our fault or the network's: sending again may help.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Below the reserve.
    #[error("disk space is below the reserve (storage.reserve_mib)")]
    NoSpace,
    /// The disk failed.
    #[error("storage failed: {0}")]
    Disk(io::Error),
    /// The index failed.
    #[error("{0}")]
    Index(#[from] IndexError),
    /// The sender's stream broke: there is nobody to answer.
    #[error("the object did not come to its end: {0}")]
    Stream(io::Error),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// Why an object was not taken.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The peer's fault.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Ours.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// What the door needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our AE title, for the meta header.
    pub aet: String,
    /// Free bytes kept.
    pub reserve_bytes: u64,
    /// Largest object, MiB.
    pub max_object_mib: u64,
    /// A study settles after this.
    pub quiet_period: Duration,
}

/// How many objects a modality announced of each series; it is told which series are here.
pub type Counted<'a> = &'a dyn Fn(&dyn Fn(&str) -> bool) -> std::collections::BTreeMap<String, usize>;

/// What is said of an object before its bytes come.
#[derive(Debug, Clone)]
pub struct Announced<'a> {
    /// Its transfer syntax.
    pub transfer_syntax: &'a str,
    /// SOP class and instance of the command, if there is one.
    pub identity: Option<(&'a str, &'a str)>,
    /// Who sends it.
    pub sender: &'a str,
    /// Received, or derived here.
    pub kind: Kind,
}

/// See the module.
pub struct Ingest {
    store: Arc<Store>,
    index: Arc<dyn Index>,
    settings: Settings,
    queue: Mutex<Option<Sender<Pending>>>,
    claims: Arc<Claims>,
    committer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

struct Pending {
    draft: Finished,
    row: InstanceRow,
    attributes: Attributes,
    done: Sender<Result<(), IngestError>>,
}

impl Ingest {
    /// Starts the commit thread. What is stored is told to `told`, as far as it takes it.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        store: Arc<Store>,
        index: Arc<dyn Index>,
        settings: Settings,
        told: Option<SyncSender<InstanceRow>>,
    ) -> io::Result<Ingest> {
        let (queue, incoming) = channel();
        let (s, i, quiet) = (store.clone(), index.clone(), settings.quiet_period);
        let run = move || commit_loop(&incoming, &s, &*i, quiet, told.as_ref());
        let committer = std::thread::Builder::new().name("commit".into()).spawn(run)?;
        let claims = Arc::new(Claims::default());
        let (queue, committer) = (Mutex::new(Some(queue)), Mutex::new(Some(committer)));
        Ok(Ingest { store, index, settings, queue, claims, committer })
    }

    /// Has a study judged again although no image came: something else about it is known now. One that is still receiving will be
    /// judged anyway. With `withdrawn` its marked copies leave the exchange view at once, until the new verdict shows them again.
    ///
    /// # Errors
    /// The index failed.
    pub fn judge_again(&self, study: &Uid, withdrawn: bool) -> Result<(), IndexError> {
        let Some(row) = self.index.study(study)?.filter(|row| row.state != State::Receiving) else { return Ok(()) };
        // When a new image came meanwhile, the study is judged anyway.
        self.assess_now(&row, withdrawn.then(crate::index::Recognised::default))
    }

    fn assess_now(&self, row: &StudyRow, recognised: Option<crate::index::Recognised>) -> Result<(), IndexError> {
        let (study, revision, state) = (row.study.clone(), row.revision, row.state);
        let next = Some(Job { kind: JobKind::Assess, study: study.clone(), revision, due_ms: now_ms(), attempts: 0 });
        self.index.transition(&Transition { study, revision, state, verdict: None, recognised, done: None, next })?;
        Ok(())
    }

    /// Has a study that is still being received judged now, when each series has as many objects as its modality announced.
    ///
    /// # Errors
    /// The index failed.
    pub fn settle(&self, study: &Uid, announced: Counted<'_>) -> Result<(), IndexError> {
        let Some(row) = self.index.study(study)?.filter(|row| row.state == State::Receiving) else { return Ok(()) };
        let here = self.index.contents(study)?;
        let count = |uid: &str| here.iter().find(|(s, _)| s.series.as_str() == uid).map_or(0, |(_, rows)| rows.len());
        let announced = announced(&|uid| count(uid) > 0);
        if announced.is_empty() || announced.iter().any(|(series, expected)| count(series) < *expected) {
            return Ok(());
        }
        self.assess_now(&row, None)
    }

    /// Takes an object. Blocks until it is durable and findable, or refused. Memory does not grow with its size.
    ///
    /// # Errors
    /// Whose fault it is and why; nothing is left behind.
    pub fn receive(&self, announced: &Announced<'_>, data: &mut dyn Read) -> Result<Stored, IngestError> {
        self.receive_checked(announced, data, &|_| true)
    }

    fn receive_checked(
        &self,
        announced: &Announced<'_>,
        data: &mut dyn Read,
        wanted: &dyn Fn(&Header) -> bool,
    ) -> Result<Stored, IngestError> {
        if self.store.free_bytes().map_err(Failed::Disk)? < self.settings.reserve_bytes {
            return Err(Failed::NoSpace.into());
        }
        let (beginning, ended, header) = read_header(announced.transfer_syntax, data)?;
        if let Some((sop_class, sop_instance)) = announced.identity {
            if sop_instance != header.sop_instance.as_str() {
                return Err(Refused::Mismatch("SOP Instance UID").into());
            }
            if sop_class != header.sop_class {
                return Err(Refused::Mismatch("SOP Class UID").into());
            }
        }
        let key = Key { study: header.study.clone(), series: header.series.clone(), sop_instance: header.sop_instance.clone() };
        if !wanted(&header) {
            return Err(Refused::OtherStudy(Box::new(key), header.sop_class).into());
        }
        let draft = self.write(announced, &header, beginning, ended, data)?;
        let _claim = self.claims.take(&key.sop_instance);
        let is_cut = cut::is_cut(&header, announced.transfer_syntax, draft.stamp.length);
        let stored = |outcome| Stored { outcome, sop_class: header.sop_class.clone(), key: key.clone(), is_cut };
        if let Some(known) = self.index.instance(&key.sop_instance).map_err(Failed::Index)? {
            if known.sha256 != draft.stamp.sha256 || known.length != draft.stamp.length {
                return Err(Refused::Conflict(Box::new(key), header.sop_class).into());
            }
            if !self.store.has(&key) {
                // Somebody took the file away: the sender has just brought it back.
                tracing::warn!(instance = %key.sop_instance, "a stored file was missing and is stored again");
                for result in self.store.publish(&[(&draft, &key)]) {
                    result.map_err(disk)?;
                }
                self.store.settle([draft]);
            }
            return Ok(stored(Outcome::Same));
        }
        let row = row_of(&header, &draft.stamp, announced.transfer_syntax, announced.sender);
        self.commit(draft, row, header.attributes.clone())?;
        Ok(stored(Outcome::New))
    }

    /// Takes a file of PS3.10 from a stream; its own meta header is replaced by ours. `study` is where it must belong.
    ///
    /// # Errors
    /// As [`Ingest::receive`]; also when it is no DICOM file.
    pub fn receive_file(&self, sender: &str, study: Option<&Uid>, data: &mut dyn Read) -> Result<Stored, IngestError> {
        let mut beginning = Vec::new();
        (&mut *data).take(1 << 16).read_to_end(&mut beginning).map_err(Failed::Stream)?;
        let meta = read_meta(Cursor::new(&beginning)).map_err(Refused::NotAFile)?;
        let at = usize::try_from(meta.data_set_at).unwrap_or(usize::MAX).min(beginning.len());
        let mut whole = Cursor::new(beginning.split_off(at)).chain(data);
        self.receive_data_set(sender, &meta.transfer_syntax, study, &mut whole)
    }

    /// Takes a data set from a stream. `study` is where it must belong.
    ///
    /// # Errors
    /// As [`Ingest::receive`].
    pub fn receive_data_set(
        &self,
        sender: &str,
        transfer_syntax: &str,
        study: Option<&Uid>,
        data: &mut dyn Read,
    ) -> Result<Stored, IngestError> {
        let announced = Announced { transfer_syntax, identity: None, sender, kind: Kind::Original };
        self.receive_checked(&announced, data, &|h| study.is_none_or(|s| h.study == *s))
    }

    fn write(
        &self,
        announced: &Announced<'_>,
        header: &Header,
        beginning: Vec<u8>,
        ended: bool,
        data: &mut dyn Read,
    ) -> Result<Finished, IngestError> {
        let meta = Meta {
            sop_class: header.sop_class.clone(),
            sop_instance: header.sop_instance.clone(),
            transfer_syntax: announced.transfer_syntax.into(),
            sending_aet: announced.sender.chars().filter(char::is_ascii_graphic).take(16).collect(),
            receiving_aet: self.settings.aet.clone(),
        };
        let limit = self.settings.max_object_mib.saturating_mul(1 << 20);
        let mut draft = self.store.draft(&meta.to_bytes()).map_err(disk)?;
        draft.write(&beginning).map_err(disk)?;
        let mut buffer = beginning;
        if !ended {
            buffer.resize(BEGINNINGS[0], 0);
        }
        let mut since_check = 0usize;
        loop {
            let got = match if ended { Ok(0) } else { data.read(&mut buffer) } {
                Ok(0) => break,
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Failed::Stream(e).into()),
            };
            draft.write(buffer.get(..got).unwrap_or_default()).map_err(disk)?;
            if draft.length() > limit {
                return Err(Refused::TooLarge(self.settings.max_object_mib).into());
            }
            // A large object must not eat the reserve either.
            since_check += got;
            if since_check > 64 << 20 {
                since_check = 0;
                if self.store.free_bytes().map_err(Failed::Disk)? < self.settings.reserve_bytes {
                    return Err(Failed::NoSpace.into());
                }
            }
        }
        crash_point("written");
        let finished = draft.finish(announced.kind.clone(), now_ms()).map_err(disk)?;
        crash_point("synced");
        Ok(finished)
    }

    fn commit(&self, draft: Finished, row: InstanceRow, attributes: Attributes) -> Result<(), IngestError> {
        let (done, answer) = channel();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Failed::Stopping)?;
        queue.send(Pending { draft, row, attributes, done }).map_err(|_| Failed::Stopping)?;
        drop(queue);
        answer.recv().map_err(|_| Failed::Stopping)?
    }

    /// Ends the commit thread after what is queued; later objects are refused.
    pub fn stop(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

fn disk(error: io::Error) -> IngestError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failed::NoSpace.into(),
        _ => Failed::Disk(error).into(),
    }
}

/// Reads until the header is complete: the bytes read, whether they are all, and the header.
fn read_header(transfer_syntax: &str, data: &mut dyn Read) -> Result<(Vec<u8>, bool, Header), IngestError> {
    let syntax = Syntax::of(transfer_syntax);
    let mut bytes = Vec::new();
    for beginning in BEGINNINGS {
        let wanted = (beginning - bytes.len()) as u64;
        let got = (&mut *data).take(wanted).read_to_end(&mut bytes).map_err(Failed::Stream)?;
        if (got as u64) < wanted {
            let header = parse_whole(&bytes, syntax).map_err(Refused::NotUnderstood)?;
            return Ok((bytes, true, header));
        }
        let parsed = if syntax.deflated {
            Header::read_beginning(&mut inflate(&bytes), syntax)
        } else {
            Header::read_beginning(&mut Seeking(Bounded(Cursor::new(&bytes))), syntax)
        };
        if let Some(header) = parsed.map_err(Refused::NotUnderstood)? {
            return Ok((bytes, false, header));
        }
    }
    let header = if syntax.deflated {
        Header::read_what_is_there(&mut inflate(&bytes), syntax)
    } else {
        Header::read_what_is_there(&mut Seeking(Bounded(Cursor::new(&bytes))), syntax)
    };
    Ok((bytes, false, header.map_err(Refused::NotUnderstood)?))
}

fn parse_whole(bytes: &[u8], syntax: Syntax) -> Result<Header, HeaderError> {
    if syntax.deflated {
        return Header::read(&mut inflate(bytes), syntax, None);
    }
    Header::read(&mut Seeking(Cursor::new(bytes)), syntax, Some(bytes.len() as u64))
}

fn inflate(bytes: &[u8]) -> Streaming<flate2::read::DeflateDecoder<&[u8]>> {
    Streaming::new(flate2::read::DeflateDecoder::new(bytes), INFLATED)
}

/// A cursor that does not let itself be moved past its end, so that a value passed over in a mere beginning is noticed.
struct Bounded<T>(Cursor<T>);

impl<T: AsRef<[u8]>> Read for Bounded<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl<T: AsRef<[u8]>> Seek for Bounded<T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = self.0.seek(to)?;
        if at > self.0.get_ref().as_ref().len() as u64 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(at) }
    }
}

/// The index row of a stored object: a function of its header and stamp alone, so that an index can be made again.
fn row_of(header: &Header, stamp: &Stamp, transfer_syntax: &str, sender: &str) -> InstanceRow {
    InstanceRow {
        study: header.study.clone(),
        series: header.series.clone(),
        sop_instance: header.sop_instance.clone(),
        sop_class: header.sop_class.clone(),
        transfer_syntax: transfer_syntax.into(),
        sha256: stamp.sha256.clone(),
        length: stamp.length,
        received_ms: stamp.received_ms,
        sender: sender.into(),
        kind: stamp.kind.clone(),
        pixels_at: header.pixels_at,
        attributes: header.attributes.only(|t| levels::level_of(t) == Some(levels::Level::Instance)),
    }
}

fn key_of(row: &InstanceRow) -> Key {
    Key { study: row.study.clone(), series: row.series.clone(), sop_instance: row.sop_instance.clone() }
}

/// SOP instances on their way in: the second of two waits for the first.
#[derive(Default)]
struct Claims {
    taken: Mutex<HashSet<Uid>>,
    freed: Condvar,
}

struct Claim<'a>(&'a Claims, Uid);

impl Claims {
    fn take(&self, uid: &Uid) -> Claim<'_> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.contains(uid) {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        taken.insert(uid.clone());
        Claim(self, uid.clone())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
        self.0.freed.notify_all();
    }
}

/// Milliseconds since 1970 UTC.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Date (`YYYYMMDD`) and time (`HHMMSS`) now, in UTC plus 8 hours: China's one time zone.
pub fn china_now() -> (String, String) {
    let now = time::OffsetDateTime::now_utc() + time::Duration::hours(8);
    let date = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
    (date, format!("{:02}{:02}{:02}", now.hour(), now.minute(), now.second()))
}

/// The date so many days before today, `YYYYMMDD`, as [`china_now`].
pub fn china_day(before: u32) -> String {
    let day = time::OffsetDateTime::now_utc() + time::Duration::hours(8) - time::Duration::days(i64::from(before.min(36_500)));
    format!("{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day())
}

/// Where the crash tests kill the process: `HUTONG_TEST_CRASH=<point>:<n>` aborts at the n-th passage.
pub fn crash_point(point: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};
    static WANTED: OnceLock<Option<(String, AtomicI64)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("HUTONG_TEST_CRASH").ok()?;
        let (name, n) = text.split_once(':')?;
        Some((name.to_string(), AtomicI64::new(n.parse().ok()?)))
    });
    if let Some((name, left)) = wanted
        && name == point
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}
