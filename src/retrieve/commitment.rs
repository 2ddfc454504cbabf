//! Whether instances are kept: known under the class that is named, and on disk with the bytes that came (PS3.4 annex J). What is
//! committed was read from the disk to its last byte.

use crate::dicom::Uid;
use crate::index::{Index, IndexError};
use crate::store::Store;
use std::collections::BTreeSet;

use super::object::key_of;
use crate::dimse::commitment::Outcome;

/// An instance that a peer asks about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Its SOP Class UID.
    pub class: String,
    /// Its SOP Instance UID.
    pub instance: String,
}

/// Failure Reason (0008,1197) where it is not kept (PS3.3 C.14.1.1).
pub type Reason = u16;

/// Nothing of that name is here.
pub const NO_SUCH_INSTANCE: Reason = 0x0112;
/// It is here under another class.
pub const CLASS_CONFLICT: Reason = 0x0119;
/// Its file is gone or damaged.
pub const PROCESSING_FAILURE: Reason = 0x0110;

/// Looks at one instance.
///
/// # Errors
/// The index fails.
pub fn check(store: &Store, index: &dyn Index, wanted: &Wanted) -> Result<Result<(), Reason>, IndexError> {
    let Ok(uid) = Uid::parse(&wanted.instance) else { return Ok(Err(NO_SUCH_INSTANCE)) };
    let Some(row) = index.instance(&uid)? else { return Ok(Err(NO_SUCH_INSTANCE)) };
    if row.sop_class != wanted.class {
        return Ok(Err(CLASS_CONFLICT));
    }
    let key = key_of(&row);
    match store.digest(&key) {
        Ok((length, sha256)) if length == row.length && sha256 == row.sha256 => Ok(Ok(())),
        Ok(_) => {
            tracing::error!(instance = %uid, "a stored file does not hold the bytes that came; it is not committed");
            Ok(Err(PROCESSING_FAILURE))
        }
        Err(e) => {
            tracing::error!(instance = %uid, error = %e, "a stored file cannot be read; it is not committed");
            Ok(Err(PROCESSING_FAILURE))
        }
    }
}

/// Looks at all instances of a request, each once however often it is named.
///
/// # Errors
/// The index fails.
pub fn results(store: &Store, index: &dyn Index, all: &[(String, String)]) -> Result<Outcome, IndexError> {
    let mut outcome = Outcome::default();
    for (class, instance) in all.iter().collect::<BTreeSet<_>>() {
        match check(store, index, &Wanted { class: class.clone(), instance: instance.clone() })? {
            Ok(()) => outcome.kept.push((class.clone(), instance.clone())),
            Err(reason) => outcome.failed.push((class.clone(), instance.clone(), reason)),
        }
    }
    Ok(outcome)
}
