//! What has happened, as plain numbers: counters and histograms, and the memory of retrieved messages.
//!
//! - They are off until [`switch_on`]: then [`on`] is `None`, no clock is read and nothing is counted.
//! - There are no user names and addresses here, and no text that a client can choose.
//! - `server` shows them; nothing here knows how.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::time::Instant;

mod histogram;
mod retrieved;

pub use histogram::{BOUNDS, Histogram, Observed};
pub use retrieved::{PLACES, RetrievedMessages};

/// The counters of a process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were accepted.
    pub connections: Count,
    /// Connections that were refused, by the limit.
    pub refused_connections: Tally<&'static str>,
    /// Connections that were ended to make room for others.
    pub evictions: Count,
    /// Logins, by outcome and mechanism.
    pub logins: Tally<(&'static str, &'static str)>,
    /// How long successful logins took, the opening of the maildrop included.
    pub login_time: Histogram,
    /// How long logins had to wait because of earlier failures.
    pub throttle_delay: Histogram,
    /// How long it took to take a listing for which the index was enough.
    pub listing_from_index: Histogram,
    /// How long it took to take a listing for which the folders were read.
    pub listing_by_scan: Histogram,
    /// How long RETR took, from the command to the last octet in the output buffer.
    pub retrieval_time: Histogram,
    /// Octets of messages that were retrieved.
    pub retrieved_octets: Count,
    /// Messages that were retrieved by a user who had retrieved them before.
    pub retrieved_again: Count,
    /// Which messages have been retrieved.
    pub retrieved_messages: RetrievedMessages,
    /// Messages that were removed.
    pub removed: Count,
    /// Messages that could not be removed.
    pub not_removed: Count,
    /// Sessions that have ended, by the reason.
    pub ended: Tally<&'static str>,
    /// Logins that the guard of unique-ids has objected to, by the objection and the action.
    pub objections: Tally<(&'static str, &'static str)>,
    /// Messages with other unique-ids than before that the guard has found, by the action.
    pub changed_unique_ids: Tally<&'static str>,
    /// Requests to credential stores, by the name of the store.
    pub stores: Stores,
    /// Reloads of the configuration, by outcome.
    pub reloads: Tally<&'static str>,
}

static COUNTERS: OnceLock<Counters> = OnceLock::new();

/// Begins to count.
pub fn switch_on() {
    COUNTERS.get_or_init(Counters::default);
}

/// The counters, if they are on.
pub fn on() -> Option<&'static Counters> {
    COUNTERS.get()
}

/// The time now, if the counters are on.
pub fn clock() -> Option<Instant> {
    on().map(|_| Instant::now())
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number for each of a few keys, which the program knows.
#[derive(Debug)]
pub struct Tally<K>(Mutex<BTreeMap<K, u64>>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone> Tally<K> {
    /// Adds to the number of a key.
    pub fn add(&self, key: K, number: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += number;
    }

    /// All keys that have been counted, with their numbers.
    pub fn all(&self) -> Vec<(K, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(key, number)| (key.clone(), *number)).collect()
    }
}

/// Requests to credential stores.
#[derive(Debug, Default)]
pub struct Stores(Mutex<BTreeMap<String, Requests>>);

#[derive(Debug, Default)]
struct Requests {
    time: Histogram,
    failed: u64,
}

impl Stores {
    /// Counts a request to a store that began at `begun`.
    pub fn count(&self, store: &str, begun: Instant, has_failed: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = match all.get_mut(store) {
            Some(requests) => requests,
            None => all.entry(store.to_owned()).or_default(),
        };
        requests.time.observe(begun.elapsed());
        requests.failed += u64::from(has_failed);
    }

    /// Each store that has been asked, with the time of its requests, and how many have failed.
    pub fn all(&self) -> Vec<(String, Observed, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = all.iter();
        all.map(|(store, requests)| (store.clone(), requests.time.get(), requests.failed)).collect()
    }
}
