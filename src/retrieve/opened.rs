//! The objects that were opened last: a viewer asks for one frame after the other, and the header of an enhanced object can be megabytes.

use super::object::{Object, ObjectError};
use crate::dicom::Uid;
use crate::index::InstanceRow;
use crate::store::Store;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Objects kept open; each holds a file descriptor.
const KEPT: usize = 48;
/// Values up to this length are read with the header, bytes.
const VALUE_LIMIT: u64 = 1 << 16;
/// Objects that had to be inflated into memory are not kept over this size.
const IN_MEMORY: u64 = 1 << 24;

/// See the module.
#[derive(Default)]
pub struct Opened(Mutex<VecDeque<(Uid, Arc<Object>)>>);

impl Opened {
    /// Opens an instance, or gives the one that is open. Values over 64 KiB, pixel data always, are deferred.
    ///
    /// # Errors
    /// It is gone or damaged.
    pub fn get(&self, store: &Store, row: &InstanceRow) -> Result<Arc<Object>, ObjectError> {
        {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = kept.iter().position(|(uid, _)| *uid == row.sop_instance).and_then(|i| kept.remove(i)) {
                let object = entry.1.clone();
                kept.push_front(entry);
                return Ok(object);
            }
        }
        let object = Arc::new(Object::open(store, row, VALUE_LIMIT)?);
        if object.bytes_in_memory() <= IN_MEMORY {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_front((row.sop_instance.clone(), object.clone()));
            kept.truncate(KEPT);
        }
        Ok(object)
    }
}
