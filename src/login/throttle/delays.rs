//! What an operator sees of the throttle, and how somebody is let in again at once.
//!
//! A hundred thousand records are read in pages, because every login needs the lock.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use super::Throttle;
use super::record::{Names, NetworkRecord, Pair, PairRecord, UserRecord};
use super::state::{Client, State};
use crate::limits::Network;
use crate::protocol::ClaimedName;

/// What delays the logins of a user, of all users from a network, or of a user from a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Whose logins.
    pub who: Who,
    /// From where; `None` for all networks that are new for the user.
    pub network: Option<Network>,
    /// The failures that are not forgotten.
    pub failures: u32,
    /// How long the next attempt waits.
    pub wait: Duration,
    /// When all failures are forgotten and the queue is empty.
    pub until: Instant,
}

/// Whose logins are delayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Those of all users.
    All,
    /// Those of a user.
    User(Box<str>),
    /// Those of an account that several names lead to.
    Account,
}

/// Which delays are meant: those that have all the fields that are set.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The name of a user.
    pub user: Option<ClaimedName>,
    /// Networks in it and around it.
    pub network: Option<IpNet>,
}

/// The keys of the records that have been seen last, in each table.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    network: Option<(Instant, Network)>,
    user: Option<(Instant, u64)>,
    pair: Option<(Instant, Pair)>,
}

/// The key of a record.
#[derive(Clone, Copy, Debug)]
enum Key {
    Network(Network),
    User(u64),
    Pair(Pair),
}

/// A selection, with hashes in place of names.
struct Selected {
    user: Option<u64>,
    account: Option<u64>,
    network: Option<IpNet>,
}

impl Throttle {
    /// The next page of delays, those that end last first. `None` after the last page; a page may be
    /// empty.
    pub fn delays(&self, selection: &Selection, seen: &mut Seen) -> Option<Vec<Delay>> {
        let now = Instant::now();
        let state = self.lock();
        let selected = self.selected(selection, &state);
        let keys = state.next_keys(seen)?;
        let shown = keys.iter().filter(|key| !state.is_twin(**key, now));
        let selects = |key: &&Key| selected.selects(**key);
        Some(shown.filter(selects).filter_map(|key| state.delay(*key, now)).collect())
    }

    /// The same, and forgets these delays. Attempts that wait already wait as long as before.
    pub fn clear_delays(&self, selection: &Selection, seen: &mut Seen) -> Option<Vec<Delay>> {
        let now = Instant::now();
        let mut state = self.lock();
        let selected = self.selected(selection, &state);
        let keys = state.next_keys(seen)?;
        let mut cleared = Vec::new();
        for key in keys.into_iter().filter(|key| selected.selects(*key)) {
            if !state.is_twin(key, now) {
                cleared.extend(state.delay(key, now));
            }
            state.forget(key, now);
        }
        Some(cleared)
    }

    fn selected(&self, selection: &Selection, state: &State) -> Selected {
        let user = selection.user.as_ref().map(|name| self.user(Some(name)));
        let account = user.and_then(|user| state.names.get(&user, Instant::now())?.account);
        Selected { user, account, network: selection.network }
    }
}

impl Selected {
    fn selects(&self, key: Key) -> bool {
        let (user, network) = match key {
            Key::Network(network) => (None, Some(network)),
            Key::User(user) => (Some(user), None),
            Key::Pair(Pair { network, user }) => (Some(user), Some(network)),
        };
        let is_user = self.user.is_none()
            || user.is_some_and(|user| self.user == Some(user) || self.account == Some(user));
        let is_network = self.network.is_none_or(|selected| {
            network
                .map(IpNet::from)
                .is_some_and(|own| own.contains(&selected) || selected.contains(&own))
        });
        is_user && is_network
    }
}

