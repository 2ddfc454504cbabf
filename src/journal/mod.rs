//! The append-only record: who did what with which study, and why. Each line carries the hash of the one before it.
//!
//! Never holds patient data: studies are named by UID. What a person writes
//! as a reason is kept as written. A line that was altered or taken out breaks the chain.

mod event;
mod verify;

pub use event::{Event, Step};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
pub use verify::verify;

#[derive(Serialize, Deserialize)]
struct Line {
    n: u64,
    at_ms: i64,
    #[serde(flatten)]
    event: Event,
    before: String,
}

/// See the module.
pub struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    tip: Tip,
    next: u64,
    last: String,
    end: u64,
    known: Known,
}

/// What is asked of the journal again: few things, and every judgement asks for them.
#[derive(Default)]
struct Known {
    /// By study: when, and what.
    rulings: BTreeMap<String, Vec<(i64, serde_json::Value)>>,
    /// By SOP Instance UID of the step.
    steps: BTreeMap<String, Step>,
    /// Steps of a study.
    of_study: BTreeMap<String, BTreeSet<String>>,
    /// Studies whose copies were withdrawn at least once.
    withdrawn: BTreeSet<String>,
    /// By study: objects that a sender asked to have committed and that were not here.
    missed: BTreeMap<String, BTreeSet<String>>,
    /// Decisions: the digest of each record.
    decided: BTreeMap<String, String>,
    /// Lines of which it is said already that they do not fit.
    broken: BTreeSet<u64>,
}

impl Known {
    fn learn(&mut self, event: Event, at_ms: i64) {
        match event {
            Event::Decided { id, digest, .. } => {
                self.decided.insert(id, digest);
            }
            Event::Broken { line } => {
                self.broken.insert(line);
            }
            Event::Ruled { study, ruling } => self.rulings.entry(study).or_default().push((at_ms, ruling)),
            Event::Performed { uid, step } => {
                for study in step.studies() {
                    self.of_study.entry(study.clone()).or_default().insert(uid.clone());
                }
                self.steps.insert(uid, step);
            }
            Event::Missed { study, instances } => self.missed.entry(study).or_default().extend(instances),
            Event::Withdrawn { study, .. } => {
                self.withdrawn.insert(study);
            }
            _ => {}
        }
    }
}

impl Journal {
    /// Opens the journal for appending. What a crash left of a last line is moved to a file beside it; a line before others that does not
    /// read or does not fit is left as it is, for whoever looks into it, and said in the journal and the log: no crash makes one.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Journal> {
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let Opened { next, last, end, known, broken } = read(&mut BufReader::new(&file))?;
        let tip = Tip::open(path)?;
        let is_cut = end < file.metadata()?.len();
        let there = next + u64::from(is_cut);
        let lost = tip.read()?.map_or(0, |(lines, _)| lines.saturating_sub(there));
        let mut events = Vec::new();
        if is_cut {
            let mut rest = Vec::new();
            file.seek(SeekFrom::Start(end))?;
            io::copy(&mut file, &mut rest)?;
            let aside = beside(path, end);
            std::fs::write(&aside, &rest)?;
            file.set_len(end)?;
            let put_aside = aside.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            events.push(Event::Cut { put_aside, bytes: rest.len() as u64 });
        }
        if let Some(line) = broken.filter(|line| !known.broken.contains(line)) {
            events.push(Event::Broken { line });
        }
        if lost > 0 {
            events.push(Event::Lost { records: lost });
        }
        file.seek(SeekFrom::Start(end))?;
        let journal = Journal { path: path.to_path_buf(), state: Mutex::new(State { file, tip, next, last, end, known }) };
        for event in events {
            // What is amiss is said in the journal itself, so that nobody can cut or alter it unnoticed.
            tracing::error!(?event, "the journal is not as it was left: see docs/exchange.md");
            journal.append(event, now_ms(), true)?;
        }
        Ok(journal)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends an event; `durable` waits until it is on disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn append(&self, event: Event, at_ms: i64, durable: bool) -> io::Result<()> {
        let mut state = self.lock();
        let line = Line { n: state.next, at_ms, event, before: state.last.clone() };
        let mut bytes = serde_json::to_vec(&line).map_err(io::Error::other)?;
        let digest = hash(&bytes);
        bytes.push(b'\n');
        let written = state.file.write_all(&bytes);
        if let Err(e) = written.and_then(|()| if durable { state.file.sync_data() } else { Ok(()) }) {
            // Half a line would break the chain for those that follow, and a whole one would say what the caller is told has failed.
            let end = state.end;
            state.file.set_len(end)?;
            state.file.seek(SeekFrom::Start(end))?;
            return Err(e);
        }
        state.end += bytes.len() as u64;
        state.next += 1;
        state.last = digest;
        // It is no part of the record: without it the record stands.
        if let Err(e) = state.tip.write(state.next, &state.last) {
            tracing::warn!(error = %e, "the journal's tip cannot be written");
        }
        state.known.learn(line.event, at_ms);
        Ok(())
    }

