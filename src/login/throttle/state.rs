//! What the throttle remembers: the tables, the lines that tries wait in, and how a failure and a
//! success change them.

use std::iter::once;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::record::{Names, NetworkRecord, Pair, PairRecord, UserRecord, scaled};
use super::{Admission, Settings};
use crate::limits::Fading;
use crate::limits::Network;
use crate::limits::{LEVELS, Level};

/// Whose try it is.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) peer: IpAddr,
    /// A keyed hash of the name.
    pub(super) user: u64,
    /// Whether there was a name at all.
    pub(super) is_named: bool,
    /// Keyed hashes of the accounts that the name has been found to lead to.
    pub(super) accounts: Vec<u64>,
    /// Whether the pair has logged in lately.
    pub(super) is_acquainted: bool,
}

/// Which queues an attempt stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queues {
    /// Those of its networks, and those of its user in each of them.
    All,
    /// Those of its user alone.
    OfUser,
    /// None: it is only counted as under way.
    None,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    networks: Fading<Network, NetworkRecord>,
    /// Users and accounts.
    users: Fading<u64, UserRecord>,
    pairs: Fading<Pair, PairRecord>,
    /// Pairs that have logged in lately.
    acquaintances: Fading<Pair, ()>,
    /// Hashes of wrong passwords, each with its pair.
    wrong: Fading<u64, ()>,
}

/// Where a stranger stands in the lines of one network.
struct Queued {
    place: NetworkRecord,
    tries: PairRecord,
    is_clean: bool,
}

impl Who {
    /// The pair in the smallest network.
    pub(super) fn pair(&self) -> Pair {
        Pair { network: self.peer.into(), user: self.user }
    }

    fn levels(&self) -> impl Iterator<Item = Level> + use<> {
        Network::levels(self.peer)
    }

    /// What its failures are counted for besides the networks.
    fn users(&self) -> impl Iterator<Item = u64> {
        once(self.user).chain(self.accounts.iter().copied())
    }
}

impl State {
    pub(super) fn new(settings: Settings, entries: usize) -> Self {
        Self {
            settings,
            networks: Fading::new(entries),
            users: Fading::new(entries),
            pairs: Fading::new(entries),
            acquaintances: Fading::new(entries),
            wrong: Fading::new(entries),
        }
    }

    /// Whether this pair has logged in lately.
    pub(super) fn knows(&self, who: &Who, now: Instant) -> bool {
        self.acquaintances.get(&who.pair(), now).is_some()
    }

    /// When a stranger who came at `begun` would be heard as `user`, which is its name or account.
    pub(super) fn hearing(
        &self,
        who: &Who,
        user: u64,
        lines: Queues,
        begun: Instant,
        now: Instant,
    ) -> Admission {
        let latest = begun + self.settings.most.saturating_mul(2);
        let (mut heard, mut is_clean) = (now, true);
        for level in who.levels() {
            let standing = self.standing(level, who, user, lines, begun, now);
            heard = heard.max(standing.place.free).max(standing.tries.free);
            is_clean &= standing.is_clean;
        }
        if heard <= latest || is_clean {
            Admission::At(heard.min(latest.max(now)))
        } else {
            Admission::Never
        }
    }

    /// Takes the places of a stranger in the lines.
    pub(super) fn enter(
        &mut self,
        who: &Who,
        user: u64,
        lines: Queues,
        latest: Instant,
        begun: Instant,
        now: Instant,
    ) {
        for level in who.levels() {
            let Queued { mut place, mut tries, .. } =
                self.standing(level, who, user, lines, begun, now);
            if lines == Queues::All {
                place.free = place.free.min(latest);
                self.put_place(level.network, place, now);
            }
            tries.under_way += 1;
            self.put_tries(Pair { network: level.network, user }, tries, now);
        }
    }

    /// The same for an acquaintance, who stands in its own line alone.
    pub(super) fn enter_own(&mut self, who: &Who, latest: Instant, now: Instant) -> Admission {
        let pair = who.pair();
        let mut tries = self.tries(pair, who.user, now);
        let own = self.settings.failures(tries.clear, 1, now);
        let is_clean = own == 0 && tries.under_way == 0;
        let worst = own + tries.under_way.saturating_sub(DEVICES);
        tries.free = tries.free.max(now) + self.settings.wait(worst);
        if tries.free > latest && !is_clean {
            return Admission::Never;
        }
        tries.under_way += 1;
        self.put_tries(pair, tries, now);
        Admission::At(tries.free.min(latest))
    }

