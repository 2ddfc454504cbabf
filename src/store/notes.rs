//! Notes beside the objects: what can be made again from them at any time, kept because making it costs time. One file a series,
//! appended to, never synced: a note that is lost or torn is a note that is made again.

use super::Store;
use crate::dicom::Uid;
use flate2::Crc;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;

/// Length of the name, length of the note, checksum of both.
const HEAD: usize = 4 + 4 + 4;

/// The notes of a series.
#[derive(Default)]
pub struct Notes {
    bytes: Vec<u8>,
    found: Vec<(Range<usize>, Range<usize>)>,
}

impl Notes {
    /// Reads them as far as they are whole.
    fn of(bytes: Vec<u8>) -> (Notes, bool) {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some((name, note, end)) = record(&bytes, at) {
            found.push((name, note));
            at = end;
        }
        let whole = at == bytes.len();
        (Notes { bytes, found }, whole)
    }

    /// All notes by name, those written later last.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let at = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.found.iter().map(move |(name, note)| (at(name), at(note)))
    }
}

fn record(bytes: &[u8], at: usize) -> Option<(Range<usize>, Range<usize>, usize)> {
    let word = |n: usize| bytes.get(at + 4 * n..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b));
    let (name, note, sum) = (word(0)? as usize, word(1)? as usize, word(2)?);
    let (start, middle) = (at + HEAD, at.checked_add(HEAD)?.checked_add(name)?);
    let end = middle.checked_add(note)?;
    (checksum(bytes.get(start..end)?) == sum).then_some((start..middle, middle..end, end))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

impl Store {
    fn notes_path(&self, study: &Uid, series: &Uid) -> PathBuf {
        let object = self.path(&super::Key { study: study.clone(), series: series.clone(), sop_instance: series.clone() });
        let series = object.parent().unwrap_or(&object);
        let within = series.strip_prefix(self.root.join("objects")).unwrap_or(series);
        self.root.join("notes").join(within)
    }

    /// The notes of a series. A file that is torn is taken away, with what is whole of it returned.
    ///
    /// # Errors
    /// The disk fails.
    pub fn notes(&self, study: &Uid, series: &Uid) -> io::Result<Notes> {
        let path = self.notes_path(study, series);
        match fs::read(&path) {
            Ok(bytes) => {
                let (notes, whole) = Notes::of(bytes);
                if !whole {
                    let _ = fs::remove_file(&path);
                }
                Ok(notes)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Notes::default()),
            Err(e) => Err(e),
        }
    }

    /// Adds notes to a series: name and note of each.
    ///
    /// # Errors
    /// The disk fails; a torn note is noticed when it is read.
    pub fn add_notes(&self, study: &Uid, series: &Uid, notes: &[(&[u8], &[u8])]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (name, note) in notes {
            let body = [*name, *note].concat();
            for word in [u32::try_from(name.len()), u32::try_from(note.len()), Ok(checksum(&body))] {
                bytes.extend_from_slice(&word.map_err(io::Error::other)?.to_le_bytes());
            }
            bytes.extend_from_slice(&body);
        }
        let path = self.notes_path(study, series);
        let open = || File::options().create(true).append(true).open(&path);
        let mut file = match open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&path))?;
                open()?
            }
            other => other?,
        };
        file.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_and_torn_ones_do_not() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let (study, series) = (Uid::parse("1.2").unwrap(), Uid::parse("1.2.3").unwrap());
        store.add_notes(&study, &series, &[(b"a", b"one"), (b"b", b"")]).unwrap();
        store.add_notes(&study, &series, &[(b"a", b"two")]).unwrap();
        let all = |n: &Notes| n.iter().map(|(a, b)| [a, b"=", b].concat()).collect::<Vec<_>>();
        assert_eq!(all(&store.notes(&study, &series).unwrap()), [b"a=one".to_vec(), b"b=".to_vec(), b"a=two".to_vec()]);
        let path = store.notes_path(&study, &series);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 1);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(all(&store.notes(&study, &series).unwrap()).len(), 2);
        // It starts over, so that what is added later can be read.
        assert_eq!(all(&store.notes(&study, &series).unwrap()).len(), 0);
        fs::write(&path, vec![0xFF; 64]).unwrap();
        assert_eq!(all(&store.notes(&study, &series).unwrap()).len(), 0);
    }
}
