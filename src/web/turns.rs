//! Turns at what costs much memory and time: pictures and frames are made by so many at a time, whoever asks. A turn is held while something
//! is made, never while a client reads.

use std::sync::{Condvar, Mutex, PoisonError};

/// See the module.
pub struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

/// Held while something is made.
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// So many at a time, at least one.
    pub fn new(count: usize) -> Turns {
        Turns { free: Mutex::new(count.max(1)), freed: Condvar::new() }
    }

    /// Waits for a turn; on a thread that may block.
    pub fn take(&self) -> Turn<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
