//! Slows down whoever guesses passwords, and nobody else if that can be helped.
//!
//! A *pair* is a user name together with the [`Network`] that it is tried from. Networks, users and
//! pairs each have a number of failures; one is forgotten every `forget`. A try waits before its
//! password is looked at, right or wrong: `first` after one failure, twice as long after each
//! further one, at most `most`.
//!
//! # Who waits
//! - A **stranger**, a pair that has not logged in lately, waits for the worst of three: the
//!   failures of its network, of its user, and its own.
//! - An **acquaintance**, a pair that has logged in within seven days, waits for its own alone.
//! - Tries of one pair are let through one after the other, each with its wait behind that of the
//!   one before, and so are those of all strangers in a network that has failures. A try that is
//!   under way counts as a failure of its pair: parallel connections gain nothing.
//! - Where the line is longer than twice `most`, a pair that has failures or tries under way is
//!   turned away unheard ([`Throttle::attempt`] gives `None`, which is no wrong password). A
//!   stranger with a clean record is heard after twice `most`, whatever the line.
//!
//! # What counts
//! - A wrong password counts once for its pair: it is remembered for a day from the last try with
//!   it, as a keyed hash of 64 bits. A telephone with an old password keeps nobody out.
//! - By SCRAM each failure counts. A proof is `key XOR HMAC(H(key), exchange)`: only who has the
//!   client's key, or guesses it, can tell that two proofs were made with the same one.
//! - A success takes back what its pair has counted against the network and the user, and no more:
//!   an attacker with an account of its own cannot wash its network clean with it.
//! - What ends without an answer, for a store is down, counts for nothing. A password that has been
//!   put to a store counts as wrong when the time of the client is over before the answer: where it
//!   takes longer to say no than to say yes, guesses would be free for who comes late on purpose.
//! - Trusted networks do not wait, and what they do is not counted.
//!
//! # What an attacker gets
//! - One account, one network: seven guesses or so, then one every `most`, however many connections
//!   there are. After each success of the owner *from the same network*, as many again.
//! - One account, many networks: what each network gets, and no more than one every `most` each
//!   from the seventh failure on, wherever that was.
//! - Many accounts, one network: one guess every `most`; and beyond that one for each name, as the
//!   name has a clean record then, every `forget`, and not faster than its connections allow, each
//!   waiting twice `most`. Before the first failure is known each of its connections has one free.
//!
//! # What an attacker takes from others
//! - The owner of an account under attack is an acquaintance at home and notices nothing. From a
//!   new place the wait is at most `most`.
//! - Neighbours behind one address are acquaintances or wait at most twice `most`; nobody who has
//!   the right password is turned away, but whoever has failed a moment before, or tries twice at
//!   once, while the neighbour fills the line.
//! - A neighbour who fills the line of one pair can have its owner turned away as long as that goes
//!   on. The same neighbour could use up the connections of the address.
//! - The tables hold `entries` records each; the one that would be forgotten first goes. A flood of
//!   names or networks brings records with one failure each, so it pushes out its own kind and
//!   those that are nearly forgotten, never those with more failures. Acquaintances have a table
//!   of their own: only log-ins push them out.
//!
//! # What it costs
//! At the worst 400 octets for a pair, 250 for a network, 200 for an acquaintance, 150 for a user or
//! a wrong password: 115 MB with 100 000 entries and all tables full. Names are kept as hashes, so
//! their length does not matter. A call holds the lock for a few look-ups, O(log n); a change of
//! `forget` holds it once for all of the tables.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use super::Network;
use super::fading::Fading;
use crate::protocol::{ClaimedName, Secret, Username};

/// Counts failures, and says how long a try has to wait. See the head of this file for the rules.
#[derive(Debug)]
pub struct Throttle {
    /// The key of the hashes of names and passwords; another one in each process.
    key: RandomState,
    state: Mutex<State>,
}

