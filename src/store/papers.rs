//! Small documents beside the objects: tasks, requests, settings. One JSON file each, written whole or not at all, and durable before
//! anybody is told.

use super::sync_folder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A folder of them.
pub struct Papers {
    folder: PathBuf,
}

impl Papers {
    /// Opens or makes the folder; what was half written when a process ended is taken away.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(root: &Path, name: &str) -> io::Result<Papers> {
        let papers = Papers { folder: root.join(name) };
        std::fs::create_dir_all(&papers.folder)?;
        for entry in std::fs::read_dir(&papers.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "draft") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(papers)
    }

    /// Takes away what has not changed for so long.
    ///
    /// # Errors
    /// The folder cannot be read or changed.
    pub fn forget(&self, older_than: Duration) -> io::Result<()> {
        let now = SystemTime::now();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let age = entry.metadata()?.modified().ok().and_then(|then| now.duration_since(then).ok());
            if age.is_some_and(|age| age > older_than) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Names are our own or UIDs; anything else in them becomes `_`.
    fn path(&self, name: &str) -> PathBuf {
        let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        self.folder.join(format!("{}.json", name.chars().map(safe).collect::<String>()))
    }

    /// Writes one, in place of the one of that name.
    ///
    /// # Errors
    /// The disk refuses; what was there stays.
    pub fn save(&self, name: &str, paper: &impl Serialize) -> io::Result<()> {
        let path = self.path(name);
        let draft = path.with_extension("draft");
        std::fs::write(&draft, serde_json::to_vec(paper).map_err(io::Error::other)?)?;
        std::fs::File::open(&draft)?.sync_all()?;
        std::fs::rename(draft, path)?;
        sync_folder(&self.folder)
    }

    /// One by its name.
    ///
    /// # Errors
    /// The disk fails, or it is damaged.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match std::fs::read(self.path(name)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Takes one away; it may be gone already.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// All of them; a damaged one is named and left where it is.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all<T: DeserializeOwned>(&self) -> io::Result<Vec<T>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "json") {
                match serde_json::from_slice(&std::fs::read(&path)?) {
                    Ok(paper) => found.push(paper),
                    Err(e) => tracing::error!(file = ?path.file_name(), error = %e, "a document does not read"),
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn papers_are_kept_replaced_and_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let papers = Papers::open(folder.path(), "tasks").unwrap();
        papers.save("1.2", &vec![1, 2]).unwrap();
        papers.save("1.2", &vec![3]).unwrap();
        papers.save("../escape", &vec![4]).unwrap();
        assert_eq!(papers.read::<Vec<u32>>("1.2").unwrap(), Some(vec![3]));
        assert_eq!(papers.read::<Vec<u32>>("none").unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        papers.remove("1.2").unwrap();
        papers.remove("1.2").unwrap();
        std::fs::write(folder.path().join("tasks/torn.draft"), "x").unwrap();
        std::fs::write(folder.path().join("tasks/bad.json"), "x").unwrap();
        assert_eq!(Papers::open(folder.path(), "tasks").unwrap().all::<Vec<u32>>().unwrap(), [vec![4]]);
        assert!(!folder.path().join("tasks/torn.draft").exists());
    }
}
