//! Whether a client takes anything of what it was sent.
//!
//! A socket has room again only when the client has taken tens of thousands of octets, and Linux
//! counts the time of a closed window (`TCP_USER_TIMEOUT`) also where it opens a little now and then.
//! So the session looks at what has been acknowledged, every few seconds, and only while it waits.

use std::time::Duration;

use tokio::time::Instant;

/// The looks at one client while it is waited for.
pub(super) struct Pace {
    /// How long it may take nothing.
    most: Duration,
    /// When it took something, as far as is known.
    moved: Instant,
    looked: Instant,
    /// What it had taken then.
    octets: Option<u64>,
}

impl Pace {
    pub(super) fn new(most: Duration) -> Self {
        let now = Instant::now();
        Self { most, moved: now, looked: now, octets: None }
    }

    /// When to look next.
    pub(super) fn next_look(&self) -> Instant {
        (self.looked + LOOK.min(self.most / 10)).min(self.moved + self.most)
    }

    /// Notes what has been taken by now. If that has changed, yields the time since it did before; what
    /// was taken before the first look is not known, so that one counts as a change.
    pub(super) fn look(&mut self, octets: u64) -> Option<Duration> {
        self.looked = Instant::now();
        if self.octets.replace(octets) == Some(octets) {
            return None;
        }
        Some(self.looked - std::mem::replace(&mut self.moved, self.looked))
    }

    /// Whether nothing has been taken for too long.
    pub(super) fn has_stopped(&self) -> bool {
        self.moved + self.most <= self.looked
    }
}

/// The time between two looks, and so how much later than it should a client is noticed that takes
/// nothing any more.
const LOOK: Duration = Duration::from_secs(5);