/// The operator's choices.
#[derive(Debug)]
pub struct Settings {
    /// The wait after one failure; zero switches the throttle off.
    pub first: Duration,
    /// The longest wait; twice this should fit into the time that a client has for its log-in.
    pub most: Duration,
    /// After this long one failure is forgotten.
    pub forget: Duration,
    /// Who is neither slowed down nor counted.
    pub trusted: Vec<IpNet>,
}

/// A try that has been let into the line.
///
/// Dropped before [`heard`](Self::heard) it counts for nothing, but the place in the line is used
/// up; dropped after that it has failed.
#[derive(Debug)]
#[must_use = "a try waits for its delay, and says how it went"]
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    /// `None` for those who are not counted.
    pair: Option<Pair>,
    delay: Duration,
    /// The password that is being looked at.
    heard: Option<Arc<Secret<Vec<u8>>>>,
}

impl Default for Throttle {
    /// One that slows nobody down.
    fn default() -> Self {
        let off = Settings {
            first: Duration::ZERO,
            most: Duration::ZERO,
            forget: Duration::ZERO,
            trusted: Vec::new(),
        };
        Self::new(off, 0)
    }
}

impl Throttle {
    /// Nobody has failed yet. There will be at most so many `entries` in each table.
    pub fn new(settings: Settings, entries: usize) -> Self {
        let state = State {
            settings,
            networks: Fading::new(entries),
            users: Fading::new(entries),
            pairs: Fading::new(entries),
            acquaintances: Fading::new(entries),
            wrong: Fading::new(entries),
        };
        Self { key: RandomState::new(), state: Mutex::new(state) }
    }

    /// Has other settings from now on.
    ///
    /// - Failures stay as many as they are; how long the next wait is, and when they are forgotten,
    ///   follows the new settings.
    /// - Who is in the line already waits for as long as he was told to.
    pub fn change(&self, settings: Settings) {
        self.lock().change(settings, Instant::now());
    }

