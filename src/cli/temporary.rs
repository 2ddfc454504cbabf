//! A folder that goes away with the command.

use anyhow::Context;
use std::path::{Path, PathBuf};

/// See the module.
pub struct Temporary(PathBuf);

impl Temporary {
    /// Makes it.
    pub fn new(name: &str) -> anyhow::Result<Temporary> {
        let path = std::env::temp_dir().join(format!("hutong-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Temporary(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
