//! Connections that have not asked for an association yet, by address: one that opens many and says nothing must not keep others out until
//! the ARTIM timer ends them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many each address has.
#[derive(Clone, Default)]
pub struct Silent(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them; it counts until it is dropped.
pub struct One {
    all: Silent,
    address: IpAddr,
}

impl Silent {
    /// Counts one more connection of an address; none when it has `most` already.
    pub fn enter(&self, address: IpAddr, most: usize) -> Option<One> {
        let mut all = self.lock();
        let own = all.entry(address).or_default();
        if *own >= most {
            return None;
        }
        *own += 1;
        Some(One { all: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(own) = all.get_mut(&self.address) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                all.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_others_are_not_kept_out() {
        let silent = Silent::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let held: Vec<Option<One>> = (0..3).map(|_| silent.enter(one, 2)).collect();
        assert_eq!(held.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
        assert!(silent.enter(other, 2).is_some());
        drop(held);
        assert!(silent.enter(one, 1).is_some() && silent.lock().is_empty());
    }
}
