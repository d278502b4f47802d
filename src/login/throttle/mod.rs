//! Logins that fail make the next ones wait. What is promised, to whom, and what an attacker gets is
//! argued in `docs/SECURITY.md`; here is how it is done.
//!
//! - A *pair* is a user name together with the [`Network`](crate::limits::Network) that it is tried
//!   from. Networks, users and pairs each have a number of failures, which is kept as the time at
//!   which the last one is forgotten.
//! - An *acquaintance* is a pair that has logged in within seven days. It waits for its own failures
//!   alone; a *stranger* waits for the worst of three: those of its network, of its user, its own.
//! - An attempt takes a place in the queues of its networks and of its pair ([`Throttle::attempt`]);
//!   `None` says that they are full, and that the password is not to be looked at.
//! - A name that is found to lead to an account ([`Attempt::leads_to`]) is in the queue of the account
//!   as well.
//! - A login without a name, with a token, counts for its networks alone.
//!
//! The tables and the queues are in `state`, their records in `record`.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use self::state::{Queues, State, Who};
use crate::limits::{Entry, LeftOut, LogBudget};
use crate::protocol::{ClaimedName, Secret, Username};

mod record;
mod state;

/// Counts failures, and says how long a try has to wait. docs/SECURITY.md has the rules.
#[derive(Debug)]
pub struct Throttle {
    /// The key of the hashes of names and passwords; another one in each process.
    key: RandomState,
    state: Mutex<State>,
    log: LogBudget,
}

/// The operator's choices.
#[derive(Debug)]
pub struct Settings {
    /// The wait after one failure; zero switches the throttle off.
    pub first: Duration,
    /// The longest wait; twice this should fit into the time that a client has for its login.
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
pub struct Attempt {
    throttle: Arc<Throttle>,
    /// `None` for those who are not counted.
    who: Option<Who>,
    begun: Instant,
    delay: Duration,
    /// When a stranger would have been heard in place of this acquaintance.
    stranger: Option<Admission>,
    /// The password that is being looked at.
    heard: Option<Arc<Secret<Vec<u8>>>>,
}

/// When a try is heard, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Admission {
    At(Instant),
    Never,
}

