//! Connections that may be ended to make room for others: those that have not logged in, and whose
//! password is not being verified.
//!
//! They are kept by network, in the order in which they came. The one that is ended is the oldest of
//! the network with the most of them: whoever fills the server with connections that do nothing loses
//! his own, and a user who logs in at once keeps the only one that he has.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;

use super::end::End;
use crate::limits::Network;

/// The connections of a server that may be ended.
#[derive(Debug, Default)]
pub struct Evictable {
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    last: u64,
    by_network: HashMap<Network, Queue>,
    /// The network with the most connections comes last; of those with as many, the one with the
    /// oldest connection.
    order: BTreeMap<Rank, Network>,
}

/// How the connections of a network are told that they end, by their number.
type Queue = BTreeMap<u64, Arc<Notify>>;

/// How many there are, and which is the oldest.
type Rank = (usize, Reverse<u64>);

impl Evictable {
    /// Takes a new connection from `peer` in.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Place {
        let (network, told) = (Network::widest(peer), Arc::default());
        let number = self.lock().enter(network, &told);
        Place { table: Arc::clone(self), network, number, told, is_logged_in: false.into() }
    }

    /// Ends one connection, if there is one that may be ended, and says where from.
    pub fn evict(&self) -> Option<Network> {
        let (network, told) = self.lock().pop()?;
        told.notify_one();
        Some(network)
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn enter(&mut self, network: Network, told: &Arc<Notify>) -> u64 {
        self.last += 1;
        let number = self.last;
        self.change(network, |queue| queue.insert(number, Arc::clone(told)));
        number
    }

    fn pop(&mut self) -> Option<(Network, Arc<Notify>)> {
        let (_, &network) = self.order.last_key_value()?;
        let (_, told) = self.change(network, BTreeMap::pop_first)?;
        Some((network, told))
    }

    /// Changes the queue of a network, and keeps the order of the networks.
    fn change<T>(&mut self, network: Network, change: impl FnOnce(&mut Queue) -> T) -> T {
        let queue = self.by_network.entry(network).or_default();
        if let Some(rank) = rank(queue) {
            self.order.remove(&rank);
        }
        let outcome = change(queue);
        match rank(queue) {
            Some(rank) => {
                self.order.insert(rank, network);
            }
            None => {
                self.by_network.remove(&network);
            }
        }
        outcome
    }
}

fn rank(queue: &Queue) -> Option<Rank> {
    queue.first_key_value().map(|(&oldest, _)| (queue.len(), Reverse(oldest)))
}

/// The place of a connection among those that may be ended.
#[derive(Debug)]
pub struct Place {
    table: Arc<Evictable>,
    network: Network,
    number: u64,
    told: Arc<Notify>,
    is_logged_in: AtomicBool,
}

impl Place {
    /// Waits until the connection has to end; for ever once it has logged in.
    pub async fn evicted(&self) {
        let mut told = pin!(self.told.notified());
        poll_fn(|context| {
            // Whoever has logged in has no need to look.
            if self.is_logged_in() { Poll::Pending } else { told.as_mut().poll(context) }
        })
        .await;
    }

    /// A password is about to be verified: until the guard is dropped the connection stays.
    ///
    /// # Errors
    /// [`End::Evicted`] when it is too late for that.
    pub(super) fn hold(&self) -> Result<Hold<'_>, End> {
        match self.take_out() {
            Some(told) => Ok(Hold { place: self, told }),
            None => Err(End::Evicted),
        }
    }

    /// The client has logged in: the connection stays.
    pub(super) fn logged_in(&self) {
        self.is_logged_in.store(true, Ordering::Relaxed);
    }

    /// Set and read by the task of the connection alone.
    fn is_logged_in(&self) -> bool {
        self.is_logged_in.load(Ordering::Relaxed)
    }

    fn take_out(&self) -> Option<Arc<Notify>> {
        self.table.lock().change(self.network, |queue| queue.remove(&self.number))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_logged_in() {
            self.take_out();
        }
    }
}

/// A connection that is not to be ended for now.
#[must_use]
pub(super) struct Hold<'a> {
    place: &'a Place,
    told: Arc<Notify>,
}

impl Drop for Hold<'_> {
    /// It is as old as it was before.
    fn drop(&mut self) {
        let Place { table, network, number, .. } = self.place;
        if !self.place.is_logged_in() {
            table.lock().change(*network, |queue| queue.insert(*number, Arc::clone(&self.told)));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::coop::unconstrained;

    use super::*;

    fn enter(table: &Arc<Evictable>, peer: &str) -> Place {
        table.enter(peer.parse().unwrap())
    }

    async fn is_told(place: &Place) -> bool {
        let mut evicted = pin!(unconstrained(place.evicted()));
        poll_fn(|context| Poll::Ready(evicted.as_mut().poll(context).is_ready())).await
    }

    fn evicted(table: &Evictable) -> Option<String> {
        table.evict().map(|network| network.to_string())
    }

    #[tokio::test]
    async fn the_oldest_of_the_network_with_most_is_ended() {
        let table = Arc::new(Evictable::default());
        let alone = enter(&table, "192.0.2.1");
        let first = enter(&table, "198.51.100.1");
        let second = enter(&table, "198.51.100.2");
        let wide = enter(&table, "2001:db8:0:100::1");
        assert_eq!(evicted(&table).as_deref(), Some("198.51.100.0/24"));
        assert!(is_told(&first).await);
        for place in [&alone, &second, &wide] {
            assert!(!is_told(place).await);
        }
        let wide_too = enter(&table, "2001:db8:0:200::1");
        assert_eq!(evicted(&table).as_deref(), Some("2001:db8::/48"));
        assert!(is_told(&wide).await);
        // All have one: the oldest goes first.
        assert_eq!(evicted(&table).as_deref(), Some("192.0.2.0/24"));
        drop(second);
        assert!(!is_told(&wide_too).await);
        assert_eq!(evicted(&table).as_deref(), Some("2001:db8::/48"));
        assert_eq!(evicted(&table), None);
        let queues = table.lock();
        assert!(queues.by_network.is_empty() && queues.order.is_empty());
    }

    #[tokio::test]
    async fn a_password_that_is_verified_and_a_login_are_not_disturbed() {
        let table = Arc::new(Evictable::default());
        let (first, second) = (enter(&table, "192.0.2.1"), enter(&table, "192.0.2.1"));
        let held = first.hold().unwrap();
        assert!(evicted(&table).is_some());
        assert!(is_told(&second).await && !is_told(&first).await);
        assert!(matches!(second.hold(), Err(End::Evicted)));
        assert_eq!(evicted(&table), None);
        drop(held);
        let third = enter(&table, "192.0.2.1");
        let held = third.hold().unwrap();
        third.logged_in();
        drop(held);
        // Who has failed is the oldest again; who has logged in is not there any more.
        assert!(evicted(&table).is_some());
        assert!(is_told(&first).await && !is_told(&third).await);
        assert_eq!(evicted(&table), None);
    }

    #[test]
    fn who_is_gone_takes_no_memory() {
        let table = Arc::new(Evictable::default());
        let places: Vec<_> = (0..200).map(|n| enter(&table, &format!("192.0.{n}.1"))).collect();
        for place in &places {
            drop(place.hold().unwrap());
        }
        drop(places);
        let queues = table.lock();
        assert!(queues.by_network.is_empty() && queues.order.is_empty());
    }
}
