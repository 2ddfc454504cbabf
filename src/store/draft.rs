//! An object on its way in: counted and hashed while it is written, gone if it is dropped before it is finished.

use crate::dicom::stamp::{self, Kind, Stamp};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// See the module.
pub struct Draft {
    file: File,
    hash: Sha256,
    length: u64,
    stamp_at: u64,
    folder: Arc<File>,
    guard: Guard,
}

/// A draft whose bytes are durable.
pub struct Finished {
    guard: Guard,
    /// What its stamp says.
    pub stamp: Stamp,
}

/// Takes the draft's name away when dropped.
struct Guard(PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Draft {
    pub(super) fn create(path: PathBuf, folder: Arc<File>, meta: &[u8]) -> io::Result<Draft> {
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        let guard = Guard(path);
        file.write_all(meta)?;
        let stamp_at = (meta.len() as u64).saturating_sub(stamp::LENGTH as u64);
        Ok(Draft { file, hash: Sha256::new(), length: 0, stamp_at, folder, guard })
    }

    /// Appends bytes of the data set.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Bytes of the data set so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes the stamp and makes the file and its name durable. Many threads do this at once: the file system shares the work
    /// among them, where a thread that did it for all would make each wait for everybody's data.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn finish(self, kind: Kind, received_ms: i64) -> io::Result<Finished> {
        let sha256 = self.hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        let stamp = Stamp { sha256, length: self.length, received_ms, kind };
        self.file.write_all_at(&stamp.to_bytes(), self.stamp_at)?;
        self.file.sync_data()?;
        self.folder.sync_all()?;
        Ok(Finished { guard: self.guard, stamp })
    }
}

impl Finished {
    pub(super) fn path(&self) -> &Path {
        &self.guard.0
    }
}