/// How a failure is to be answered, so that it looks like that of anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// This pair has tried the same password before, which counts for nothing more; of who is not
    /// counted that is not known.
    pub repeated: bool,
    /// How long to wait before the answer; `None` when it is to be that of one turned away.
    pub pause: Option<Duration>,
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
        let (key, state) = (RandomState::new(), Mutex::new(State::new(settings, entries)));
        Self { key, state, log: LogBudget::default() }
    }

    /// Whether the log takes a line about somebody at `peer` who is not logged in. All of them about
    /// networks that are trusted.
    pub fn logs(&self, peer: IpAddr, entry: Entry) -> bool {
        self.trusts(peer) || self.log.allows(peer, entry)
    }

    /// Whether `peer` is in a network that the operator trusts.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.lock().settings.trusts(peer)
    }

    /// What the log has not taken since the last call.
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.log.settle()
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
    ///
    /// - Without a name no user is counted: a token need not say whose it is.
    pub fn attempt(self: &Arc<Self>, peer: IpAddr, name: Option<&ClaimedName>) -> Option<Attempt> {
        let now = Instant::now();
        let mut state = self.lock();
        if state.settings.exempts(peer) {
            return Some(Attempt::new(self, None, now));
        }
        let mut who = Who {
            peer,
            user: self.user(name),
            is_named: name.is_some(),
            accounts: Vec::new(),
            is_acquainted: false,
        };
        who.is_acquainted = state.knows(&who, now);
        let latest = now + state.settings.most.saturating_mul(2);
        let stranger = state.hearing(&who, who.user, Queues::All, now, now);
        let (hearing, stranger) = if who.is_acquainted {
            (state.enter_own(&who, latest, now), Some(stranger))
        } else {
            if stranger != Admission::Never {
                state.enter(&who, who.user, Queues::All, latest, now, now);
            }
            (stranger, None)
        };
        let Admission::At(heard) = hearing else { return None };
        let delay = heard.duration_since(now);
        let mut attempt = Attempt::new(self, Some(who), now);
        (attempt.delay, attempt.stranger) = (delay, stranger);
        Some(attempt)
    }

    /// A name that no user can have is counted as it came.
    fn user(&self, name: Option<&ClaimedName>) -> u64 {
        match name.map(|name| (name, Username::try_from(name))) {
            Some((_, Ok(name))) => self.key.hash_one(("user", name)),
            Some((name, Err(_))) => self.key.hash_one(("nobody", name.as_bytes())),
            None => self.key.hash_one("unnamed"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    fn exempts(&self, peer: IpAddr) -> bool {
        self.first.is_zero() || self.trusts(peer)
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.iter().any(|net| net.contains(&peer))
    }

    /// How long a try waits after so many failures.
    fn wait(&self, failures: u32) -> Duration {
        let Some(doubled) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 2_u32.checked_pow(doubled).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }

    /// How many failures are not forgotten yet, if all will be at `clear`, where `factor` of them
    /// count as one.
    fn failures(&self, clear: Instant, factor: u32, now: Instant) -> u32 {
        let left = clear.saturating_duration_since(now).as_nanos();
        let forget = self.forget.as_nanos().max(1);
        let all = left.saturating_mul(factor.into()).div_ceil(forget);
        u32::try_from(all / u128::from(factor.max(1))).unwrap_or(u32::MAX)
    }

    /// So much worse, until it is as bad as it can be.
    fn worsen(&self, clear: Instant, by: Duration, now: Instant) -> Instant {
        let worst = now + self.forget.saturating_mul(self.worst());
        (clear.max(now) + by).min(worst).max(clear)
    }

    /// Failures after which the wait is `most`; further ones add nothing that would be remembered.
    fn worst(&self) -> u32 {
        (1..u32::BITS).find(|&failures| self.wait(failures) >= self.most).unwrap_or(u32::BITS)
    }
}

impl Attempt {
    fn new(throttle: &Arc<Throttle>, who: Option<Who>, begun: Instant) -> Self {
        let throttle = Arc::clone(throttle);
        Self { throttle, who, begun, delay: Duration::ZERO, stranger: None, heard: None }
    }

    /// Whether the log takes a line about it, as long as it has not succeeded.
    pub(super) fn logs(&self, peer: IpAddr, entry: Entry) -> bool {
        self.throttle.logs(peer, entry)
    }

    /// How long to wait before the password is looked at.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Whether this pair has logged in lately, or is not counted.
    pub(super) fn is_known(&self) -> bool {
        self.who.as_ref().is_none_or(|who| who.is_acquainted)
    }

    /// The name has been found to lead to an account, which other names may lead to as well: takes
    /// a place in the line of all of them, and says how much longer to wait; `None` when that line
    /// is full and the try is turned away unheard.
    ///
    /// - `account` is the same for each of the names, and another for each account.
    /// - Nothing to wait for where this name is the only one that was used of late, and for an
    ///   acquaintance.
    pub fn leads_to(&mut self, account: &[u8]) -> Option<Duration> {
        let Some(who) = &mut self.who else { return Some(Duration::ZERO) };
        let account = self.throttle.key.hash_one(("account", account));
        if who.accounts.contains(&account) {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let mut state = self.throttle.lock();
        let lines =
            if state.has_other_names(who, account, now) { Queues::OfUser } else { Queues::None };
        let hearing = state.hearing(who, account, lines, self.begun, now);
        if who.is_acquainted {
            self.stranger = self.stranger.map(|before| before.max(hearing));
            who.accounts.push(account);
            return Some(Duration::ZERO);
        }
        let Admission::At(heard) = hearing else { return None };
        let latest = self.begun + state.settings.most.saturating_mul(2);
        state.enter(who, account, lines, latest, self.begun, now);
        who.accounts.push(account);
        Some(heard.saturating_duration_since(now))
    }

    /// The password is being looked at.
    pub fn heard(&mut self, password: &Arc<Secret<Vec<u8>>>) {
        self.heard = Some(Arc::clone(password));
    }

    /// Nobody could say whether the password is right.
    pub fn unanswered(mut self) {
        self.heard = None;
    }

    /// The password was wrong, or there is no such user.
    pub fn failed(mut self, password: &Secret<Vec<u8>>) -> Failure {
        self.heard = None;
        let repeated = self.count(password);
        let pause = match self.stranger {
            None => Some(Duration::ZERO),
            Some(Admission::At(heard)) => Some(heard.saturating_duration_since(Instant::now())),
            Some(Admission::Never) => None,
        };
        Failure { repeated, pause }
    }

    /// Counts a wrong password; whether it was counted before.
    fn count(&self, password: &Secret<Vec<u8>>) -> bool {
        let Some(who) = &self.who else { return false };
        let throttle = &self.throttle;
        let now = Instant::now();
        let wrong = throttle.key.hash_one(("wrong", who.pair(), password.expose()));
        let mut state = throttle.lock();
        if let Some(Admission::At(heard)) = self.stranger {
            state.take_strangers_place(who, heard, now);
        }
        let is_known = state.remember_wrong(wrong, now);
        if !is_known {
            state.count(who, now);
        }
        is_known
    }

    /// The password was right.
    pub fn succeeded(mut self) {
        self.heard = None;
        if let Some(who) = &self.who {
            self.throttle.lock().clear(who, Instant::now());
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(password) = self.heard.take() {
            self.count(&password);
        }
        if let Some(who) = &self.who {
            self.throttle.lock().leave(who, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