    /// Stands in the lines of the networks after all: so the next one is heard when it would be had
    /// this acquaintance been a stranger.
    pub(super) fn take_strangers_place(&mut self, who: &Who, heard: Instant, now: Instant) {
        for level in who.levels() {
            let mut place = self.place(level.network, now);
            if self.settings.failures(place.clear, level.factor, now) > 0 {
                place.free = place.free.max(heard);
                self.put_place(level.network, place, now);
            }
        }
    }

    /// A try is not under way any more.
    pub(super) fn leave(&mut self, who: &Who, now: Instant) {
        for user in who.users() {
            // An acquaintance stood in the first line of its name, and in no other.
            let lines = match (who.is_acquainted, user == who.user) {
                (false, _) => LEVELS,
                (true, true) => 1,
                (true, false) => 0,
            };
            for level in who.levels().take(lines) {
                let pair = Pair { network: level.network, user };
                let mut tries = self.tries(pair, who.user, now);
                tries.under_way = tries.under_way.saturating_sub(1);
                self.put_tries(pair, tries, now);
            }
        }
    }

    /// Whether an account has been tried by another name than this one lately.
    pub(super) fn has_other_names(&self, who: &Who, account: u64, now: Instant) -> bool {
        let only = Names::Only(who.user);
        let has_other = |names: Names| names != only;
        self.users.get(&account, now).is_some_and(|blame| has_other(blame.names))
            || who.levels().any(|level| {
                let pair = Pair { network: level.network, user: account };
                self.pairs.get(&pair, now).is_some_and(|tries| has_other(tries.names))
            })
    }

    /// Remembers a wrong password; whether it was remembered already.
    pub(super) fn remember_wrong(&mut self, wrong: u64, now: Instant) -> bool {
        let is_known = self.wrong.get(&wrong, now).is_some();
        self.wrong.put(wrong, (), now + WRONG, now);
        is_known
    }

    /// Counts a failure for the networks, and for the name and the account with the pairs of both.
    pub(super) fn count(&mut self, who: &Who, now: Instant) {
        let against_networks = self.count_networks(who, now);
        for user in who.users() {
            let against_user =
                if who.is_named { self.count_user(who, user, now) } else { Duration::ZERO };
            let mut added = self.settings.forget;
            let mut factor = 1;
            for level in who.levels() {
                added = added * factor / level.factor;
                factor = level.factor;
                let pair = Pair { network: level.network, user };
                let mut tries = self.tries(pair, who.user, now);
                let clear = self.settings.worsen(tries.clear, added, now);
                added = clear.duration_since(tries.clear);
                tries.clear = clear;
                if level.factor == 1 {
                    tries.against_user += against_user;
                    for (sum, added) in tries.against_networks.iter_mut().zip(against_networks) {
                        *sum += added;
                    }
                }
                self.put_tries(pair, tries, now);
            }
        }
    }

    /// What that adds to each of the networks: to one that is `factor` times as large a part of what
    /// it adds to the one within it, so one customer alone cannot make it as bad as itself.
    fn count_networks(&mut self, who: &Who, now: Instant) -> [Duration; LEVELS] {
        let mut against = [Duration::ZERO; LEVELS];
        let mut added = self.settings.forget;
        let mut factor = 1;
        for (level, against) in who.levels().zip(&mut against) {
            added = added * factor / level.factor;
            factor = level.factor;
            let mut place = self.place(level.network, now);
            let clear = self.settings.worsen(place.clear, added, now);
            added = clear.duration_since(place.clear);
            place.clear = clear;
            self.put_place(level.network, place, now);
            *against = added;
        }
        against
    }

    fn count_user(&mut self, who: &Who, user: u64, now: Instant) -> Duration {
        let mut blame = self.blame(user, who.user, now);
        let clear = self.settings.worsen(blame.clear, self.settings.forget, now);
        let added = clear.duration_since(blame.clear);
        blame.clear = clear;
        self.users.put(user, blame, clear, now);
        added
    }

    /// Takes back what a pair has counted, for it has logged in; from now on it is acquainted.
    pub(super) fn clear(&mut self, who: &Who, now: Instant) {
        for user in who.users() {
            let pair = Pair { network: who.peer.into(), user };
            let tries = self.tries(pair, who.user, now);
            // What the pair has forgotten, the networks and the user have forgotten as well.
            let own = tries.clear.saturating_duration_since(now);
            if own.is_zero() {
                continue;
            }
            if user == who.user {
                self.clear_networks(who, own, tries.against_networks, now);
            }
            let mut blame = self.blame(user, who.user, now);
            blame.clear -= own.min(tries.against_user).min(blame.clear.duration_since(now));
            self.users.put(user, blame, blame.clear, now);
            let clean =
                PairRecord { under_way: tries.under_way, ..PairRecord::none(who.user, now) };
            self.put_tries(pair, clean, now);
            for level in who.levels().skip(1) {
                let pair = Pair { network: level.network, user };
                let mut tries = self.tries(pair, who.user, now);
                let left = tries.clear.saturating_duration_since(now);
                tries.clear -= left.min(own / level.factor);
                self.put_tries(pair, tries, now);
            }
        }
        self.acquaintances.put(who.pair(), (), now + ACQUAINTANCE, now);
    }

