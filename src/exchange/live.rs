//! The register as it is now: its file is read again when it changes, so that a revoked accreditation takes effect at once.
//!
//! Never replaces a good register by a file that does not read.

use super::register::Register;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// See the module.
pub struct LiveRegister {
    path: Option<PathBuf>,
    /// The text it was read from, and what it says.
    now: RwLock<(String, Arc<Register>)>,
}

impl LiveRegister {
    /// Of a file; without one, an empty register that stays so.
    ///
    /// # Errors
    /// The file does not read: path, and line and key that are wrong.
    pub fn open(path: Option<PathBuf>) -> Result<LiveRegister, (PathBuf, String)> {
        let Some(file) = &path else { return Ok(LiveRegister { path, now: RwLock::default() }) };
        let wrong = |e: String| (file.clone(), e);
        let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
        let register = Register::parse(&text).map_err(wrong)?;
        Ok(LiveRegister { path, now: RwLock::new((text, Arc::new(register))) })
    }

    /// One that never changes.
    pub fn fixed(register: Register) -> LiveRegister {
        LiveRegister { path: None, now: RwLock::new((String::new(), Arc::new(register))) }
    }

    /// What it says now.
    pub fn current(&self) -> Arc<Register> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Reads the file again; says whether it has changed.
    ///
    /// # Errors
    /// It does not read; what was read last still holds.
    pub fn reread(&self) -> Result<bool, String> {
        let Some(file) = &self.path else { return Ok(false) };
        let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
        if self.now.read().unwrap_or_else(PoisonError::into_inner).0 == text {
            return Ok(false);
        }
        let register = Arc::new(Register::parse(&text)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = (text, register);
        Ok(true)
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
