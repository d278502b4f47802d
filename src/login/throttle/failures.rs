//! What a failure adds to the records, and what a success takes back.

use std::time::Duration;

use tokio::time::Instant;

use super::record::{Pair, PairRecord};
use super::state::{Client, State};
use crate::limits::LEVELS;

impl State {
    /// Counts a failure for the networks, and for the user and the accounts with their pairs.
    pub(super) fn count(&mut self, client: &Client, now: Instant) {
        let added_to_networks = self.count_for_networks(client, now);
        for user in client.users() {
            let added_to_user = if client.is_named {
                self.count_for_user(client, user, now)
            } else {
                Duration::ZERO
            };
            let mut added = self.settings.forget_after;
            let mut factor = 1;
            for level in client.levels() {
                added = added * factor / level.factor;
                factor = level.factor;
                let pair = Pair { network: level.network, user };
                let mut record = self.pair(pair, client.user, now);
                let clear_at = self.settings.extended(record.clear_at, added, now);
                added = clear_at.duration_since(record.clear_at);
                record.clear_at = clear_at;
                if level.factor == 1 {
                    record.added_to_user += added_to_user;
                    for (sum, added) in record.added_to_networks.iter_mut().zip(added_to_networks) {
                        *sum += added;
                    }
                }
                self.put_pair(pair, record, now);
            }
        }
    }

    /// Returns what is added to each network: to one with `factor` that part of what is added to the
    /// network within it. So one customer alone cannot make the larger network as bad as its own.
    fn count_for_networks(&mut self, client: &Client, now: Instant) -> [Duration; LEVELS] {
        let mut added_to_networks = [Duration::ZERO; LEVELS];
        let mut added = self.settings.forget_after;
        let mut factor = 1;
        for (level, added_to_network) in client.levels().zip(&mut added_to_networks) {
            added = added * factor / level.factor;
            factor = level.factor;
            let mut network = self.network(level.network, now);
            let clear_at = self.settings.extended(network.clear_at, added, now);
            added = clear_at.duration_since(network.clear_at);
            network.clear_at = clear_at;
            self.put_network(level.network, network, now);
            *added_to_network = added;
        }
        added_to_networks
    }

    fn count_for_user(&mut self, client: &Client, user: u64, now: Instant) -> Duration {
        let mut record = self.user(user, client.user, now);
        let clear_at = self.settings.extended(record.clear_at, self.settings.forget_after, now);
        let added = clear_at.duration_since(record.clear_at);
        record.clear_at = clear_at;
        self.put_user(user, record, now);
        added
    }

    /// Takes back the failures of a pair, which has logged in and is known from now on.
    pub(super) fn clear(&mut self, client: &Client, now: Instant) {
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
        self.remember_known(client.pair(), now);
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
