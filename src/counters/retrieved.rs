//! Which user has retrieved which message, in bounded memory.
//!
//! A message is remembered as 32 bits of a keyed hash of the user and the unique-id.
//!
//! - The table has [`PLACES`] places, 16 MiB, which the system provides as they are used. When the
//!   places for a hash are taken, the message replaces another one, which is then not recognised any
//!   more. After a restart, none is recognised. So what is counted is the least that has happened.
//! - Two messages are taken for the same about once in 500 million.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::protocol::{UniqueId, Username};

/// Remembers retrieved messages.
pub struct RetrievedMessages {
    key: RandomState,
    /// Separate tables, so that sessions seldom wait for each other.
    tables: Vec<Mutex<Vec<u32>>>,
    taken: AtomicU64,
}

/// How many messages can be remembered.
pub const PLACES: u64 = 1 << 22;

const TABLES: u64 = 64;
const PLACES_OF_TABLE: u64 = PLACES / TABLES;

/// The places that a message may have.
const CHOICES: u64 = 8;

impl Default for RetrievedMessages {
    fn default() -> Self {
        let places = usize::try_from(PLACES_OF_TABLE).unwrap_or_default();
        let tables = (0..TABLES).map(|_| Mutex::new(vec![0; places])).collect();
        Self { key: RandomState::new(), tables, taken: AtomicU64::new(0) }
    }
}

impl std::fmt::Debug for RetrievedMessages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RetrievedMessages").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl RetrievedMessages {
    /// Remembers that a user has retrieved a message. Returns whether it is known to have happened
    /// before.
    pub fn remember(&self, user: &Username, unique_id: UniqueId<'_>) -> bool {
        let hash = self.key.hash_one((user, unique_id.as_str()));
        // The places are chosen by the upper half, which is independent of the mark.
        let (place, mark) =
            (hash >> 32, u32::try_from(hash & 0xffff_ffff).unwrap_or_default().max(1));
        let at = |number: u64| usize::try_from(number).unwrap_or_default();
        let Some(table) = self.tables.get(at(place % TABLES)) else { return false };
        let first = place / TABLES % (PLACES_OF_TABLE / CHOICES) * CHOICES;
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(choices) = table.get_mut(at(first)..at(first + CHOICES)) else { return false };
        if choices.contains(&mark) {
            return true;
        }
        // The newest is at the front; the oldest falls out.
        if choices.last() == Some(&0) {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        choices.rotate_right(1);
        if let Some(newest) = choices.first_mut() {
            *newest = mark;
        }
        false
    }

    /// How many messages are remembered.
    pub fn count(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remember(messages: &RetrievedMessages, user: &str, unique_id: &str) -> bool {
        messages
            .remember(&user.try_into().unwrap(), UniqueId::try_from(unique_id.as_bytes()).unwrap())
    }

    #[test]
    fn a_message_is_recognised_only_for_its_user() {
        let messages = RetrievedMessages::default();
        assert!(!remember(&messages, "mrose", "a"));
        assert!(remember(&messages, "mrose", "a"));
        assert!(!remember(&messages, "mrose", "b"));
        assert!(!remember(&messages, "postel", "a"));
        assert_eq!(messages.count(), 3);
    }

    #[test]
    fn old_messages_are_forgotten_and_new_ones_are_not_taken_for_them() {
        let messages = RetrievedMessages::default();
        let more = PLACES + PLACES / 4;
        let known = (0..more).filter(|n| remember(&messages, "mrose", &format!("{n:x}"))).count();
        assert!(known < 10, "{known} of {more} were taken for others");
        assert!(messages.count() <= PLACES);
        let known = |from: u64| {
            let some = from..from + 1000;
            some.filter(|n| remember(&messages, "mrose", &format!("{n:x}"))).count()
        };
        assert!(known(more - 1000) > 900, "the newest are known");
    }
}
