//! The number of successful logins, in all and within the last minute.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Counts successful logins.
#[derive(Debug)]
pub struct Logins {
    since: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    all: u64,
    /// The last seconds with logins, by their numbers modulo 60, with the number of logins in each.
    seconds: [(u64, u32); MINUTE],
}

/// In seconds.
const MINUTE: usize = 60;

impl Default for Logins {
    fn default() -> Self {
        let counts = Counts { all: 0, seconds: [(0, 0); MINUTE] };
        Self { since: Instant::now(), counts: Mutex::new(counts) }
    }
}

impl Logins {
    /// Counts a login.
    pub(super) fn count(&self, now: Instant) {
        let now = self.second(now);
        let mut counts = self.lock();
        counts.all += 1;
        let place = usize::try_from(now % MINUTE as u64).unwrap_or_default();
        if let Some((second, logins)) = counts.seconds.get_mut(place) {
            *logins = if *second == now { logins.saturating_add(1) } else { 1 };
            *second = now;
        }
    }

    /// The logins since the start.
    pub fn all(&self) -> u64 {
        self.lock().all
    }

    /// The logins of the last 60 seconds.
    pub fn last_minute(&self, now: Instant) -> u32 {
        let now = self.second(now);
        let is_recent = |(second, _): &&(u64, u32)| now.saturating_sub(*second) < MINUTE as u64;
        self.lock().seconds.iter().filter(is_recent).map(|(_, logins)| logins).sum()
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn logins_are_counted_for_a_minute() {
        let logins = Logins::default();
        let at = |seconds| logins.since + Duration::from_secs(seconds);
        assert_eq!((logins.all(), logins.last_minute(at(0))), (0, 0));
        for second in [0, 0, 30, 59, 60, 90] {
            logins.count(at(second));
        }
        assert_eq!(logins.all(), 6);
        for (second, expected) in [(90, 3), (118, 3), (119, 2), (149, 1), (150, 0), (600, 0)] {
            assert_eq!(logins.last_minute(at(second)), expected, "{second}");
        }
    }
}
