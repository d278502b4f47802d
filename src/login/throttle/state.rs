//! The tables of the throttle.

use std::iter::once;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::record::{Name, Names, NetworkRecord, Pair, PairRecord, UserRecord, scaled};
use crate::config::ThrottleSection;
use crate::limits::{ExpiringMap, Level, Network};
use crate::protocol::ClaimedName;

/// The client of an attempt, with the user that it names.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: IpAddr,
    /// A keyed hash of the name.
    pub(super) user: u64,
    /// `None` for a token, which comes without a name.
    pub(super) name: Option<ClaimedName>,
    /// Keyed hashes of the accounts that the name leads to, as far as is known.
    pub(super) accounts: Vec<u64>,
    /// Whether the pair has logged in lately.
    pub(super) is_known: bool,
}

/// All that the throttle remembers.
#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: ThrottleSection,
    pub(super) networks: ExpiringMap<Network, NetworkRecord>,
    /// Users and accounts.
    pub(super) users: ExpiringMap<u64, UserRecord>,
    pub(super) pairs: ExpiringMap<Pair, PairRecord>,
    known_pairs: ExpiringMap<Pair, ()>,
    /// Hashes of wrong passwords, each together with its pair.
    wrong_passwords: ExpiringMap<u64, ()>,
    /// The names of users that have failures.
    pub(super) names: ExpiringMap<u64, Name>,
}

impl Client {
    /// The pair of its user and its smallest network.
    pub(super) fn pair(&self) -> Pair {
        Pair { network: self.peer.into(), user: self.user }
    }

    pub(super) fn levels(&self) -> impl Iterator<Item = Level> + use<> {
        Network::levels(self.peer)
    }

    /// The user and the accounts, each of which counts failures.
    pub(super) fn users(&self) -> impl Iterator<Item = u64> {
        once(self.user).chain(self.accounts.iter().copied())
    }
}

impl State {
    pub(super) fn new(settings: ThrottleSection, entries: usize) -> Self {
        Self {
            settings,
            networks: ExpiringMap::new(entries),
            users: ExpiringMap::new(entries),
            pairs: ExpiringMap::new(entries),
            known_pairs: ExpiringMap::new(entries),
            wrong_passwords: ExpiringMap::new(entries),
            names: ExpiringMap::new(entries),
        }
    }

    /// The number of records in each table, that of known pairs last.
    pub(super) fn records(&self) -> [usize; 5] {
        [
            self.networks.len(),
            self.users.len(),
            self.pairs.len(),
            self.wrong_passwords.len(),
            self.known_pairs.len(),
        ]
    }

    /// Takes other settings. The numbers of failures stay the same: as each is kept as a time, these
    /// times change as `forget_after` does.
    pub(super) fn change(&mut self, settings: ThrottleSection, now: Instant) {
        let old = mem::replace(&mut self.settings, settings).forget_after;
        let new = self.settings.forget_after;
        if new == old {
            return;
        }
        let moved =
            |clear_at: Instant| now + scaled(clear_at.saturating_duration_since(now), old, new);
        self.networks.change(|network, _| {
            network.clear_at = moved(network.clear_at);
            network.end()
        });
        self.users.change(|user, _| {
            user.clear_at = moved(user.clear_at);
            user.clear_at
        });
        self.pairs.change(|pair, _| {
            pair.clear_at = moved(pair.clear_at);
            for added in &mut pair.added_to_networks {
                *added = scaled(*added, old, new);
            }
            pair.added_to_user = scaled(pair.added_to_user, old, new);
            pair.end(now + new)
        });
        self.names.change(|_, end| moved(end));
    }

    /// Remembers the name of a client that has failed, for as long as that counts.
    pub(super) fn remember_name(&mut self, client: &Client, now: Instant) {
        let Some(name) = &client.name else { return };
        let user = self.user(client.user, client.user, now).clear_at;
        let end = user.max(self.pair(client.pair(), client.user, now).clear_at);
        let name = Name::new(name, client.accounts.last().copied());
        self.names.put(client.user, name, end, now);
    }

    pub(super) fn is_known(&self, pair: Pair, now: Instant) -> bool {
        self.known_pairs.get(&pair, now).is_some()
    }

    pub(super) fn remember_known(&mut self, pair: Pair, now: Instant) {
        self.known_pairs.put(pair, (), now + KNOWN_TIME, now);
    }

    /// Remembers a wrong password; returns whether it was remembered already.
    pub(super) fn remember_wrong_password(&mut self, hash: u64, now: Instant) -> bool {
        let is_known = self.wrong_passwords.get(&hash, now).is_some();
        self.wrong_passwords.put(hash, (), now + WRONG_PASSWORD_TIME, now);
        is_known
    }

    /// Whether an account has been tried by another name than that of this client.
    pub(super) fn has_other_names(&self, client: &Client, account: u64, now: Instant) -> bool {
        let only = Names::Only(client.user);
        self.users.get(&account, now).is_some_and(|user| user.names != only)
            || client.levels().any(|level| {
                let pair = Pair { network: level.network, user: account };
                self.pairs.get(&pair, now).is_some_and(|pair| pair.names != only)
            })
    }

    pub(super) fn network(&self, network: Network, now: Instant) -> NetworkRecord {
        let record = self.networks.get(&network, now).copied();
        let record = record.unwrap_or(NetworkRecord { clear_at: now, free_at: now });
        NetworkRecord { clear_at: record.clear_at.max(now), ..record }
    }

    pub(super) fn put_network(&mut self, network: Network, record: NetworkRecord, now: Instant) {
        self.networks.put(network, record, record.end(), now);
    }

    /// The record of a user or account that is tried by `name`.
    pub(super) fn user(&self, user: u64, name: u64, now: Instant) -> UserRecord {
        match self.users.get(&user, now) {
            Some(record) => UserRecord { names: record.names.and(name), ..*record },
            None => UserRecord { clear_at: now, names: Names::Only(name) },
        }
    }

    pub(super) fn put_user(&mut self, user: u64, record: UserRecord, now: Instant) {
        self.users.put(user, record, record.clear_at, now);
    }

    /// The record of a pair whose user is tried by `name`.
    pub(super) fn pair(&self, pair: Pair, name: u64, now: Instant) -> PairRecord {
        match self.pairs.get(&pair, now) {
            Some(record) => PairRecord { names: record.names.and(name), ..*record },
            None => PairRecord::new(name, now),
        }
    }

    pub(super) fn put_pair(&mut self, pair: Pair, record: PairRecord, now: Instant) {
        self.pairs.put(pair, record, record.end(now + self.settings.forget_after), now);
    }
}

/// How long a pair that has logged in is known.
pub(super) const KNOWN_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a wrong password is remembered after the last attempt with it.
const WRONG_PASSWORD_TIME: Duration = Duration::from_secs(24 * 60 * 60);
