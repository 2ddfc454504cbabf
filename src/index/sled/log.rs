//! The log of commits: what makes a change durable in one short write, long before sled gets round to its pages.
//!
//! sled 0.34 ends a flush with `sync_file_range`, which a power failure does not honour, and a flush for each change is dear.
//! So the writes of a change go into this log and are synced there; from time to time sled is flushed and its file really synced, and the
//! log starts over. The file is written once in full beforehand, so that a commit never waits for metadata.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of the file.
const CAPACITY: u64 = 16 << 20;
/// Length, generation, checksum.
const HEAD: usize = 8 + 8 + 8;

/// Keys with what they hold from now on, or that they are gone; in order.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Writes(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Writes {
    pub fn insert(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push((key.into(), Some(value.into())));
    }

    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.0.push((key.into(), None));
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Vec<u8>, Option<Vec<u8>>)> {
        self.0.iter()
    }
}

/// See the module.
pub(super) struct Log {
    file: File,
    at: u64,
    generation: u64,
}

impl Log {
    /// Opens or creates the log; the changes that may not have reached sled, oldest first.
    pub fn open(path: &Path) -> io::Result<(Log, Vec<Writes>)> {
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        if file.metadata()?.len() < CAPACITY {
            file.set_len(0)?;
            for at in (0..CAPACITY).step_by(1 << 20) {
                file.write_all_at(&vec![0u8; 1 << 20], at)?;
            }
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(0))?;
        let mut reader = io::BufReader::with_capacity(1 << 16, &file);
        let (mut entries, mut generation) = (Vec::new(), None);
        while let Some((found, payload)) = read_record(&mut reader)? {
            if generation.is_some_and(|g| g != found) {
                break;
            }
            generation = Some(found);
            match postcard::from_bytes(&payload) {
                Ok(entry) => entries.push(entry),
                Err(_) => break,
            }
        }
        Ok((Log { file, at: 0, generation: generation.map_or_else(first_generation, |g| g + 1) }, entries))
    }

    /// Appends and syncs a change; false when there is no room: flush sled, [`Log::restart`], and try again.
    pub fn append(&mut self, payload: &[u8]) -> io::Result<bool> {
        let length = payload.len() as u64;
        if self.at + HEAD as u64 + length > CAPACITY {
            return Ok(false);
        }
        let mut record = Vec::with_capacity(HEAD + payload.len());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&self.generation.to_le_bytes());
        record.extend_from_slice(&checksum(self.generation, payload));
        record.extend_from_slice(payload);
        self.file.write_all_at(&record, self.at)?;
        self.file.sync_data()?;
        self.at += record.len() as u64;
        Ok(true)
    }

    /// Starts over: everything logged so far is durable elsewhere.
    pub fn restart(&mut self) {
        self.at = 0;
        self.generation += 1;
    }

    /// Whether a change fits into the log at all.
    pub fn can_hold(payload: &[u8]) -> bool {
        (payload.len() + HEAD) as u64 <= CAPACITY
    }
}

/// Later than any generation of a log whose first record was torn.
fn first_generation() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(1)
}

/// The next whole record; none at the end of what was written.
fn read_record(from: &mut impl Read) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut head = [0u8; HEAD];
    if from.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let number = |at: usize| head.get(at..at + 8).and_then(|b| b.first_chunk::<8>()).map_or(0, |b| u64::from_le_bytes(*b));
    let (length, generation) = (number(0), number(8));
    if length == 0 || length > CAPACITY {
        return Ok(None);
    }
    let mut payload = Vec::new();
    from.take(length).read_to_end(&mut payload)?;
    let whole = payload.len() as u64 == length && head.get(16..) == Some(checksum(generation, &payload).as_slice());
    Ok(whole.then_some((generation, payload)))
}

fn checksum(generation: u64, payload: &[u8]) -> [u8; 8] {
    let digest = Sha256::new().chain_update(generation.to_le_bytes()).chain_update(payload).finalize();
    digest.first_chunk::<8>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8) -> Vec<u8> {
        let mut writes = Writes::default();
        writes.insert([n], [1]);
        postcard::to_stdvec(&writes).unwrap()
    }

    #[test]
    fn what_was_appended_since_the_restart_comes_back_and_a_torn_record_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let seen = |entries: Vec<Writes>| {
            entries.iter().flat_map(|w| w.iter().map(|(k, _)| k[0]).collect::<Vec<_>>()).collect::<Vec<u8>>()
        };
        {
            let (mut log, entries) = Log::open(&path).unwrap();
            assert!(seen(entries).is_empty());
            assert!((1..=3).all(|n| log.append(&entry(n)).unwrap()));
            log.restart();
            assert!(log.append(&entry(7)).unwrap());
        }
        // The old records behind the restart are of another generation.
        let (mut log, entries) = Log::open(&path).unwrap();
        assert_eq!(seen(entries), [7]);
        assert!(log.append(&entry(8)).unwrap() && log.append(&entry(9)).unwrap());
        let end = log.at;
        log.file.write_all_at(&[0xAA], end - 1).unwrap();
        assert_eq!(seen(Log::open(&path).unwrap().1), [8]);
        assert!(!log.append(&vec![0u8; CAPACITY as usize]).unwrap());
    }
}
