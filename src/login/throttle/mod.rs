//! Makes logins wait after logins that have failed. docs/SECURITY.md says what is promised to whom,
//! and what an attacker gets.
//!
//! - A *pair* is a user name together with the [`Network`](crate::limits::Network) that it is tried
//!   from. Networks, users and pairs each have a number of failures. It is kept as the time at which
//!   the last failure is forgotten.
//! - A *known* pair has logged in within seven days. It waits for its own failures alone. A *new* pair
//!   waits for the worst of three: those of its network, of its user, and its own.
//! - An attempt enters the queues of its networks and of its pair ([`Throttle::attempt`]). If these
//!   are full, it is turned away and its password is not checked.
//! - When a name is found to lead to an account ([`Attempt::leads_to`]), the attempt enters the queue
//!   of the account as well.
//! - A login without a name, with a token, counts for its networks alone.
//!
//! `state` has the tables and `record` their records. `queues` says how long an attempt waits, and
//! `failures` how a failure and a success change the tables. `delays` is for the operator.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::queues::Queues;
use self::state::{Client, State};
use crate::config::ThrottleSection;
use crate::limits::{Entry, LeftOut, LogBudget};
use crate::protocol::{ClaimedName, Secret, Username};

mod delays;
mod failures;
mod queues;
mod record;
mod state;

pub use delays::{Delay, Seen, Selection, Who};

/// Counts failures, and says how long an attempt waits.
#[derive(Debug)]
pub struct Throttle {
    /// The key of the hashes of names and passwords; another one in each process.
    key: RandomState,
    state: Mutex<State>,
    log: LogBudget,
}

/// An attempt that has entered its queues.
///
/// If it is dropped before [`begin_check`](Self::begin_check), it counts for nothing, but those
/// behind it still wait for it. If it is dropped after that, it has failed.
#[derive(Debug)]
#[must_use = "an attempt waits for its delay, and ends as a success or a failure"]
pub struct Attempt {
    throttle: Arc<Throttle>,
    /// `None` if it is not counted.
    client: Option<Client>,
    begun: Instant,
    delay: Duration,
    /// For a known pair: when a new pair in its place would be checked.
    as_new: Option<Admission>,
    /// The password, while it is checked.
    checking: Option<Arc<Secret<Vec<u8>>>>,
}

/// When the password of an attempt is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Admission {
    At(Instant),
    Never,
}

/// How to answer a failure, so that the answer does not tell known pairs from new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// This pair has tried the same password before, so it was not counted again. Not known of an
    /// attempt that is not counted.
    pub repeated: bool,
    /// How long to wait before the answer; `None` if a new pair would have been turned away.
    pub pause: Option<Duration>,
}

impl Default for Throttle {
    /// A throttle that is off.
    fn default() -> Self {
        let off = ThrottleSection {
            first_delay: Duration::ZERO,
            longest_delay: Duration::ZERO,
            forget_after: Duration::ZERO,
            trusted: Vec::new(),
        };
        Self::new(off, 0)
    }
}

impl Throttle {
    /// A throttle without any failures, with at most `entries` records in each table.
    pub fn new(settings: ThrottleSection, entries: usize) -> Self {
        let (key, state) = (RandomState::new(), Mutex::new(State::new(settings, entries)));
        Self { key, state, log: LogBudget::default() }
    }

    /// Whether the log takes a line about a client at `peer` that is not logged in. It takes every
    /// line about a trusted network.
    pub fn logs(&self, peer: IpAddr, entry: Entry) -> bool {
        self.trusts(peer) || self.log.allows(peer, entry)
    }

    /// How many records its tables have: of networks, of users and accounts, and of pairs.
    pub fn records(&self) -> [(&'static str, usize); 3] {
        let [networks, users, pairs, ..] = self.lock().records();
        [("network", networks), ("user", users), ("pair", pairs)]
    }

    /// Whether `peer` is in a network that the operator trusts.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.lock().settings.trusts(peer)
    }