    fn clear_networks(
        &mut self,
        who: &Who,
        own: Duration,
        against: [Duration; LEVELS],
        now: Instant,
    ) {
        for (level, against) in who.levels().zip(against) {
            let mut place = self.place(level.network, now);
            let left = place.clear.duration_since(now);
            place.clear -= (own / level.factor).min(against).min(left);
            self.put_place(level.network, place, now);
        }
    }

    /// Behind all who are in the lines of one network, with the wait that its failures demand.
    ///
    /// - What may do `factor` times as much is let through as many times as fast.
    fn standing(
        &self,
        level: Level,
        who: &Who,
        user: u64,
        lines: Queues,
        begun: Instant,
        now: Instant,
    ) -> Queued {
        let Level { network, factor } = level;
        let settings = &self.settings;
        let mut place = self.place(network, now);
        let mut tries = self.tries(Pair { network, user }, who.user, now);
        let around = match lines {
            Queues::All => settings.failures(place.clear, factor, now),
            Queues::OfUser | Queues::None => 0,
        };
        let own = settings.failures(tries.clear, factor, now);
        let under_way = tries.under_way / factor;
        if lines == Queues::All {
            place.free = place.free.max(begun) + settings.wait(around) / factor;
        } else {
            place.free = now;
        }
        if lines != Queues::None {
            let against = self.users.get(&user, now).map_or(now, |blame| blame.clear);
            let against = settings.failures(against, 1, now);
            let worst = around.max(against).max(own + under_way);
            tries.free = tries.free.max(begun) + settings.wait(worst) / factor;
        }
        Queued { place, tries, is_clean: own == 0 && under_way == 0 }
    }

    /// A failure is remembered as the time after which it is forgotten, so the number of failures
    /// stays the same when these times change as `forget` does.
    pub(super) fn change(&mut self, settings: Settings, now: Instant) {
        let old = std::mem::replace(&mut self.settings, settings).forget;
        let new = self.settings.forget;
        if new == old {
            return;
        }
        let later = |clear: Instant| now + scaled(clear.saturating_duration_since(now), old, new);
        self.networks.change(|place| {
            place.clear = later(place.clear);
            place.end()
        });
        self.users.change(|blame| {
            blame.clear = later(blame.clear);
            blame.clear
        });
        self.pairs.change(|tries| {
            tries.clear = later(tries.clear);
            for against in &mut tries.against_networks {
                *against = scaled(*against, old, new);
            }
            tries.against_user = scaled(tries.against_user, old, new);
            tries.end(now + new)
        });
    }

    fn tries(&self, pair: Pair, name: u64, now: Instant) -> PairRecord {
        match self.pairs.get(&pair, now) {
            Some(tries) => PairRecord { names: tries.names.and(name), ..*tries },
            None => PairRecord::none(name, now),
        }
    }

    fn put_tries(&mut self, pair: Pair, tries: PairRecord, now: Instant) {
        self.pairs.put(pair, tries, tries.end(now + self.settings.forget), now);
    }

    fn place(&self, network: Network, now: Instant) -> NetworkRecord {
        let place = self.networks.get(&network, now).copied();
        let place = place.unwrap_or(NetworkRecord { clear: now, free: now });
        NetworkRecord { clear: place.clear.max(now), ..place }
    }

    fn put_place(&mut self, network: Network, place: NetworkRecord, now: Instant) {
        self.networks.put(network, place, place.end(), now);
    }

    fn blame(&self, user: u64, name: u64, now: Instant) -> UserRecord {
        match self.users.get(&user, now) {
            Some(blame) => UserRecord { names: blame.names.and(name), ..*blame },
            None => UserRecord { clear: now, names: Names::Only(name) },
        }
    }
}

/// Attempts at once that an acquaintance has free: a user has more than one device.
const DEVICES: u32 = 4;

/// How long a pair that has logged in is an acquaintance.
pub(super) const ACQUAINTANCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a wrong password is remembered after the last try with it.
const WRONG: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
impl State {
    /// How many records each table has; that of acquaintances comes last.
    pub(super) fn records(&self) -> [usize; 5] {
        [
            self.networks.len(),
            self.users.len(),
            self.pairs.len(),
            self.wrong.len(),
            self.acquaintances.len(),
        ]
    }
}
