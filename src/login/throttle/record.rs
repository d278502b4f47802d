//! What the throttle keeps of a network, of a user and of a pair.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::LEVELS;
use crate::limits::Network;

/// A user from somewhere; the user as a keyed hash of the name, or of what the name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) network: Network,
    pub(super) user: u64,
}

/// What is known of a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct NetworkRecord {
    /// When the last failure will be forgotten: what is left until then, divided by `forget`, is
    /// the number of failures. In a network that may do more each one adds less.
    pub(super) clear: Instant,
    /// When the last stranger in the line will be heard.
    pub(super) free: Instant,
}

/// What is known of a user, or of an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserRecord {
    /// As of [`NetworkRecord`].
    pub(super) clear: Instant,
    pub(super) names: Names,
}

/// What is known of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairRecord {
    /// As of [`NetworkRecord`].
    pub(super) clear: Instant,
    pub(super) free: Instant,
    pub(super) under_way: u32,
    pub(super) names: Names,
    /// What its failures have added to `clear` of each of the networks, and of the user.
    pub(super) against_networks: [Duration; LEVELS],
    pub(super) against_user: Duration,
}

/// The names by which a record came about, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Only(u64),
    Several,
}

impl Names {
    pub(super) fn and(self, name: u64) -> Self {
        if self == Self::Only(name) { self } else { Self::Several }
    }
}

impl NetworkRecord {
    pub(super) fn end(&self) -> Instant {
        self.clear.max(self.free)
    }
}

impl PairRecord {
    pub(super) fn none(name: u64, now: Instant) -> Self {
        Self {
            clear: now,
            free: now,
            under_way: 0,
            names: Names::Only(name),
            against_networks: [Duration::ZERO; LEVELS],
            against_user: Duration::ZERO,
        }
    }

    /// Attempts that are under way keep the record at least until `at_least`.
    pub(super) fn end(&self, at_least: Instant) -> Instant {
        let end = self.clear.max(self.free);
        if self.under_way > 0 { end.max(at_least) } else { end }
    }
}

/// A time that is to the given one as `new` is to `old`.
pub(super) fn scaled(time: Duration, old: Duration, new: Duration) -> Duration {
    let nanoseconds = time.as_nanos().saturating_mul(new.as_nanos()) / old.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_as_small_as_is_said() {
        // A hash map grows when it is 7/8 full, so it is half of that full at least; a tree keeps
        // its nodes half full at least.
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
        assert!(octets::<u64, ()>() <= 150, "{}", octets::<u64, ()>());
    }
}
