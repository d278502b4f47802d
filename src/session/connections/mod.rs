//! The open connections of a server: their activity, and how the server ends them.
//!
//! - *Evicted* are connections that have not logged in and whose password is not being verified, to
//!   make room for others. They are kept by network, in order of arrival. The oldest connection of
//!   the network with the most of them is evicted first: an attacker who fills the server with idle
//!   connections loses his own, and a user who logs in at once keeps his only one.
//! - *Kicked* are connections that the operator ends. A session that removes mail is not disturbed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Bound;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::Network;
use crate::login::Identity;
use crate::protocol::Username;
use crate::session::end::{End, Summary};
use crate::session::logins::Logins;
use crate::session::watch::{Speaker, Watches};

/// The open connections of a server.
#[derive(Debug, Default)]
pub struct Connections {
    tables: Mutex<Tables>,
    /// Those whose clients have logged in.
    sessions: AtomicUsize,
    logins: Logins,
    watches: Watches,
}

#[derive(Debug, Default)]
struct Tables {
    last: u64,
    all: BTreeMap<u64, Arc<Handle>>,
    evictable: HashMap<Network, Queue>,
    /// The network with the most evictable connections comes last. Among networks with the same
    /// number, the one with the oldest connection comes last.
    order: BTreeMap<Rank, Network>,
}

/// The evictable connections of a network, by their numbers.
type Queue = BTreeMap<u64, Arc<Handle>>;

/// The number of connections, and the oldest of them.
type Rank = (usize, Reverse<u64>);

impl Connections {
    /// Adds a new connection from `peer`, until the guard is dropped.
    pub fn enter(self: &Arc<Self>, peer: SocketAddr) -> Open {
        let mut tables = self.lock();
        tables.last += 1;
        let handle = Arc::new(Handle::new(Arc::clone(self), tables.last, peer));
        tables.all.insert(handle.number, Arc::clone(&handle));
        tables.change(handle.network, |queue| queue.insert(handle.number, Arc::clone(&handle)));
        Open(handle)
    }

    /// How many connections are open, and how many of their clients have logged in.
    pub fn numbers(&self) -> (usize, usize) {
        (self.lock().all.len(), self.sessions.load(Ordering::Relaxed))
    }

    /// The open connections with a number above `last`, the oldest first, `most` of them at most.
    /// Every new connection needs the lock, so a few hundred are the right number.
    pub fn after(&self, last: u64, most: usize) -> Vec<Arc<Handle>> {
        let beyond = (Bound::Excluded(last), Bound::Unbounded);
        self.lock().all.range(beyond).take(most).map(|(_, handle)| Arc::clone(handle)).collect()
    }

    /// Those who watch connections.
    pub(super) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// The successful logins.
    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// Evicts one connection, if there is one. Returns its network.
    pub fn evict(&self) -> Option<Network> {
        let handle = self.lock().pop()?;
        handle.end(Ending::Evicted);
        Some(handle.network)
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn pop(&mut self) -> Option<Arc<Handle>> {
        let (_, &network) = self.order.last_key_value()?;
        self.change(network, BTreeMap::pop_first).map(|(_, handle)| handle)
    }

    /// Changes the queue of a network, and keeps the order of the networks.
    fn change<T>(&mut self, network: Network, change: impl FnOnce(&mut Queue) -> T) -> T {
        let queue = self.evictable.entry(network).or_default();
        if let Some(rank) = rank(queue) {
            self.order.remove(&rank);
        }
        let outcome = change(queue);
        match rank(queue) {
            Some(rank) => {
                self.order.insert(rank, network);
            }
            None => {
                self.evictable.remove(&network);
            }
        }
        outcome
    }
}

fn rank(queue: &Queue) -> Option<Rank> {
    queue.first_key_value().map(|(&oldest, _)| (queue.len(), Reverse(oldest)))
}

/// An open connection. Dropping it removes the connection from the tables.
#[derive(Debug)]
pub struct Open(Arc<Handle>);

impl Open {
    /// The connection, to be shared.
    pub fn handle(&self) -> &Arc<Handle> {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Handle { connections, network, number, .. } = &*self.0;
        let mut tables = connections.lock();
        tables.all.remove(number);
        if self.0.is_logged_in() {
            connections.sessions.fetch_sub(1, Ordering::Relaxed);
        } else {
            tables.change(*network, |queue| queue.remove(number));
        }
    }
}

/// A connection, as its own task and all others share it.
#[derive(Debug)]
pub struct Handle {
    connections: Arc<Connections>,
    network: Network,
    number: u64,
    peer: SocketAddr,
    opened: Instant,
    /// The version of TLS.
    tls: OnceLock<&'static str>,
    /// When the session began to wait for a command, in milliseconds after `opened`, and one more;
    /// 0 while it works.
    waiting_since: AtomicU64,
    activity: Mutex<Activity>,
    notify: Notify,
}

/// What the session of a connection does and has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// For the last line in the log. Its user is the one who has logged in.
    pub summary: Summary,
    /// The messages that are marked as deleted.
    pub marked: u32,
    /// Whether the session is in the state UPDATE (RFC 1939 §6).
    pub is_updating: bool,
    /// Whether it removes messages at the moment.
    is_removing: bool,
    ending: Option<Ending>,
}

/// How the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Evicted,
    Kicked,
}

impl Handle {
    fn new(connections: Arc<Connections>, number: u64, peer: SocketAddr) -> Self {
        Self {
            connections,
            network: Network::widest(peer.ip()),
            number,
            peer,
            opened: Instant::now(),
            tls: OnceLock::new(),
            waiting_since: AtomicU64::new(0),
            activity: Mutex::default(),
            notify: Notify::new(),
        }
    }