    /// The lines that the log has not taken since the last call.
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.log.take_left_out()
    }

    /// Takes other settings.
    ///
    /// - The numbers of failures stay the same. The new settings say how long the next attempt waits,
    ///   and when failures are forgotten.
    /// - Attempts that wait already wait as long as before.
    pub fn change(&self, settings: ThrottleSection) {
        self.lock().change(settings, Instant::now());
    }

    /// Enters an attempt to log in as `name` from `peer` into the queues; `None` if they are full and
    /// the attempt is turned away.
    ///
    /// - Without a name, as with a token, the attempt counts for no user.
    pub fn attempt(self: &Arc<Self>, peer: IpAddr, name: Option<&ClaimedName>) -> Option<Attempt> {
        let now = Instant::now();
        let mut state = self.lock();
        if state.settings.exempts(peer) {
            return Some(Attempt::new(self, None, now));
        }
        let mut client = Client {
            peer,
            user: self.user(name),
            name: name.cloned(),
            accounts: Vec::new(),
            is_known: false,
        };
        client.is_known = state.is_known(client.pair(), now);
        let as_new = state.admission(&client, client.user, Queues::All, now, now);
        let (admission, as_new) = if client.is_known {
            (state.enter_known(&client, now), Some(as_new))
        } else {
            if as_new != Admission::Never {
                state.enter(&client, client.user, Queues::All, now, now);
            }
            (as_new, None)
        };
        let Admission::At(at) = admission else { return None };
        let mut attempt = Attempt::new(self, Some(client), now);
        (attempt.delay, attempt.as_new) = (at.duration_since(now), as_new);
        Some(attempt)
    }

    /// A keyed hash of a name. A name that no user can have is hashed as it came.
    fn user(&self, name: Option<&ClaimedName>) -> u64 {
        match name.map(|name| (name, Username::try_from(name))) {
            Some((_, Ok(name))) => self.key.hash_one(("user", name)),
            Some((name, Err(_))) => self.key.hash_one(("invalid", name.as_bytes())),
            None => self.key.hash_one("unnamed"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ThrottleSection {
    fn exempts(&self, peer: IpAddr) -> bool {
        self.first_delay.is_zero() || self.trusts(peer)
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.iter().any(|net| net.contains(&peer))
    }

    /// How long an attempt waits after this number of failures.
    fn wait(&self, failures: u32) -> Duration {
        let Some(doubled) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 2_u32.checked_pow(doubled).unwrap_or(u32::MAX);
        self.first_delay.saturating_mul(factor).min(self.longest_delay)
    }

    /// How many failures are not forgotten yet, if all are at `clear_at`, and `factor` of them count
    /// as one.
    fn failures(&self, clear_at: Instant, factor: u32, now: Instant) -> u32 {
        let left = clear_at.saturating_duration_since(now).as_nanos();
        let forget = self.forget_after.as_nanos().max(1);
        let all = left.saturating_mul(factor.into()).div_ceil(forget);
        u32::try_from(all / u128::from(factor.max(1))).unwrap_or(u32::MAX)
    }

    /// Puts `clear_at` off by `added`, as long as there are not more failures than make a difference.
    /// Returns by how much.
    fn extend(&self, clear_at: &mut Instant, added: Duration, now: Instant) -> Duration {
        let before = *clear_at;
        let latest = now + self.forget_after.saturating_mul(self.most_failures());
        *clear_at = (before.max(now) + added).min(latest).max(before);
        clear_at.duration_since(before)
    }

    /// The number of failures from which the wait is `longest_delay`.
    fn most_failures(&self) -> u32 {
        (1..u32::BITS)
            .find(|&failures| self.wait(failures) >= self.longest_delay)
            .unwrap_or(u32::BITS)
    }
}

impl Attempt {
    fn new(throttle: &Arc<Throttle>, client: Option<Client>, begun: Instant) -> Self {
        let throttle = Arc::clone(throttle);
        Self { throttle, client, begun, delay: Duration::ZERO, as_new: None, checking: None }
    }

    /// Whether the log takes a line about the attempt, which has not succeeded yet.
    pub(super) fn logs(&self, peer: IpAddr, entry: Entry) -> bool {
        self.throttle.logs(peer, entry)
    }

    /// How long to wait before the password is checked.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Whether this pair has logged in lately, or is not counted.
    pub(super) fn is_known(&self) -> bool {
        self.client.as_ref().is_none_or(|client| client.is_known)
    }

    /// Enters the queue of an account, to which this name and perhaps others lead. Says how much
    /// longer to wait; `None` if that queue is full and the attempt is turned away.
    ///
    /// - `account` is the same for each of these names, and different for each account.
    /// - A known pair does not wait, nor does a name that is the only one of its account that has
    ///   been used lately.
    pub fn leads_to(&mut self, account: &[u8]) -> Option<Duration> {
        let Some(client) = &mut self.client else { return Some(Duration::ZERO) };
        let account = self.throttle.key.hash_one(("account", account));
        if client.accounts.contains(&account) {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let mut state = self.throttle.lock();
        let has_other_names = state.has_other_names(client, account, now);
        let queues = if has_other_names { Queues::OfUser } else { Queues::None };
        let admission = state.admission(client, account, queues, self.begun, now);
        if client.is_known {
            self.as_new = self.as_new.map(|before| before.max(admission));
            client.accounts.push(account);
            return Some(Duration::ZERO);
        }
        let Admission::At(at) = admission else { return None };
        state.enter(client, account, queues, self.begun, now);
        client.accounts.push(account);
        Some(at.saturating_duration_since(now))
    }

    /// The password is about to be checked.
    pub fn begin_check(&mut self, password: &Arc<Secret<Vec<u8>>>) {
        self.checking = Some(Arc::clone(password));
    }

    /// No store could check the password.
    pub fn unanswered(mut self) {
        self.checking = None;
    }

    /// The password was wrong, or there is no such user.
    pub fn failed(mut self, password: &Secret<Vec<u8>>) -> Failure {
        self.checking = None;
        let repeated = self.count(password);
        let pause = match self.as_new {
            None => Some(Duration::ZERO),
            Some(Admission::At(at)) => Some(at.saturating_duration_since(Instant::now())),
            Some(Admission::Never) => None,
        };
        Failure { repeated, pause }
    }

    /// Counts a wrong password, unless it was counted before; returns whether it was.
    fn count(&self, password: &Secret<Vec<u8>>) -> bool {
        let Some(client) = &self.client else { return false };
        let throttle = &self.throttle;
        let now = Instant::now();
        let wrong = throttle.key.hash_one(("wrong", client.pair(), password.expose()));
        let mut state = throttle.lock();
        if let Some(Admission::At(at)) = self.as_new {
            state.delay_networks(client, at, now);
        }
        let is_repeated = state.remember_wrong_password(wrong, now);
        if !is_repeated {
            state.count(client, now);
        }
        is_repeated
    }

    /// The password was right.
    pub fn succeeded(mut self) {
        self.checking = None;
        if let Some(client) = &self.client {
            self.throttle.lock().clear(client, Instant::now());
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(password) = self.checking.take() {
            self.count(&password);
        }
        if let Some(client) = &self.client {
            self.throttle.lock().leave(client, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
