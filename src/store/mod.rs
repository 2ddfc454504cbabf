//! Bytes by key: one file an instance, written as a draft, made durable, then published under its name by a hard link.
//!
//! A draft keeps its name until the index knows the object and the object's own folder is synced. So a draft is durable by
//! itself; the folders of objects are synced later, many objects at a time, and what a crash leaves behind is found in
//! `drafts/` alone, without a walk over the archive. A published file is never overwritten: linking to an existing name
//! fails, atomically.

mod draft;
mod notes;
mod papers;

pub use draft::{Draft, Finished};
pub use notes::Notes;
pub use papers::Papers;

use crate::dicom::Uid;
use crate::dicom::part10::{FileMeta, read_meta};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Names an instance in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Instance UID.
    pub sop_instance: Uid,
}

/// What publishing a draft led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Published {
    /// The name was free and is now ours.
    New,
    /// A file of that name is there already; nothing was changed.
    Exists,
}

/// The files below a data root.
pub struct Store {
    root: PathBuf,
    next_draft: AtomicU64,
    /// Acknowledged objects whose folders are not synced yet.
    unsynced: Mutex<Unsynced>,
    /// The folder of drafts, open for syncing.
    drafts: Arc<File>,
    /// When free space was last looked at, and what it was.
    free: Mutex<Option<(Instant, u64)>>,
    /// Held open: the lock of the data root.
    orders: Papers,
    _lock: File,
}

#[derive(Default)]
struct Unsynced {
    drafts: Vec<Finished>,
    folders: BTreeSet<PathBuf>,
}

/// How long a look at the free space holds.
const FREE_SPACE_AGE: Duration = Duration::from_millis(50);
/// Drafts that may wait for the sync of their objects' folders.
const WAITING: usize = 512;

/// Changes when the layout on disk changes.
const LAYOUT: &str = "hutong storage 1\n";

impl Store {
    /// Opens or creates a data root, for this process alone.
    ///
    /// # Errors
    /// Another process uses it (`WouldBlock`), it has another layout, or it cannot be written.
    pub fn open(root: &Path) -> io::Result<Store> {
        for folder in ["objects", "drafts"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let lock = File::options().create(true).truncate(false).write(true).open(root.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::new(io::ErrorKind::WouldBlock, "another process uses this data root"))?;
        let version = root.join("LAYOUT");
        match fs::read_to_string(&version) {
            Ok(text) if text == LAYOUT => {}
            Ok(text) if !text.is_empty() => return Err(io::Error::other("the data root has the layout of another version")),
            // Missing, or cut off by a power failure at the very first start.
            Ok(_) | Err(_) => {
                let mut file = File::create(&version)?;
                file.write_all(LAYOUT.as_bytes())?;
                file.sync_all()?;
                sync_folder(root)?;
            }
        }
        Ok(Store {
            root: root.into(),
            next_draft: AtomicU64::new(0),
            unsynced: Mutex::default(),
            drafts: Arc::new(File::open(root.join("drafts"))?),
            free: Mutex::default(),
            orders: Papers::open(root, "orders")?,
            _lock: lock,
        })
    }

    /// Whom studies were ordered for, by Study Instance UID, as modalities told.
    pub fn orders(&self) -> &Papers {
        &self.orders
    }

    /// The data root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes that may still be written; looked up anew every 50 ms at most.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let mut last = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, free)) = *last
            && when.elapsed() < FREE_SPACE_AGE
        {
            return Ok(free);
        }
        let s = rustix::fs::statvfs(&self.root)?;
        let free = s.f_bavail.saturating_mul(s.f_frsize);
        *last = Some((Instant::now(), free));
        Ok(free)
    }