    /// Its number: 1 for the first connection of the process, and one more for each later one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The address and port of the client.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// When it was accepted.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// The version of TLS, after the handshake.
    pub fn tls(&self) -> Option<&'static str> {
        self.tls.get().copied()
    }

    /// Sets the version of TLS, once.
    pub fn set_tls(&self, version: &'static str) {
        self.tls.get_or_init(|| version);
    }

    /// What the session does and has done.
    pub fn activity(&self) -> Activity {
        self.lock().clone()
    }

    /// How long the session has waited for a command; `None` while it works.
    pub fn idle(&self) -> Option<Duration> {
        let since = self.waiting_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened.elapsed().saturating_sub(Duration::from_millis(since)))
    }

    /// Gives a line to those who watch the connection; `text` is called only if somebody does.
    pub fn tell(&self, from: Speaker, text: impl FnOnce() -> String) {
        let watches = self.connections.watches();
        if watches.is_any() {
            watches.tell(self, from, text);
        }
    }

    /// Whether somebody watches any connection.
    pub(super) fn may_be_watched(&self) -> bool {
        self.connections.watches().is_any()
    }

    /// Ends the connection for the operator. The messages that are marked are not removed.
    ///
    /// Returns `false` while the session removes messages: it ends by itself after that.
    pub fn kick(&self) -> bool {
        self.end(Ending::Kicked)
    }

    fn end(&self, ending: Ending) -> bool {
        let mut activity = self.lock();
        if activity.is_removing {
            return false;
        }
        activity.ending.get_or_insert(ending);
        drop(activity);
        self.notify.notify_one();
        true
    }

    /// Waits until the server ends the connection.
    pub async fn ended(&self) -> End {
        let mut notified = pin!(self.notify.notified());
        let mut waker: Option<Waker> = None;
        poll_fn(|context| {
            // A busy session is polled often, almost always by the same task.
            if waker.as_ref().is_some_and(|known| known.will_wake(context.waker()))
                && self.lock().ending.is_none()
            {
                return Poll::Pending;
            }
            waker = Some(context.waker().clone());
            notified.as_mut().poll(context)
        })
        .await;
        self.ending().unwrap_or(End::Kicked)
    }

    fn ending(&self) -> Option<End> {
        self.lock().ending.map(|ending| match ending {
            Ending::Evicted => End::Evicted,
            Ending::Kicked => End::Kicked,
        })
    }

    /// Protects the connection from eviction until the guard is dropped, while a password is verified.
    ///
    /// # Errors
    /// [`End::Evicted`] when it has been evicted already.
    pub(super) fn hold(self: &Arc<Self>) -> Result<Hold<'_>, End> {
        match self.connections.lock().change(self.network, |queue| queue.remove(&self.number)) {
            Some(_) => Ok(Hold(self)),
            None => Err(End::Evicted),
        }
    }

    /// The session waits for a command since `now`.
    pub(super) fn waits(&self, now: Instant) {
        let since = now.saturating_duration_since(self.opened).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1);
        self.waiting_since.store(since, Ordering::Relaxed);
    }

    /// The session carries out a command.
    pub(super) fn works(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Its client has logged in to a maildrop with this number of messages.
    pub(super) fn logged_in(&self, identity: &Identity, messages: u32) {
        self.connections.logins.count(Instant::now());
        let mut activity = self.lock();
        if activity.summary.user.replace(identity.username().clone()).is_none() {
            self.connections.sessions.fetch_add(1, Ordering::Relaxed);
        }
        activity.summary.app_password = identity.app_password().cloned();
        activity.summary.left = u64::from(messages);
    }

    /// Changes what the session does and has done.
    pub(super) fn change(&self, change: impl FnOnce(&mut Activity)) {
        change(&mut self.lock());
    }

    /// The session is about to remove messages, and is not ended any more.
    ///
    /// # Errors
    /// How the server ends it, if that has begun.
    pub(super) fn begin_update(&self) -> Result<(), End> {
        let mut activity = self.lock();
        activity.is_updating = activity.ending.is_none();
        activity.is_removing = activity.is_updating;
        if activity.is_updating { Ok(()) } else { Err(End::Kicked) }
    }

    /// The session has removed messages, and may be ended again: its client may not read the reply.
    pub(super) fn end_update(&self, removed: u64, left: u64) {
        let mut activity = self.lock();
        activity.is_removing = false;
        activity.summary.removed = removed;
        activity.summary.left = left;
    }

    /// Whether its client has logged in.
    pub fn is_logged_in(&self) -> bool {
        self.lock().summary.user.is_some()
    }

    /// Whether its client has logged in as this user.
    pub fn is_of(&self, user: &str) -> bool {
        self.lock().summary.user.as_ref().is_some_and(|name| name.as_str() == user)
    }

    /// The user who has logged in.
    pub(super) fn user(&self) -> Option<Username> {
        self.lock().summary.user.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Protects a connection from eviction.
#[must_use]
pub(super) struct Hold<'a>(&'a Arc<Handle>);

impl Drop for Hold<'_> {
    /// Puts the connection back with its old number, and so with its old rank, unless its client has
    /// logged in.
    fn drop(&mut self) {
        let Handle { connections, network, number, .. } = &**self.0;
        if !self.0.is_logged_in() {
            let mut tables = connections.lock();
            tables.change(*network, |queue| queue.insert(*number, Arc::clone(self.0)));
        }
    }
}

#[cfg(test)]
mod tests;
