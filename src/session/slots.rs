//! Bounded counts by key: sessions by user, connections by address.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// How many of something each key holds. A key that holds none takes no memory.
#[derive(Debug)]
pub struct Slots<K> {
    taken: Mutex<HashMap<K, u32>>,
}

impl<K: Eq + Hash + Clone> Slots<K> {
    /// A table in which nothing is taken.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(HashMap::new()) })
    }

    /// Takes a slot of `key` unless `limit` of them are taken; dropping it gives it back.
    pub fn take(self: &Arc<Self>, key: K, limit: u32) -> Option<Slot<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let held = taken.get(&key).copied().unwrap_or(0);
        if held >= limit {
            return None;
        }
        taken.insert(key.clone(), held + 1);
        Some(Slot { table: Arc::clone(self), key })
    }
}

/// A slot that is taken until it is dropped.
#[derive(Debug)]
pub struct Slot<K: Eq + Hash + Clone> {
    table: Arc<Slots<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut taken = self.table.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.key) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_back_on_drop() {
        let table = Slots::new();
        let first = table.take("mrose", 2).unwrap();
        let second = table.take("mrose", 2).unwrap();
        assert!(table.take("mrose", 2).is_none());
        assert!(table.take("someone else", 2).is_some());
        drop(first);
        assert!(table.take("mrose", 2).is_some());
        drop(second);
        assert!(table.taken.lock().unwrap().is_empty());
    }
}