    /// What persons ruled about a study, oldest first: when (milliseconds since 1970), and the ruling.
    pub fn rulings(&self, study: &str) -> Vec<(i64, serde_json::Value)> {
        self.lock().known.rulings.get(study).cloned().unwrap_or_default()
    }

    /// How much is known of a study, to tell whether more has come.
    pub fn known_of(&self, study: &str) -> (usize, usize, BTreeMap<String, usize>) {
        let rulings = self.lock().known.rulings.get(study).map_or(0, Vec::len);
        (rulings, self.missed(study).len(), self.announced(study, |_| true))
    }

    /// Objects of a study that a sender asked to have committed and that were not here then.
    pub fn missed(&self, study: &str) -> BTreeSet<String> {
        self.lock().known.missed.get(study).cloned().unwrap_or_default()
    }

    /// Whether copies of a study left the exchange view at least once.
    pub fn was_withdrawn(&self, study: &str) -> bool {
        self.lock().known.withdrawn.contains(study)
    }

    /// The digest of a decision's record as it was written; none of one that never came into the journal.
    pub fn decided(&self, id: &str) -> Option<String> {
        self.lock().known.decided.get(id).cloned()
    }

    /// A performed procedure step by its SOP Instance UID, as it stands.
    pub fn step(&self, uid: &str) -> Option<Step> {
        self.lock().known.steps.get(uid).cloned()
    }

    /// How many objects the finished steps of a study say that each series has, of its own (`here`). A step of several studies does not say
    /// which series is of which: there the ones that are here count.
    pub fn announced(&self, study: &str, here: impl Fn(&str) -> bool) -> BTreeMap<String, usize> {
        let state = self.lock();
        let steps = state.known.of_study.get(study).into_iter().flatten().filter_map(|uid| state.known.steps.get(uid));
        let mut announced = BTreeMap::new();
        for step in steps.filter(|s| s.is_final()) {
            for (series, count) in step.series.iter().filter(|(series, _)| step.others.is_empty() || here(series)) {
                *announced.entry(series.clone()).or_default() += count;
            }
        }
        announced
    }

