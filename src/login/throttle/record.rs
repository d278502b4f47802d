//! What the throttle keeps of a network, of a user and of a pair.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{LEVELS, Network};
use crate::protocol::ClaimedName;

/// A user and a network. The user is a keyed hash of the name, or of the account that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) network: Network,
    pub(super) user: u64,
}

/// The record of a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct NetworkRecord {
    /// When all failures will be forgotten. The time until then, divided by `forget_after`, is the number
    /// of failures. In a larger network each failure adds less.
    pub(super) clear_at: Instant,
    /// When the password of the last new pair in the queue is checked.
    pub(super) free_at: Instant,
}

/// The record of a user or of an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserRecord {
    /// As in [`NetworkRecord`].
    pub(super) clear_at: Instant,
    pub(super) names: Names,
}

/// The record of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairRecord {
    /// As in [`NetworkRecord`].
    pub(super) clear_at: Instant,
    /// As in [`NetworkRecord`], for known pairs too.
    pub(super) free_at: Instant,
    /// How many attempts have not ended yet.
    pub(super) under_way: u32,
    pub(super) names: Names,
    /// What the failures of the pair have added to `clear_at` of each of its networks.
    pub(super) added_to_networks: [Duration; LEVELS],
    /// What the failures of the pair have added to `clear_at` of its user.
    pub(super) added_to_user: Duration,
}

/// The names, as hashes, by which a user or an account has been tried.
///
/// An account that has been tried by one name has no queue besides that of the name. In such a queue
/// a name that exists would wait for what other networks have added since the attempt began, and one
/// that does not exist would not: the time would tell that the name exists (docs/SECURITY.md,
/// *Whether a name exists*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Only(u64),
    Several,
}

/// A name, for the operator.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) text: Box<str>,
    /// The account that it leads to, if that is known.
    pub(super) account: Option<u64>,
}

impl Name {
    pub(super) fn new(name: &ClaimedName, account: Option<u64>) -> Self {
        // Escaped, so that it is ASCII.
        let mut text = name.to_string();
        if text.len() > LONGEST_NAME {
            text.truncate(LONGEST_NAME - 1);
            text.push('…');
        }
        Self { text: text.into(), account }
    }
}

/// A longer name is cut, to bound the memory.
const LONGEST_NAME: usize = 64;

impl Names {
    pub(super) fn and(self, name: u64) -> Self {
        if self == Self::Only(name) { self } else { Self::Several }
    }
}

impl NetworkRecord {
    /// When the record has no meaning any more.
    pub(super) fn end(&self) -> Instant {
        self.clear_at.max(self.free_at)
    }
}

impl PairRecord {
    /// A record without failures.
    pub(super) fn new(name: u64, now: Instant) -> Self {
        Self {
            clear_at: now,
            free_at: now,
            under_way: 0,
            names: Names::Only(name),
            added_to_networks: [Duration::ZERO; LEVELS],
            added_to_user: Duration::ZERO,
        }
    }

    /// When the record has no meaning any more; not before `earliest` if attempts are under way.
    pub(super) fn end(&self, earliest: Instant) -> Instant {
        let end = self.clear_at.max(self.free_at);
        if self.under_way > 0 { end.max(earliest) } else { end }
    }
}

/// `time` multiplied by `new / old`.
pub(super) fn scaled(time: Duration, old: Duration, new: Duration) -> Duration {
    let nanoseconds = time.as_nanos().saturating_mul(new.as_nanos()) / old.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_as_small_as_documented() {
        // A hash map grows when it is 7/8 full, so at least half of that is in use. The nodes of a
        // tree are at least half full.
        fn octets<K, V>() -> usize {
            (size_of::<(K, (V, Instant))>() + 1) * 16 / 7 + size_of::<(Instant, K)>() * 2
        }
        assert!(octets::<Pair, PairRecord>() <= 450, "{}", octets::<Pair, PairRecord>());
        assert!(
            octets::<Network, NetworkRecord>() <= 250,
            "{}",
            octets::<Network, NetworkRecord>()
        );
        assert!(octets::<u64, UserRecord>() <= 200, "{}", octets::<u64, UserRecord>());
        assert!(octets::<Pair, ()>() <= 200, "{}", octets::<Pair, ()>());
        assert!(octets::<u64, Name>() + 16 + LONGEST_NAME + 2 <= 270, "{}", octets::<u64, Name>());
        assert!(octets::<u64, ()>() <= 150, "{}", octets::<u64, ()>());
    }
}
