//! The register as it is now: its file is read again when it changes, so that a revoked accreditation takes effect at once.
//!
//! Never replaces a good register by a file that does not read.

use super::register::Register;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

/// See the module.
pub struct LiveRegister {
    path: Option<PathBuf>,
    /// The text it was read from, and what it says.
    now: RwLock<(String, Arc<Register>)>,
    /// It was replaced here since it was read last.
    changed: AtomicBool,
    /// Its file was changed by somebody else, and nobody has asked yet.
    edited: AtomicBool,
}

impl LiveRegister {
    /// Of a file; without one, an empty register that stays so.
    ///
    /// # Errors
    /// The file does not read: path, and line and key that are wrong.
    pub fn open(path: Option<PathBuf>) -> Result<LiveRegister, (PathBuf, String)> {
        let Some(file) = &path else {
            return Ok(LiveRegister {
                path,
                now: RwLock::default(),
                changed: AtomicBool::new(false),
                edited: AtomicBool::new(false),
            });
        };
        let wrong = |e: String| (file.clone(), e);
        let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
        let register = Register::parse(&text).map_err(wrong)?;
        Ok(LiveRegister {
            path,
            now: RwLock::new((text, Arc::new(register))),
            changed: AtomicBool::new(false),
            edited: AtomicBool::new(false),
        })
    }

    /// One that never changes.
    pub fn fixed(register: Register) -> LiveRegister {
        LiveRegister {
            path: None,
            now: RwLock::new((String::new(), Arc::new(register))),
            changed: AtomicBool::new(false),
            edited: AtomicBool::new(false),
        }
    }

    /// What it says now.
    pub fn current(&self) -> Arc<Register> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Its text, where it is of a file.
    pub fn text(&self) -> Option<String> {
        self.path.as_ref().map(|_| self.now.read().unwrap_or_else(PoisonError::into_inner).0.clone())
    }

    /// Puts a register in the place of the present one if that `matches`; the old one stays beside it under its time. False when it does
    /// not match. `record` comes before the change: what cannot be recorded is not done.
    ///
    /// # Errors
    /// It does not read, has no file, or the disk refuses.
    pub fn replace(
        &self,
        text: &str,
        matches: impl FnOnce(&str) -> bool,
        record: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<bool> {
        let register = Register::parse(text).map_err(io::Error::other)?;
        let file = self.path.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if !matches(&now.0) {
            return Ok(false);
        }
        record()?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        std::fs::write(file.with_extension(format!("before-{since}.toml")), &now.0)?;
        let draft = file.with_extension("draft");
        std::fs::write(&draft, text)?;
        std::fs::File::open(&draft)?.sync_all()?;
        std::fs::rename(&draft, file)?;
        *now = (text.to_string(), Arc::new(register));
        // The thread that follows the register holds the studies against it.
        self.changed.store(true, Ordering::Release);
        Ok(true)
    }

    /// Reads the file again; says whether it has changed.
    ///
    /// # Errors
    /// It does not read; what was read last still holds.
    pub fn reread(&self) -> Result<bool, String> {
        let Some(file) = &self.path else { return Ok(false) };
        let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
        if self.now.read().unwrap_or_else(PoisonError::into_inner).0 == text {
            return Ok(self.changed.swap(false, Ordering::AcqRel));
        }
        let register = Arc::new(Register::parse(&text)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (text, register);
        self.edited.store(true, Ordering::Release);
        Ok(true)
    }

    /// Whether the file was changed by another way than this node's since this was asked last.
    pub fn take_edited(&self) -> bool {
        self.edited.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_replaces_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        write("[[hospital]]\ncode = \"A\"\nname = \"a\"\n");
        let live = LiveRegister::open(Some(file.path().into())).unwrap();
        assert_eq!(live.reread(), Ok(false));
        write("[[hospital]]\ncod = 1\n");
        assert!(live.reread().is_err());
        assert_eq!(live.current().hospitals.len(), 1);
        write("");
        assert_eq!((live.reread(), live.current().hospitals.len()), (Ok(true), 0));
    }
}