impl State {
    /// The next keys of all tables, those whose records end last first. `None` if there are no more.
    fn next_keys(&self, seen: &mut Seen) -> Option<Vec<Key>> {
        let mut networks = self.networks.before(seen.network).peekable();
        let mut users = self.users.before(seen.user).peekable();
        let mut pairs = self.pairs.before(seen.pair).peekable();
        let mut keys = Vec::new();
        while keys.len() < PAGE {
            let network = networks.peek().map(|(end, _)| *end);
            let user = users.peek().map(|(end, _)| *end);
            let pair = pairs.peek().map(|(end, _)| *end);
            let Some(last) = network.max(user).max(pair) else { break };
            if network == Some(last) {
                seen.network = networks.next().copied();
                keys.extend(seen.network.map(|(_, network)| Key::Network(network)));
            } else if user == Some(last) {
                seen.user = users.next().copied();
                keys.extend(seen.user.map(|(_, user)| Key::User(user)));
            } else {
                seen.pair = pairs.next().copied();
                keys.extend(seen.pair.map(|(_, pair)| Key::Pair(pair)));
            }
        }
        (!keys.is_empty()).then_some(keys)
    }

    /// Whether the record is that of an account which only one name has led to. The record of the
    /// name says the same.
    fn is_twin(&self, key: Key, now: Instant) -> bool {
        let (user, names) = match key {
            Key::Network(_) => return false,
            Key::User(user) => (user, self.users.get(&user, now).map(|record| record.names)),
            Key::Pair(pair) => (pair.user, self.pairs.get(&pair, now).map(|record| record.names)),
        };
        matches!(names, Some(Names::Only(name)) if name != user)
    }

    /// What a record delays. `None` if that is nothing, or if the record is that of tokens, which have
    /// no user and are delayed by their networks.
    fn delay(&self, key: Key, now: Instant) -> Option<Delay> {
        let settings = &self.settings;
        let (who, network, clear_at, free_at) = match key {
            Key::Network(network) => {
                let NetworkRecord { clear_at, free_at } = *self.networks.get(&network, now)?;
                (Who::All, Some(network), clear_at, free_at)
            }
            Key::User(user) => {
                let UserRecord { clear_at, names } = *self.users.get(&user, now)?;
                (self.who(names, now)?, None, clear_at, now)
            }
            Key::Pair(pair) => {
                let PairRecord { clear_at, free_at, names, .. } = *self.pairs.get(&pair, now)?;
                (self.who(names, now)?, Some(pair.network), clear_at, free_at)
            }
        };
        let factor = network.map_or(1, Network::factor);
        let failures = settings.failures(clear_at, factor, now);
        let queue = free_at.saturating_duration_since(now);
        let longest = settings.longest_delay.saturating_mul(2);
        let wait = (queue + settings.wait(failures) / factor).min(longest);
        let until = clear_at.max(free_at);
        (failures > 0 || !wait.is_zero()).then_some(Delay { who, network, failures, wait, until })
    }

    fn who(&self, names: Names, now: Instant) -> Option<Who> {
        match names {
            Names::Only(name) => {
                self.names.get(&name, now).map(|name| Who::User(name.text.clone()))
            }
            Names::Several => Some(Who::Account),
        }
    }

    /// Forgets a record. What a pair has added to its networks and to its user is forgotten with it.
    fn forget(&mut self, key: Key, now: Instant) {
        match key {
            Key::Network(network) => self.networks.remove(&network),
            Key::User(user) => self.users.remove(&user),
            Key::Pair(pair) => {
                let Some(record) = self.pairs.get(&pair, now).copied() else { return };
                let peer = IpNet::from(pair.network).network();
                // Once for each failure: the record of an account repeats what that of the name says.
                let is_name = record.names == Names::Only(pair.user);
                if is_name && pair.network == Network::from(peer) {
                    self.take_back(&Client::of(peer, pair.user), now);
                }
                let PairRecord { under_way, names, .. } = record;
                let record = PairRecord { under_way, names, ..PairRecord::new(pair.user, now) };
                self.put_pair(pair, record, now);
            }
        }
    }
}

impl Client {
    /// A client of which only this is known.
    fn of(peer: IpAddr, user: u64) -> Self {
        Self { peer, user, name: None, accounts: Vec::new(), is_known: false }
    }
}

/// The records that are read while the lock is held: some 100 µs.
const PAGE: usize = 128;
