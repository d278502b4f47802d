//! Connections that may be evicted, that is, ended to make room for others: those that have not
//! logged in, and whose password is not being verified.
//!
//! They are kept by network, in order of arrival. The oldest connection of the network with the most
//! of them is evicted first: an attacker who fills the server with idle connections loses his own,
//! and a user who logs in at once keeps his only one.

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

/// The evictable connections of a server.
#[derive(Debug, Default)]
pub struct EvictionQueue {
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    last: u64,
    by_network: HashMap<Network, Queue>,
    /// The network with the most connections comes last. Among networks with the same number, the
    /// one with the oldest connection comes last.
    order: BTreeMap<Rank, Network>,
}

/// How each connection of a network is notified of its eviction, by its number.
type Queue = BTreeMap<u64, Arc<Notify>>;

/// The number of connections, and the oldest of them.
type Rank = (usize, Reverse<u64>);

impl EvictionQueue {
    /// Adds a new connection from `peer`.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Evictable {
        let (network, notify) = (Network::widest(peer), Arc::default());
        let number = self.lock().enter(network, &notify);
        Evictable { queue: Arc::clone(self), network, number, notify, is_logged_in: false.into() }
    }

    /// Evicts one connection, if there is one. Returns its network.
    pub fn evict(&self) -> Option<Network> {
        let (network, notify) = self.lock().pop()?;
        notify.notify_one();
        Some(network)
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn enter(&mut self, network: Network, notify: &Arc<Notify>) -> u64 {
        self.last += 1;
        let number = self.last;
        self.change(network, |queue| queue.insert(number, Arc::clone(notify)));
        number
    }

    fn pop(&mut self) -> Option<(Network, Arc<Notify>)> {
        let (_, &network) = self.order.last_key_value()?;
        let (_, notify) = self.change(network, BTreeMap::pop_first)?;
        Some((network, notify))
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

/// A connection in the queue. Dropping it removes the connection.
#[derive(Debug)]
pub struct Evictable {
    queue: Arc<EvictionQueue>,
    network: Network,
    number: u64,
    notify: Arc<Notify>,
    is_logged_in: AtomicBool,
}

impl Evictable {
    /// Waits until the connection is evicted; for ever once it has logged in.
    pub async fn evicted(&self) {
        let mut notify = pin!(self.notify.notified());
        poll_fn(|context| {
            // A session that is logged in is polled often, and is never evicted.
            if self.is_logged_in() { Poll::Pending } else { notify.as_mut().poll(context) }
        })
        .await;
    }

    /// Protects the connection from eviction until the guard is dropped, while a password is verified.
    ///
    /// # Errors
    /// [`End::Evicted`] when it has been evicted already.
    pub(super) fn hold(&self) -> Result<Hold<'_>, End> {
        match self.take_out() {
            Some(notify) => Ok(Hold { connection: self, notify }),
            None => Err(End::Evicted),
        }
    }

    /// The client has logged in: the connection is no longer evictable.
    pub(super) fn logged_in(&self) {
        self.is_logged_in.store(true, Ordering::Relaxed);
    }

    /// Only the task of the connection sets and reads it.
    fn is_logged_in(&self) -> bool {
        self.is_logged_in.load(Ordering::Relaxed)
    }

    fn take_out(&self) -> Option<Arc<Notify>> {
        self.queue.lock().change(self.network, |queue| queue.remove(&self.number))
    }
}

impl Drop for Evictable {
    fn drop(&mut self) {
        if !self.is_logged_in() {
            self.take_out();
        }
    }
}

/// Protects a connection from eviction.
#[must_use]
pub(super) struct Hold<'a> {
    connection: &'a Evictable,
    notify: Arc<Notify>,
}

impl Drop for Hold<'_> {
    /// Puts the connection back with its old number, and so with its old rank.
    fn drop(&mut self) {
        let Evictable { queue, network, number, .. } = self.connection;
        if !self.connection.is_logged_in() {
            queue.lock().change(*network, |queue| queue.insert(*number, Arc::clone(&self.notify)));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::coop::unconstrained;

    use super::*;

    fn enter(queue: &Arc<EvictionQueue>, peer: &str) -> Evictable {
        queue.enter(peer.parse().unwrap())
    }

    async fn is_evicted(connection: &Evictable) -> bool {
        let mut evicted = pin!(unconstrained(connection.evicted()));
        poll_fn(|context| Poll::Ready(evicted.as_mut().poll(context).is_ready())).await
    }

    fn evicted(queue: &EvictionQueue) -> Option<String> {
        queue.evict().map(|network| network.to_string())
    }

    #[tokio::test]
    async fn the_oldest_of_the_network_with_most_is_ended() {
        let queue = Arc::new(EvictionQueue::default());
        let alone = enter(&queue, "192.0.2.1");
        let first = enter(&queue, "198.51.100.1");
        let second = enter(&queue, "198.51.100.2");
        let wide = enter(&queue, "2001:db8:0:100::1");
        assert_eq!(evicted(&queue).as_deref(), Some("198.51.100.0/24"));
        assert!(is_evicted(&first).await);
        for connection in [&alone, &second, &wide] {
            assert!(!is_evicted(connection).await);
        }
        let wide_too = enter(&queue, "2001:db8:0:200::1");
        assert_eq!(evicted(&queue).as_deref(), Some("2001:db8::/48"));
        assert!(is_evicted(&wide).await);
        // All have one: the oldest goes first.
        assert_eq!(evicted(&queue).as_deref(), Some("192.0.2.0/24"));
        drop(second);
        assert!(!is_evicted(&wide_too).await);
        assert_eq!(evicted(&queue).as_deref(), Some("2001:db8::/48"));
        assert_eq!(evicted(&queue), None);
        let queues = queue.lock();
        assert!(queues.by_network.is_empty() && queues.order.is_empty());
    }

    #[tokio::test]
    async fn a_password_that_is_verified_and_a_login_are_not_disturbed() {
        let queue = Arc::new(EvictionQueue::default());
        let (first, second) = (enter(&queue, "192.0.2.1"), enter(&queue, "192.0.2.1"));
        let held = first.hold().unwrap();
        assert!(evicted(&queue).is_some());
        assert!(is_evicted(&second).await && !is_evicted(&first).await);
        assert!(matches!(second.hold(), Err(End::Evicted)));
        assert_eq!(evicted(&queue), None);
        drop(held);
        let third = enter(&queue, "192.0.2.1");
        let held = third.hold().unwrap();
        third.logged_in();
        drop(held);
        // The one whose login has failed is the oldest again; the one that has logged in is gone.
        assert!(evicted(&queue).is_some());
        assert!(is_evicted(&first).await && !is_evicted(&third).await);
        assert_eq!(evicted(&queue), None);
    }

    #[test]
    fn closed_connections_take_no_memory() {
        let queue = Arc::new(EvictionQueue::default());
        let connections: Vec<_> =
            (0..200).map(|n| enter(&queue, &format!("192.0.{n}.1"))).collect();
        for connection in &connections {
            drop(connection.hold().unwrap());
        }
        drop(connections);
        let queues = queue.lock();
        assert!(queues.by_network.is_empty() && queues.order.is_empty());
    }
}
