//! How often clients of a network may do something.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Level, Network};

/// A token bucket for each network.
///
/// - A full bucket has the tokens of a whole `burst`, which may be used at once.
/// - The table is bounded: buckets that are full again are removed. If too many are not full, new
///   networks are not counted.
#[derive(Debug)]
pub struct Rate {
    /// How long it takes until an empty bucket is full again.
    burst: Duration,
    buckets: Mutex<HashMap<Network, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// The time until the bucket is full, as of `at`.
    owed: Duration,
    at: Instant,
}

impl Rate {
    /// All buckets are full.
    pub fn new(burst: Duration) -> Self {
        Self { burst, buckets: Mutex::default() }
    }

    /// Takes a token of each of these networks. The smallest gets one back after `every`.
    ///
    /// # Errors
    /// The smallest network that has no token left; then no token is taken.
    pub fn take(
        &self,
        levels: impl Iterator<Item = Level> + Clone,
        every: Duration,
    ) -> Result<(), Network> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let price = |factor: u32| every / factor.max(1);
        let owed = |level: &Level| {
            buckets.get(&level.network).map_or(Duration::ZERO, |bucket| bucket.owed_at(now))
        };
        let is_out = |level: &Level| owed(level) + price(level.factor) > self.burst;
        if let Some(level) = levels.clone().find(is_out) {
            return Err(level.network);
        }
        if buckets.len() >= MOST_NETWORKS {
            buckets.retain(|_, bucket| !bucket.owed_at(now).is_zero());
        }
        for level in levels {
            let is_full = buckets.len() >= MOST_NETWORKS;
            if is_full && !buckets.contains_key(&level.network) {
                continue;
            }
            let bucket =
                buckets.entry(level.network).or_insert(Bucket { owed: Duration::ZERO, at: now });
            *bucket = Bucket { owed: bucket.owed_at(now) + price(level.factor), at: now };
        }
        Ok(())
    }
}

impl Bucket {
    fn owed_at(&self, now: Instant) -> Duration {
        self.owed.saturating_sub(now.duration_since(self.at))
    }
}

/// Some 6 MB.
const MOST_NETWORKS: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn take(rate: &Rate, address: &str, times: usize) -> usize {
        let address: IpAddr = address.parse().unwrap();
        let every = Duration::from_millis(200);
        (0..times).filter(|_| rate.take(Network::levels(address), every).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_limited_and_other_networks_are_not() {
        let rate = Rate::new(Duration::from_secs(10));
        assert_eq!(take(&rate, "192.0.2.1", 1000), 50);
        assert_eq!(take(&rate, "192.0.2.2", 10), 10);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(take(&rate, "192.0.2.1", 1000), 10);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(take(&rate, "192.0.2.1", 1000), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_customer_with_many_networks_gets_a_few_times_as_much() {
        let rate = Rate::new(Duration::from_secs(10));
        let flood = |prefix: &str| -> usize {
            (0..40).map(|n| take(&rate, &format!("{prefix}{n:02x}::1"), 50)).sum()
        };
        // A /56, then all of the /48 around it.
        assert_eq!(flood("2001:db8:0:1"), 4 * 50);
        let whole: usize = (2..20).map(|n| flood(&format!("2001:db8:0:{n:x}"))).sum();
        assert_eq!(whole, 12 * 50);
        assert_eq!(take(&rate, "2001:db8:1::1", 10), 10);
    }
}
