//! What a failure adds to the records, and what a success takes back.

use std::time::Duration;

use tokio::time::Instant;

use super::record::{Pair, PairRecord};
use super::state::{Client, State};
use crate::limits::{LEVELS, Level};

impl State {
    /// Counts a failure for the networks, and for the user and the accounts with their pairs.
    pub(super) fn count(&mut self, client: &Client, now: Instant) {
        let forget = self.settings.forget_after;
        let added_to_networks = self.count_for_networks(client, now);
        for user in client.users() {
            let added_to_user = if client.name.is_some() {
                self.count_for_user(client, user, now)
            } else {
                Duration::ZERO
            };
            add_to_each(client.levels(), forget, |level, added| {
                let pair = Pair { network: level.network, user };
                let mut record = self.pair(pair, client.user, now);
                let added = self.settings.extend(&mut record.clear_at, added, now);
                if level.factor == 1 {
                    record.added_to_user += added_to_user;
                    for (sum, added) in record.added_to_networks.iter_mut().zip(added_to_networks) {
                        *sum += added;
                    }
                }
                self.put_pair(pair, record, now);
                added
            });
        }
        self.remember_name(client, now);
    }

    /// Returns what is added to each network.
    fn count_for_networks(&mut self, client: &Client, now: Instant) -> [Duration; LEVELS] {
        let forget = self.settings.forget_after;
        add_to_each(client.levels(), forget, |level, added| {
            let mut network = self.network(level.network, now);
            let added = self.settings.extend(&mut network.clear_at, added, now);
            self.put_network(level.network, network, now);
            added
        })
    }

    fn count_for_user(&mut self, client: &Client, user: u64, now: Instant) -> Duration {
        let mut record = self.user(user, client.user, now);
        let added = self.settings.extend(&mut record.clear_at, self.settings.forget_after, now);
        self.put_user(user, record, now);
        added
    }

    /// Takes back the failures of a pair, which has logged in and is known from now on.
    pub(super) fn clear(&mut self, client: &Client, now: Instant) {
        self.take_back(client, now);
        self.remember_known(client.pair(), now);
    }

    /// Takes back the failures of a pair.
    pub(super) fn take_back(&mut self, client: &Client, now: Instant) {
        for user in client.users() {
            let pair = Pair { network: client.peer.into(), user };
            let record = self.pair(pair, client.user, now);
            // What the pair has forgotten, the networks and the user have forgotten as well.
            let left = record.clear_at.saturating_duration_since(now);
            if left.is_zero() {
                continue;
            }
            if user == client.user {
                self.clear_networks(client, left, record.added_to_networks, now);
            }
            self.clear_user(client, user, left.min(record.added_to_user), now);
            let under_way = record.under_way;
            let record = PairRecord { under_way, ..PairRecord::new(client.user, now) };
            self.put_pair(pair, record, now);
            self.clear_larger_pairs(client, user, left, now);
        }
    }

    fn clear_networks(
        &mut self,
        client: &Client,
        left: Duration,
        added: [Duration; LEVELS],
        now: Instant,
    ) {
        for (level, added) in client.levels().zip(added) {
            let mut network = self.network(level.network, now);
            let most = network.clear_at.duration_since(now);
            network.clear_at -= (left / level.factor).min(added).min(most);
            self.put_network(level.network, network, now);
        }
    }

    fn clear_user(&mut self, client: &Client, user: u64, left: Duration, now: Instant) {
        let mut record = self.user(user, client.user, now);
        record.clear_at -= left.min(record.clear_at.duration_since(now));
        self.put_user(user, record, now);
    }

    /// Takes back the failures of the pair from those of the same user in the larger networks.
    fn clear_larger_pairs(&mut self, client: &Client, user: u64, left: Duration, now: Instant) {
        for level in client.levels().skip(1) {
            let pair = Pair { network: level.network, user };
            let mut record = self.pair(pair, client.user, now);
            let most = record.clear_at.saturating_duration_since(now);
            record.clear_at -= most.min(left / level.factor);
            self.put_pair(pair, record, now);
        }
    }
}

/// Adds `forget` to the smallest network. A network with `factor` gets that part of what was added to
/// the one within it, so that one customer alone cannot make the larger network as bad as its own.
/// `add` returns what it has added.
fn add_to_each(
    levels: impl Iterator<Item = Level>,
    forget: Duration,
    mut add: impl FnMut(Level, Duration) -> Duration,
) -> [Duration; LEVELS] {
    let mut all = [Duration::ZERO; LEVELS];
    let (mut added, mut factor) = (forget, 1);
    for (level, slot) in levels.zip(&mut all) {
        added = add(level, added * factor / level.factor);
        factor = level.factor;
        *slot = added;
    }
    all
}