    /// Where files without a name may be made, on the disk of the archive.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("drafts")
    }

    /// Starts a draft with its meta header.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn draft(&self, meta: &[u8]) -> io::Result<Draft> {
        let number = self.next_draft.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join("drafts").join(format!("{}-{number}.part", std::process::id()));
        Draft::create(path, self.drafts.clone(), meta)
    }

    /// Gives durable drafts their names. The drafts stay until [`Store::settle`]: they are what is durable so far.
    pub fn publish(&self, drafts: &[(&Finished, &Key)]) -> Vec<io::Result<Published>> {
        let mut folders = BTreeSet::new();
        let results = drafts.iter().map(|(draft, key)| self.link(draft.path(), key, &mut folders)).collect();
        self.lock().folders.extend(folders);
        results
    }

    fn lock(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, draft: &Path, key: &Key, folders: &mut BTreeSet<PathBuf>) -> io::Result<Published> {
        let path = self.path(key);
        let result = match fs::hard_link(draft, &path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.make_folders(&path, folders)?;
                fs::hard_link(draft, &path)
            }
            other => other,
        };
        match result {
            Ok(()) => {
                folders.extend(path.parent().map(Path::to_path_buf));
                Ok(Published::New)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Published::Exists),
            Err(e) => Err(e),
        }
    }

    /// Makes the folders above a file; each parent that got a new entry must be synced as well.
    fn make_folders(&self, path: &Path, folders: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let objects = self.root.join("objects");
        let above: Vec<&Path> = path.ancestors().skip(1).take_while(|p| **p != objects).collect();
        for folder in above.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => folders.extend(folder.parent().map(Path::to_path_buf)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The index knows these objects now. Their draft names go once their own folders are synced.
    pub fn settle(&self, drafts: impl IntoIterator<Item = Finished>) {
        let mut unsynced = self.lock();
        unsynced.drafts.extend(drafts);
        let full = unsynced.drafts.len() >= WAITING;
        drop(unsynced);
        if full {
            self.sweep();
        }
    }

    /// Syncs the folders of acknowledged objects and takes their draft names away. What fails is tried again with the next.
    pub fn sweep(&self) {
        let Unsynced { drafts, folders } = std::mem::take(&mut *self.lock());
        if let Some(e) = folders.iter().find_map(|folder| sync_folder(folder).err()) {
            tracing::error!(error = %e, "object folders cannot be synced");
            let mut unsynced = self.lock();
            unsynced.drafts.extend(drafts);
            unsynced.folders.extend(folders);
        }
    }

    /// Whether an instance has its file.
    pub fn has(&self, key: &Key) -> bool {
        self.path(key).is_file()
    }

    /// Gives a draft that a crash left its name, if it has not got it, and makes the name durable.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn adopt(&self, draft: &Path, key: &Key) -> io::Result<Published> {
        let mut folders = BTreeSet::new();
        let published = self.link(draft, key, &mut folders)?;
        // All above it: a folder may have been made before the crash and its own name not synced.
        let objects = self.root.join("objects");
        folders.extend(self.path(key).ancestors().skip(1).take_while(|p| p.starts_with(&objects)).map(Path::to_path_buf));
        folders.iter().try_for_each(|folder| sync_folder(folder))?;
        Ok(published)
    }

    /// Where an instance lies.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.root
            .join("objects")
            .join(shard(&key.study))
            .join(key.study.as_str())
            .join(key.series.as_str())
            .join(format!("{}.dcm", key.sop_instance))
    }

    /// Opens an instance and reads its meta header.
    ///
    /// # Errors
    /// It is not there, or its meta header is damaged.
    pub fn open_object(&self, key: &Key) -> io::Result<(File, FileMeta)> {
        let file = File::open(self.path(key))?;
        let meta = read_meta(BufReader::with_capacity(2048, &file)).map_err(io::Error::other)?;
        Ok((file, meta))
    }

    /// Length and SHA-256 of an instance's data set as they are on disk now.
    ///
    /// # Errors
    /// It is not there, or cannot be read to its end.
    pub fn digest(&self, key: &Key) -> io::Result<(u64, String)> {
        let (file, meta) = self.open_object(key)?;
        digest(file, meta.data_set_at)
    }

    /// Every published file, in no particular order.
    pub fn files(&self) -> impl Iterator<Item = io::Result<PathBuf>> {
        walk(self.root.join("objects"))
    }

    /// Drafts that a former process left. Those that were published are still of use; see `ingest`.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn leftovers(&self) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(self.root.join("drafts"))?.map(|entry| entry.map(|e| e.path())).collect()
    }
}

/// Length and SHA-256 (hexadecimal) of a data set that begins at a place and goes to the end.
///
/// # Errors
/// It cannot be read to its end.
pub fn digest(mut file: impl Read + Seek, from: u64) -> io::Result<(u64, String)> {
    file.seek(SeekFrom::Start(from))?;
    let (mut hash, mut length, mut buffer) = (Sha256::new(), 0u64, vec![0u8; 1 << 17]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            got => {
                hash.update(buffer.get(..got).unwrap_or_default());
                length += got as u64;
            }
        }
    }
    Ok((length, hash.finalize().iter().map(|b| format!("{b:02x}")).collect()))
}

/// Spreads studies over 256 folders.
fn shard(study: &Uid) -> String {
    let hash = study.as_str().bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{:02x}", (hash >> 24) & 0xFF)
}

/// Makes the entries of a folder durable.
///
/// # Errors
/// The file system refuses.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Files below a folder, depth first; links are not followed: what they lead to is not the store's.
pub fn walk(folder: PathBuf) -> impl Iterator<Item = io::Result<PathBuf>> {
    let mut stack = vec![folder];
    let mut files: Vec<PathBuf> = Vec::new();
    std::iter::from_fn(move || {
        loop {
            if let Some(file) = files.pop() {
                return Some(Ok(file));
            }
            let folder = stack.pop()?;
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(e) => return Some(Err(e)),
            };
            for entry in entries.flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => stack.push(entry.path()),
                    Ok(kind) if kind.is_file() => files.push(entry.path()),
                    _ => {}
                }
            }
            files.sort_by(|a, b| b.cmp(a));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: &str) -> Key {
        let uid = |t: &str| Uid::parse(t).unwrap();
        Key { study: uid("1.2"), series: uid("1.2.3"), sop_instance: uid(n) }
    }

    #[test]
    fn a_published_file_is_never_overwritten_and_a_dropped_draft_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let finish = |bytes: &[u8]| {
            let mut draft = store.draft(&[b' '; 600]).unwrap();
            draft.write(bytes).unwrap();
            draft.finish(crate::dicom::stamp::Kind::Original, 1).unwrap()
        };
        let (first, second) = (finish(b"first"), finish(b"second"));
        let key = key("1.2.3.4");
        assert!(matches!(store.publish(&[(&first, &key)])[0], Ok(Published::New)));
        assert!(matches!(store.publish(&[(&second, &key)])[0], Ok(Published::Exists)));
        store.settle([first]);
        drop(second);
        assert_eq!(store.leftovers().unwrap().len(), 1);
        store.sweep();
        assert!(fs::read(store.path(&key)).unwrap().ends_with(b"first"));
        drop(store.draft(b"abandoned").unwrap());
        assert_eq!(store.leftovers().unwrap().len(), 0);
        assert_eq!(store.files().count(), 1);
    }

    #[test]
    fn a_data_root_serves_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let _store = Store::open(folder.path()).unwrap();
        assert_eq!(Store::open(folder.path()).err().map(|e| e.kind()), Some(io::ErrorKind::WouldBlock));
    }
}