    /// The objects that the finished steps of a study name, by series.
    pub fn named(&self, study: &str) -> BTreeMap<String, BTreeSet<String>> {
        let state = self.lock();
        let steps = state.known.of_study.get(study).into_iter().flatten().filter_map(|uid| state.known.steps.get(uid));
        let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (series, instances) in steps.filter(|s| s.is_final()).flat_map(|s| &s.instances) {
            named.entry(series.clone()).or_default().extend(instances.iter().cloned());
        }
        named
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is read of a journal when it is opened.
#[derive(Default)]
struct Opened {
    next: u64,
    last: String,
    /// Behind the last line that reads.
    end: u64,
    known: Known,
    /// The first line, from 1, that does not read or does not fit the one before it.
    broken: Option<u64>,
}

fn read(reader: &mut impl BufRead) -> io::Result<Opened> {
    let (mut found, mut text, mut at, mut number) = (Opened::default(), Vec::new(), 0u64, 0u64);
    let mut unread = None;
    while reader.read_until(b'\n', &mut text)? > 0 {
        number += 1;
        at += text.len() as u64;
        match whole(&text).and_then(|text| Some((text, serde_json::from_slice::<Line>(text).ok()?))) {
            Some((text, line)) => {
                let fits = line.before == found.last && line.n == found.next;
                found.broken = found.broken.or(unread).or((!fits).then_some(number));
                (found.next, found.last, found.end) = (line.n + 1, hash(text), at);
                found.known.learn(line.event, line.at_ms);
            }
            None => unread = unread.or(Some(number)),
        }
        text.clear();
    }
    Ok(found)
}

/// A line without its end; none where the end is missing.
fn whole(text: &[u8]) -> Option<&[u8]> {
    text.strip_suffix(b"\n")
}

/// The journal stands below everything that knows the time: it tells its own only of what it finds when it is opened.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How many lines a journal has and the digest of the last, in a small file beside it: so that lines that are taken off its end are missed.
struct Tip(File);

impl Tip {
    fn open(journal: &Path) -> io::Result<Tip> {
        let options = File::options().create(true).truncate(false).read(true).write(true).open(tip_of(journal))?;
        Ok(Tip(options))
    }

    /// Lines, and the last one's digest; none where there is no tip yet, or a crash left half of one.
    fn read(&self) -> io::Result<Option<(u64, String)>> {
        let mut text = [0u8; TIP];
        let got = self.0.read_at(&mut text, 0)?;
        let text = text.get(..got).and_then(|t| std::str::from_utf8(t).ok()).unwrap_or_default();
        let parts = text.trim().split_once(' ');
        Ok(parts.and_then(|(lines, digest)| Some((lines.parse().ok()?, digest.to_string()))))
    }

    fn write(&self, lines: u64, digest: &str) -> io::Result<()> {
        self.0.write_all_at(format!("{lines:020} {digest}\n").as_bytes(), 0)
    }
}

/// Length of a tip: twenty digits, a blank, a digest, a line's end.
const TIP: usize = 20 + 1 + 64 + 1;

fn tip_of(journal: &Path) -> PathBuf {
    journal.with_extension("tip")
}

fn beside(path: &Path, end: u64) -> PathBuf {
    path.with_extension(format!("cut-{end}"))
}

/// Reads the events of a period, from and to (without) in milliseconds since 1970.
///
/// # Errors
/// The file does not read.
pub fn scan(path: &Path, (from, to): (i64, i64), mut each: impl FnMut(i64, &Event)) -> io::Result<()> {
    for text in BufReader::new(File::open(path)?).lines() {
        // The line that is being written now may not be whole yet.
        let Ok(line) = serde_json::from_str::<Line>(&text?) else { continue };
        if (from..to).contains(&line.at_ms) {
            each(line.at_ms, &line.event);
        }
    }
    Ok(())
}

/// A record as it is read back: its number, from 0; when, milliseconds since 1970; what.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the line above says it")]
pub struct Record {
    pub n: u64,
    pub at_ms: i64,
    pub event: Event,
}

/// How far a reader has come: the next record's number, and where its line begins in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Number of the next record.
    pub n: u64,
    /// Byte of the file.
    pub offset: u64,
}

/// Reads at most so many records from a place on, and the place behind them. A line that is being written now is left for later.
///
/// # Errors
/// The file does not read, or a line of it.
pub fn since(path: &Path, mut place: Place, most: usize) -> io::Result<(Vec<Record>, Place)> {
    let mut reader = BufReader::new(File::open(path)?);
    if !stands(&mut reader, place)? {
        place = found_again(path, place)?;
    }
    reader.seek(SeekFrom::Start(place.offset))?;
    let mut found = Vec::new();
    while found.len() < most {
        let Some((line, read)) = next_line(&mut reader)? else { break };
        place = Place { n: line.as_ref().map_or(place.n + 1, |l| l.n + 1), offset: place.offset + read };
        found.extend(line.map(|line| Record { n: line.n, at_ms: line.at_ms, event: line.event }));
    }
    Ok((found, place))
}

/// The next whole line, none where it does not read, and its length; none at the end.
fn next_line(reader: &mut impl BufRead) -> io::Result<Option<(Option<Line>, u64)>> {
    let mut text = Vec::new();
    let read = reader.read_until(b'\n', &mut text)?;
    // One that is being written now is left for later.
    Ok(whole(&text).map(|text| (serde_json::from_slice(text).ok(), read as u64)))
}

/// Whether a line with the place's number begins there, or the file ends there.
fn stands(reader: &mut BufReader<File>, place: Place) -> io::Result<bool> {
    let length = reader.get_ref().metadata()?.len();
    if place.offset > length || (place.offset == 0 && place.n > 0) {
        return Ok(false);
    }
    if place.offset > 0 {
        reader.seek(SeekFrom::Start(place.offset - 1))?;
        let mut before = [0u8; 1];
        reader.read_exact(&mut before)?;
        if before != *b"\n" {
            return Ok(false);
        }
    }
    reader.seek(SeekFrom::Start(place.offset))?;
    Ok(next_line(reader)?.is_none_or(|(line, _)| line.is_some_and(|line| line.n == place.n)))
}

/// Records that are read once more where a power failure took the end of the file: twice is better than not at all.
const AGAIN: u64 = 100;

/// Where to go on when a place does not stand any more: at its number, or before the end of what there is.
fn found_again(path: &Path, place: Place) -> io::Result<Place> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut starts, mut offset) = (Vec::new(), 0u64);
    while let Some((line, read)) = next_line(&mut reader)? {
        if line.is_some_and(|line| line.n == place.n) {
            return Ok(Place { n: place.n, offset });
        }
        starts.push(offset);
        offset += read;
    }
    let n = (starts.len() as u64).saturating_sub(AGAIN);
    let begin = usize::try_from(n).ok().and_then(|i| starts.get(i)).copied();
    Ok(Place { n, offset: begin.unwrap_or(0) })
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_on_where_it_was_and_finds_its_place_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let journal = Journal::open(&path).unwrap();
        let event = |n: u64| Event::Marked { study: "1.2".into(), revision: n, instances: 1 };
        (0..150).for_each(|n| journal.append(event(n), 5, true).unwrap());
        let numbers = |records: &[Record]| records.iter().map(|r| r.n).collect::<Vec<_>>();
        let (first, place) = since(&path, Place::default(), 7).unwrap();
        assert_eq!(numbers(&first), (0..7).collect::<Vec<_>>());
        assert_eq!(numbers(&since(&path, place, 2).unwrap().0), [7, 8]);
        for offset in [0, place.offset + 3, 1 << 40] {
            assert_eq!(numbers(&since(&path, Place { n: 7, offset }, 2).unwrap().0), [7, 8], "{offset}");
        }
        // The end of the journal was lost with the power: what came since is told, and what was told may be told again.
        let (again, end) = since(&path, Place { n: 500, offset: 1 << 40 }, 1000).unwrap();
        assert_eq!((numbers(&again).first(), numbers(&again).last()), (Some(&50), Some(&149)));
        assert!(since(&path, end, 10).unwrap().0.is_empty());
        journal.append(event(150), 5, true).unwrap();
        assert_eq!(numbers(&since(&path, end, 10).unwrap().0), [150]);
    }

    #[test]
    fn an_altered_line_breaks_the_chain_and_a_cut_line_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let event = |n: u64| Event::Marked { study: "1.2".into(), revision: n, instances: 1 };
        {
            let journal = Journal::open(&path).unwrap();
            (0..3).for_each(|n| journal.append(event(n), 5, true).unwrap());
        }
        assert_eq!(verify(&path).unwrap(), 3);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        Journal::open(&path).unwrap().append(event(9), 6, false).unwrap();
        assert_eq!(verify(&path).unwrap(), 4);
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"event\":\"cut\""));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "the journal, its tip, what was cut off");
        let altered = String::from_utf8(whole).unwrap().replacen("\"revision\":1", "\"revision\":7", 1);
        std::fs::write(&path, altered).unwrap();
        assert!(verify(&path).is_err());
    }
}
