//! The queues in which attempts wait before their passwords are checked.
//!
//! A new pair waits in the queues of its networks, and of its user and account in each of them. A
//! known pair waits in its own queue alone. A queue is the time at which the last attempt in it
//! is checked; each attempt moves that time by the wait that the failures demand.

use tokio::time::Instant;

use super::Admission;
use super::record::{NetworkRecord, Pair, PairRecord};
use super::state::{Client, State};
use crate::limits::{LEVELS, Level};

/// The queues that an attempt enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queues {
    /// Those of its networks, and those of its user in each of them.
    All,
    /// Those of its user alone.
    OfUser,
    /// None: the attempt is only counted as under way.
    None,
}

/// The records of a network and of a pair in it, as they are once a new pair has entered.
struct Position {
    network: NetworkRecord,
    pair: PairRecord,
    is_clean: bool,
}

impl State {
    /// When the password of a new pair would be checked. The pair came at `begun` and is to wait as
    /// `user`, which is its name or its account.
    pub(super) fn admission(
        &self,
        client: &Client,
        user: u64,
        queues: Queues,
        begun: Instant,
        now: Instant,
    ) -> Admission {
        let latest = self.latest(begun);
        let (mut at, mut is_clean) = (now, true);
        for level in client.levels() {
            let position = self.position(level, client, user, queues, begun, now);
            at = at.max(position.network.free_at).max(position.pair.free_at);
            is_clean &= position.is_clean;
        }
        if at <= latest || is_clean {
            Admission::At(at.min(latest.max(now)))
        } else {
            Admission::Never
        }
    }

    /// Enters a new pair into the queues.
    pub(super) fn enter(
        &mut self,
        client: &Client,
        user: u64,
        queues: Queues,
        begun: Instant,
        now: Instant,
    ) {
        let latest = self.latest(begun);
        for level in client.levels() {
            let Position { mut network, mut pair, .. } =
                self.position(level, client, user, queues, begun, now);
            if queues == Queues::All {
                network.free_at = network.free_at.min(latest);
                self.put_network(level.network, network, now);
            }
            pair.under_way += 1;
            self.put_pair(Pair { network: level.network, user }, pair, now);
        }
    }

    /// Enters a known pair into its own queue.
    pub(super) fn enter_known(&mut self, client: &Client, now: Instant) -> Admission {
        let latest = self.latest(now);
        let mut pair = self.pair(client.pair(), client.user, now);
        let failures = self.settings.failures(pair.clear_at, 1, now);
        let is_clean = failures == 0 && pair.under_way == 0;
        let failures = failures + pair.under_way.saturating_sub(DEVICES);
        pair.free_at = pair.free_at.max(now) + self.settings.wait(failures);
        if pair.free_at > latest && !is_clean {
            return Admission::Never;
        }
        pair.under_way += 1;
        self.put_pair(client.pair(), pair, now);
        Admission::At(pair.free_at.min(latest))
    }

    /// Lets a known pair with a wrong password delay those behind it as a new pair would have
    /// done, which would have been checked at `at`.
    pub(super) fn delay_networks(&mut self, client: &Client, at: Instant, now: Instant) {
        for level in client.levels() {
            let mut network = self.network(level.network, now);
            if self.settings.failures(network.clear_at, level.factor, now) > 0 {
                network.free_at = network.free_at.max(at);
                self.put_network(level.network, network, now);
            }
        }
    }

    /// Counts an attempt as under way no longer.
    pub(super) fn leave(&mut self, client: &Client, now: Instant) {
        for user in client.users() {
            // A known pair has entered its queue in the smallest network alone.
            let entered = match (client.is_known, user == client.user) {
                (false, _) => LEVELS,
                (true, true) => 1,
                (true, false) => 0,
            };
            for level in client.levels().take(entered) {
                let pair = Pair { network: level.network, user };
                let mut record = self.pair(pair, client.user, now);
                record.under_way = record.under_way.saturating_sub(1);
                self.put_pair(pair, record, now);
            }
        }
    }

    /// The position behind all attempts in the queues of one network.
    ///
    /// - A network with `factor` has queues that are `factor` times as fast.
    fn position(
        &self,
        level: Level,
        client: &Client,
        user: u64,
        queues: Queues,
        begun: Instant,
        now: Instant,
    ) -> Position {
        let Level { network: key, factor } = level;
        let settings = &self.settings;
        let mut network = self.network(key, now);
        let mut pair = self.pair(Pair { network: key, user }, client.user, now);
        let of_network = match queues {
            Queues::All => settings.failures(network.clear_at, factor, now),
            Queues::OfUser | Queues::None => 0,
        };
        let of_pair = settings.failures(pair.clear_at, factor, now);
        let under_way = pair.under_way / factor;
        if queues == Queues::All {
            network.free_at = network.free_at.max(begun) + settings.wait(of_network) / factor;
        } else {
            network.free_at = now;
        }
        if queues != Queues::None {
            let of_user = settings.failures(self.user(user, client.user, now).clear_at, 1, now);
            let worst = of_network.max(of_user).max(of_pair + under_way);
            pair.free_at = pair.free_at.max(begun) + settings.wait(worst) / factor;
        }
        Position { network, pair, is_clean: of_pair == 0 && under_way == 0 }
    }

    /// When an attempt that came at `begun` is checked at the latest.
    fn latest(&self, begun: Instant) -> Instant {
        begun + self.settings.longest_delay.saturating_mul(2)
    }
}

/// Attempts at once that do not delay a known pair: a user has several devices.
const DEVICES: u32 = 4;