    /// Takes a place in the line for a try of `name` from `peer`; `None` when the line is full and
    /// the try is turned away unheard.
    pub fn attempt(&self, peer: IpAddr, name: &ClaimedName) -> Option<Attempt<'_>> {
        let now = Instant::now();
        let pair = Pair { network: peer.into(), user: self.user(name) };
        let mut state = self.lock();
        if state.settings.exempts(peer) {
            return Some(Attempt::new(self, None, Duration::ZERO));
        }
        let latest = now + state.settings.most.saturating_mul(2);
        let mut tries = state.tries(pair, now);
        let own = state.settings.failures(tries.clear, now);
        let is_clean = own == 0 && tries.under_way == 0;
        let answered = if state.acquaintances.get(&pair, now).is_some() {
            let own = own + tries.under_way.saturating_sub(DEVICES);
            tries.free = tries.free.max(now) + state.settings.wait(own);
            tries.free
        } else {
            let mut place = state.place(pair.network, now);
            let around = state.settings.failures(place.clear, now);
            let against = state.settings.failures(state.blame(pair.user, now), now);
            let worst = around.max(against).max(own + tries.under_way);
            place.free = place.free.max(now) + state.settings.wait(around);
            tries.free = tries.free.max(now) + state.settings.wait(worst);
            let answered = place.free.max(tries.free);
            if answered <= latest || is_clean {
                place.free = place.free.min(latest);
                state.put_place(pair.network, place, now);
            }
            answered
        };
        if answered > latest && !is_clean {
            return None;
        }
        tries.under_way += 1;
        state.put_tries(pair, tries, now);
        let delay = answered.min(latest).duration_since(now);
        Some(Attempt::new(self, Some(pair), delay))
    }

    /// A name that no user can have is counted as it came.
    fn user(&self, name: &ClaimedName) -> u64 {
        match Username::try_from(name) {
            Ok(name) => self.key.hash_one(("user", name)),
            Err(_) => self.key.hash_one(("nobody", name.as_bytes())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    fn exempts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.first.is_zero() || self.trusted.iter().any(|net| net.contains(&peer))
    }

    /// How long a try waits after so many failures.
    fn wait(&self, failures: u32) -> Duration {
        let Some(doubled) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 2_u32.checked_pow(doubled).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }

    /// How many failures are not forgotten yet, if all will be at `clear`.
    fn failures(&self, clear: Instant, now: Instant) -> u32 {
        let left = clear.saturating_duration_since(now).as_nanos();
        let forget = self.forget.as_nanos().max(1);
        u32::try_from(left.div_ceil(forget)).unwrap_or(u32::MAX)
    }

    /// One failure more, until it is as bad as it can be.
    fn add_failure(&self, clear: Instant, now: Instant) -> Instant {
        let worst = now + self.forget.saturating_mul(self.worst());
        (clear.max(now) + self.forget).min(worst).max(clear)
    }

    /// Failures after which the wait is `most`; further ones add nothing that would be remembered.
    fn worst(&self) -> u32 {
        (1..u32::BITS).find(|&failures| self.wait(failures) >= self.most).unwrap_or(u32::BITS)
    }
}

impl<'a> Attempt<'a> {
    fn new(throttle: &'a Throttle, pair: Option<Pair>, delay: Duration) -> Self {
        Self { throttle, pair, delay, heard: None }
    }

    /// How long to wait before the password is looked at.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// The password is being looked at.
    pub fn heard(&mut self, password: &Arc<Secret<Vec<u8>>>) {
        self.heard = Some(Arc::clone(password));
    }

    /// Nobody could say whether the password is right.
    pub fn unanswered(mut self) {
        self.heard = None;
    }

    /// The password was wrong, or there is no such user. Whether this pair has tried the same one
    /// before, which counts for nothing more; of who is not counted that is not known.
    pub fn failed(mut self, password: &Secret<Vec<u8>>) -> bool {
        self.heard = None;
        self.count(password)
    }

    fn count(&self, password: &Secret<Vec<u8>>) -> bool {
        let Some(pair) = self.pair else { return false };
        let throttle = self.throttle;
        let now = Instant::now();
        let wrong = throttle.key.hash_one(("wrong", pair, password.expose()));
        let mut state = throttle.lock();
        let is_known = state.wrong.get(&wrong, now).is_some();
        state.wrong.put(wrong, (), now + WRONG, now);
        if is_known {
            return true;
        }
        let mut tries = state.tries(pair, now);
        tries.clear = state.settings.add_failure(tries.clear, now);

        let mut place = state.place(pair.network, now);
        let clear = state.settings.add_failure(place.clear, now);
        tries.against_network += clear.duration_since(place.clear);
        place.clear = clear;
        state.put_place(pair.network, place, now);

        let blame = state.blame(pair.user, now);
        let clear = state.settings.add_failure(blame, now);
        tries.against_user += clear.duration_since(blame);
        state.users.put(pair.user, clear, clear, now);

        state.put_tries(pair, tries, now);
        false
    }

    /// The password was right.
    pub fn succeeded(mut self) {
        self.heard = None;
        let Some(pair) = self.pair else { return };
        let throttle = self.throttle;
        let now = Instant::now();
        let mut state = throttle.lock();
        let tries = state.tries(pair, now);
        // What the pair has forgotten, the network and the user have forgotten as well.
        let own = tries.clear.saturating_duration_since(now);

        let mut place = state.place(pair.network, now);
        place.clear -= own.min(tries.against_network).min(place.clear.duration_since(now));
        state.put_place(pair.network, place, now);

        let blame = state.blame(pair.user, now);
        let clear = blame - own.min(tries.against_user).min(blame.duration_since(now));
        state.users.put(pair.user, clear, clear, now);

        let clean = Tries { under_way: tries.under_way, ..Tries::none(now) };
        state.put_tries(pair, clean, now);
        state.acquaintances.put(pair, (), now + ACQUAINTANCE, now);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let Some(pair) = self.pair else { return };
        if let Some(password) = self.heard.take() {
            self.count(&password);
        }
        let now = Instant::now();
        let mut state = self.throttle.lock();
        let mut tries = state.tries(pair, now);
        tries.under_way = tries.under_way.saturating_sub(1);
        state.put_tries(pair, tries, now);
    }
}

/// A user from somewhere; the user as a keyed hash of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pair {
    network: Network,
    user: u64,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    networks: Fading<Network, Place>,
    /// When the last failure of a user will be forgotten.
    users: Fading<u64, Instant>,
    pairs: Fading<Pair, Tries>,
    /// Pairs that have logged in lately.
    acquaintances: Fading<Pair, ()>,
    /// Hashes of wrong passwords, each with its pair.
    wrong: Fading<u64, ()>,
}

