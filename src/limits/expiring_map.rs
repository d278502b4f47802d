//! A bounded map whose records expire.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::Bound;

use tokio::time::Instant;

/// Keeps a value under a key until it expires.
///
/// - At most `entries` records. If there is one too many, the one that expires first is removed.
///   Give more important records a later end.
/// - A record that has expired is not found. One of the next calls removes it.
/// - Each call is O(log n), except [`change`](Self::change).
#[derive(Debug)]
pub(crate) struct ExpiringMap<K, V> {
    entries: usize,
    records: HashMap<K, (V, Instant)>,
    /// The keys of `records`, the first to expire at the front.
    ends: BTreeSet<(Instant, K)>,
}

impl<K: Clone + Eq + Hash + Ord, V> ExpiringMap<K, V> {
    pub(crate) fn new(entries: usize) -> Self {
        Self { entries, records: HashMap::new(), ends: BTreeSet::new() }
    }

    pub(crate) fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.records.get(key).filter(|(_, end)| *end > now).map(|(value, _)| value)
    }

    /// Keeps `value` until `end`, in place of any other under `key`; not at all if `end` is past.
    pub(crate) fn put(&mut self, key: K, value: V, end: Instant, now: Instant) {
        self.remove(&key);
        if end > now {
            self.ends.insert((end, key.clone()));
            self.records.insert(key, (value, end));
        }
        // Two for each new one: expired records are soon gone, and no call does all the work.
        for _ in 0..2 {
            let surplus = self.records.len() > self.entries;
            match self.ends.first() {
                Some((end, _)) if surplus || *end <= now => {}
                Some(_) | None => break,
            }
            if let Some((_, key)) = self.ends.pop_first() {
                self.records.remove(&key);
            }
        }
    }

    /// The keys that expire before `mark`, with the time when they do, the last ones first; all keys if
    /// there is no mark.
    pub(crate) fn before(&self, mark: Option<(Instant, K)>) -> impl Iterator<Item = &(Instant, K)> {
        let end = mark.map_or(Bound::Unbounded, Bound::Excluded);
        self.ends.range((Bound::Unbounded, end)).rev()
    }

    /// Changes each value with `change`, which gets the end and returns the new one.
    pub(crate) fn change(&mut self, mut change: impl FnMut(&mut V, Instant) -> Instant) {
        let records = self.records.iter_mut();
        self.ends = records
            .map(|(key, (value, end))| {
                *end = change(value, *end);
                (*end, key.clone())
            })
            .collect();
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((key, (_, end))) = self.records.remove_entry(key) {
            self.ends.remove(&(end, key));
        }
    }

    /// How many records there are, with those that have expired and were not removed yet.
    pub(crate) fn len(&self) -> usize {
        debug_assert_eq!(self.records.len(), self.ends.len());
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with a simple map.
        #[test]
        fn a_full_map_drops_the_record_that_expires_first(
            steps in prop::collection::vec((0_u8..12, 0_u64..50, 0_u64..8), 1..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut map = ExpiringMap::new(5);
            let mut model = BTreeMap::<u8, (u64, Instant)>::new();
            for (at, (key, life, pause)) in (0_u64..).zip(steps) {
                now += Duration::from_secs(pause);
                let end = now + Duration::from_secs(life);
                map.put(key, at, end, now);
                model.insert(key, (at, end));
                model.retain(|_, (_, end)| *end > now);
                if model.len() > 5 {
                    let first = model.iter().min_by_key(|(key, (_, end))| (*end, **key));
                    let first = *first.unwrap().0;
                    model.remove(&first);
                }
                prop_assert!(map.len() <= 5);
                for key in 0..12 {
                    let wanted = model.get(&key).map(|(value, _)| value);
                    prop_assert_eq!(map.get(&key, now), wanted);
                }
            }
        }
    }

    #[test]
    fn expired_records_are_soon_removed() {
        let start = Instant::now();
        let mut map = ExpiringMap::new(1_000);
        for key in 0..1_000 {
            map.put(key, (), start + Duration::from_secs(1), start);
        }
        let later = start + Duration::from_secs(2);
        for key in 1_000..2_000 {
            map.put(key, (), later + Duration::from_secs(1), later);
        }
        assert_eq!(map.len(), 1_000);
        map.remove(&1_000);
        assert_eq!(map.get(&1_000, later), None);
        assert_eq!(map.len(), 999);
    }

    #[test]
    fn a_changed_record_is_kept_until_its_new_end() {
        let start = Instant::now();
        let mut map = ExpiringMap::new(2);
        for (key, life) in [("short", 1), ("long", 9)] {
            map.put(key, life, start + Duration::from_secs(life), start);
        }
        map.change(|life, end| {
            assert_eq!(end, start + Duration::from_secs(*life));
            *life = 10 - *life;
            start + Duration::from_secs(*life)
        });
        assert_eq!(map.get(&"short", start + Duration::from_secs(8)), Some(&9));
        assert_eq!(map.get(&"long", start + Duration::from_secs(1)), None);
        map.put("new", 5, start + Duration::from_secs(5), start);
        assert_eq!(map.get(&"long", start), None);
        assert_eq!(map.get(&"short", start), Some(&9));
    }
}
