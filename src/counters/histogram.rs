//! How often something took how long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds.
pub const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Counts durations by their length.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    /// What is longer than all bounds.
    longer: AtomicU64,
    microseconds: AtomicU64,
}

/// The durations that a histogram has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// How many were in each bucket and not in one before.
    pub buckets: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < microseconds);
        self.buckets.get(at).unwrap_or(&self.longer).fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// What it has seen. While others count, a part of an observation may be missing.
    pub fn get(&self) -> Observed {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let buckets = std::array::from_fn(|at| self.buckets.get(at).map_or(0, load));
        let count = buckets.iter().sum::<u64>() + load(&self.longer);
        Observed { buckets, count, sum: Duration::from_micros(load(&self.microseconds)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_it_fits_in() {
        let histogram = Histogram::default();
        for microseconds in [0, 100, 101, 10_000_000, 10_000_001] {
            histogram.observe(Duration::from_micros(microseconds));
        }
        let Observed { buckets, count, sum } = histogram.get();
        assert_eq!((buckets[0], buckets[1], buckets[15], buckets.iter().sum()), (2, 1, 1, 4_u64));
        assert_eq!((count, sum), (5, Duration::from_micros(20_000_202)));
    }
}
