//! The objects that were opened last: a viewer asks for one frame after the other, and the header of an enhanced object can be megabytes.

use super::object::{Object, ObjectError, WITH_HEADER};
use crate::dicom::{DataSet, Uid, Value};
use crate::index::InstanceRow;
use crate::store::Store;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Objects kept open; each holds a file descriptor.
const KEPT: usize = 48;
/// All headers that are kept, bytes.
const MEMORY: u64 = 128 << 20;
/// All objects that are kept inflated in files of their own, bytes.
const SCRATCH: u64 = 4 << 30;

/// See the module.
#[derive(Default)]
pub struct Opened(Mutex<VecDeque<Kept>>);

struct Kept {
    uid: Uid,
    object: Arc<Object>,
    /// Bytes that it holds in memory.
    size: u64,
    /// Bytes that it holds in a file of its own.
    scratch: u64,
}

impl Opened {
    /// Opens an instance, or gives the one that is open. Values over 4 MiB, pixel data always, are deferred.
    ///
    /// # Errors
    /// It is gone or damaged.
    pub fn get(&self, store: &Store, row: &InstanceRow) -> Result<Arc<Object>, ObjectError> {
        {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = kept.iter().position(|k| k.uid == row.sop_instance).and_then(|i| kept.remove(i)) {
                let object = entry.object.clone();
                kept.push_front(entry);
                return Ok(object);
            }
        }
        let object = Arc::new(Object::open(store, row, WITH_HEADER)?);
        let size = object.bytes_in_memory() + size_of(&object.data_set);
        if size <= MEMORY / 4 {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let scratch = object.scratch;
            kept.push_front(Kept { uid: row.sop_instance.clone(), object: object.clone(), size, scratch });
            kept.truncate(KEPT);
            let over = |all: &VecDeque<Kept>| {
                all.iter().map(|k| k.size).sum::<u64>() > MEMORY || all.iter().map(|k| k.scratch).sum::<u64>() > SCRATCH
            };
            while over(&kept) {
                kept.pop_back();
            }
        }
        Ok(object)
    }
}

/// Bytes of a data set in memory, roughly.
fn size_of(data_set: &DataSet) -> u64 {
    let one = |value: &Value| match value {
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::Items(items) => items.iter().map(size_of).sum(),
        Value::Fragments(fragments) => 16 * fragments.len() as u64,
        Value::Deferred(_) => 0,
    };
    data_set.elements.iter().map(|e| 64 + one(&e.value)).sum()
}
