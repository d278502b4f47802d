//! Detecting clients that no longer take what they are sent.
//!
//! A socket becomes writable only after the client has taken tens of thousands of octets, and the
//! timeout of Linux for a closed window (`TCP_USER_TIMEOUT`) expires even if the window opens a
//! little now and then. So a session that waits checks the acknowledged octets every few seconds.

use std::time::Duration;

use tokio::time::Instant;

/// The checks of one client while the session waits for it.
pub(super) struct Pace {
    /// How long it may take no octet.
    most: Duration,
    /// When it was last seen to have taken an octet.
    moved: Instant,
    looked: Instant,
    /// The octets that it had taken then.
    octets: Option<u64>,
}

impl Pace {
    pub(super) fn new(most: Duration) -> Self {
        let now = Instant::now();
        Self { most, moved: now, looked: now, octets: None }
    }

    /// The time of the next check.
    pub(super) fn next_look(&self) -> Instant {
        (self.looked + LOOK.min(self.most / 10)).min(self.moved + self.most)
    }

    /// Records the octets that have been taken by now. If they have changed, returns the time since the
    /// last change. The first check counts as a change, because the octets before it are not known.
    pub(super) fn look(&mut self, octets: u64) -> Option<Duration> {
        self.looked = Instant::now();
        if self.octets.replace(octets) == Some(octets) {
            return None;
        }
        Some(self.looked - std::mem::replace(&mut self.moved, self.looked))
    }

    /// Whether no octet has been taken for too long.
    pub(super) fn has_stopped(&self) -> bool {
        self.moved + self.most <= self.looked
    }
}

/// The longest time between two checks, and so by how much a stopped client may be noticed late.
const LOOK: Duration = Duration::from_secs(5);
