//! Bounded counts by key: sessions by user, connections by address.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of slots that are taken for each key. A key without slots takes no memory.
///
/// The slots of one key share an `S`, which is created with the first of them.
#[derive(Debug)]
pub struct Slots<K, S = ()> {
    taken: Mutex<HashMap<K, Taken<S>>>,
}

#[derive(Debug)]
struct Taken<S> {
    held: u32,
    shared: S,
}

impl<K: Eq + Hash + Clone, S: Clone + Default> Slots<K, S> {
    /// A table in which no slot is taken.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(HashMap::new()) })
    }

    /// Takes a slot of `key` unless `limit` of them are taken. Dropping the slot releases it.
    pub fn take(self: &Arc<Self>, key: K, limit: u32) -> Option<Slot<K, S>> {
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = match all.get_mut(&key) {
            Some(taken) if taken.held >= limit => return None,
            Some(taken) => {
                taken.held += 1;
                taken.shared.clone()
            }
            None if limit == 0 => return None,
            None => {
                let shared = S::default();
                all.insert(key.clone(), Taken { held: 1, shared: shared.clone() });
                shared
            }
        };
        Some(Slot { table: Arc::clone(self), key, shared })
    }

    /// The number of slots of `key` that are taken.
    pub fn held(&self, key: &K) -> u32 {
        let all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).map_or(0, |taken| taken.held)
    }
}

/// A slot that is taken until it is dropped.
#[derive(Debug)]
pub struct Slot<K: Eq + Hash, S = ()> {
    table: Arc<Slots<K, S>>,
    key: K,
    shared: S,
}

impl<K: Eq + Hash, S> Slot<K, S> {
    /// The value that all slots of its key share.
    pub fn shared(&self) -> &S {
        &self.shared
    }
}

impl<K: Eq + Hash, S> Drop for Slot<K, S> {
    fn drop(&mut self) {
        let mut all = self.table.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.key) {
            Some(taken) if taken.held > 1 => taken.held -= 1,
            _ => {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_back_on_drop() {
        let table = Slots::<_>::new();
        let first = table.take("mrose", 2).unwrap();
        let second = table.take("mrose", 2).unwrap();
        assert!(table.take("mrose", 2).is_none());
        assert_eq!((table.held(&"mrose"), table.held(&"someone else")), (2, 0));
        assert!(table.take("someone else", 2).is_some());
        drop(first);
        assert!(table.take("mrose", 2).is_some());
        drop(second);
        assert!(table.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn the_holders_of_a_key_have_something_in_common() {
        let table = Slots::<_, Arc<()>>::new();
        let first = table.take("mrose", 2).unwrap();
        let second = table.take("mrose", 2).unwrap();
        let other = table.take("someone else", 2).unwrap();
        assert!(Arc::ptr_eq(first.shared(), second.shared()));
        assert!(!Arc::ptr_eq(first.shared(), other.shared()));
    }
}
