//! A process-wide allowance (threads, descriptors) from which Maildirs take what is free.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of permits for all Maildirs together.
#[derive(Debug)]
pub(super) struct Permits {
    free: AtomicUsize,
}

/// Permits that are in use until this is dropped.
#[derive(Debug)]
pub(super) struct Acquired {
    permits: &'static Permits,
    count: usize,
}

impl Permits {
    /// This number of permits.
    pub(super) const fn new(count: usize) -> Self {
        Self { free: AtomicUsize::new(count) }
    }

    /// Takes up to `wanted` permits, as many as are free, which may be none. Does not wait.
    pub(super) fn acquire_up_to(&'static self, wanted: usize) -> Acquired {
        let take = |free: usize| Some(free - wanted.min(free));
        let before = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Acquired { permits: self, count: before.map_or(0, |free| wanted.min(free)) }
    }
}

impl Acquired {
    /// How many.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Acquired {
    fn drop(&mut self) {
        self.permits.free.fetch_add(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acquired_permits_are_given_back() {
        static PERMITS: Permits = Permits::new(5);
        let first = PERMITS.acquire_up_to(3);
        let second = PERMITS.acquire_up_to(3);
        assert_eq!((first.count(), second.count(), PERMITS.acquire_up_to(1).count()), (3, 2, 0));
        drop(first);
        assert_eq!(PERMITS.acquire_up_to(9).count(), 3);
        drop(second);
        assert_eq!(PERMITS.acquire_up_to(9).count(), 5);
    }
}