/// What is known of a network.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// When the last failure will be forgotten: what is left until then, divided by `forget`, is
    /// the number of failures.
    clear: Instant,
    /// When the last stranger in the line will be heard.
    free: Instant,
}

/// What is known of a pair.
#[derive(Clone, Copy, Debug)]
struct Tries {
    /// As of [`Place`].
    clear: Instant,
    free: Instant,
    under_way: u32,
    /// What its failures have added to `clear` of the network, and of the user.
    against_network: Duration,
    against_user: Duration,
}

impl Place {
    fn end(&self) -> Instant {
        self.clear.max(self.free)
    }
}

impl Tries {
    fn none(now: Instant) -> Self {
        Self {
            clear: now,
            free: now,
            under_way: 0,
            against_network: Duration::ZERO,
            against_user: Duration::ZERO,
        }
    }

    /// Tries that are under way keep the record at least until `at_least`.
    fn end(&self, at_least: Instant) -> Instant {
        let end = self.clear.max(self.free);
        if self.under_way > 0 { end.max(at_least) } else { end }
    }
}

impl State {
    /// A failure is remembered as the time after which it is forgotten, so the number of failures
    /// stays the same when these times change as `forget` does.
    fn change(&mut self, settings: Settings, now: Instant) {
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
        self.users.change(|clear| {
            *clear = later(*clear);
            *clear
        });
        self.pairs.change(|tries| {
            tries.clear = later(tries.clear);
            tries.against_network = scaled(tries.against_network, old, new);
            tries.against_user = scaled(tries.against_user, old, new);
            tries.end(now + new)
        });
    }

    fn tries(&self, pair: Pair, now: Instant) -> Tries {
        self.pairs.get(&pair, now).copied().unwrap_or_else(|| Tries::none(now))
    }

    fn put_tries(&mut self, pair: Pair, tries: Tries, now: Instant) {
        self.pairs.put(pair, tries, tries.end(now + self.settings.forget), now);
    }

    fn place(&self, network: Network, now: Instant) -> Place {
        let place = self.networks.get(&network, now).copied();
        let place = place.unwrap_or(Place { clear: now, free: now });
        Place { clear: place.clear.max(now), ..place }
    }

    fn put_place(&mut self, network: Network, place: Place, now: Instant) {
        self.networks.put(network, place, place.end(), now);
    }

    fn blame(&self, user: u64, now: Instant) -> Instant {
        self.users.get(&user, now).copied().unwrap_or(now)
    }
}

/// A time that is to the given one as `new` is to `old`.
fn scaled(time: Duration, old: Duration, new: Duration) -> Duration {
    let nanoseconds = time.as_nanos().saturating_mul(new.as_nanos()) / old.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// Tries at once that an acquaintance has free: a user has more than one device.
const DEVICES: u32 = 4;

/// How long a pair that has logged in is an acquaintance.
const ACQUAINTANCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a wrong password is remembered after the last try with it.
const WRONG: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests;
