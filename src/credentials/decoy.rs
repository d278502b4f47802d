//! What is verified for a name that nobody has, so that it costs what a known one costs.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Fading;
use crate::password::{Cost, Verifier};
use crate::protocol::Username;

/// What a store has verified for a name that it does not know.
#[derive(Clone, Debug)]
pub struct Decoy {
    /// The verifier of some user, or one like it.
    pub verifier: Verifier,
    /// How many users it is one of: the share of this store among all.
    pub users: u64,
}

impl Decoy {
    /// The one for `name` of the decoys of several stores: those of a store come up as often as its
    /// users do.
    ///
    /// - The same name gets the one of the same store, unless the number of users of a store changes.
    pub fn among<S>(name: &Username, decoys: Vec<(S, Self)>) -> Option<(S, Self)> {
        // Not the hash by which each store has chosen its own.
        let hash = key().hash_one((name, "store"));
        let nth = choose(hash, decoys.iter().map(|(_, decoy)| decoy.users))?;
        decoys.into_iter().nth(nth)
    }
}

/// What decoys are chosen by: the same in a process, so that a reload changes none.
pub(super) fn key() -> RandomState {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.clone()
}

/// A verifier of each cost, with the number of users who have that cost.
///
/// Chosen by weight, they cost an unknown name what known ones cost, in the same proportions.
#[derive(Debug, Default)]
pub(super) struct Decoys {
    // In the order of the costs, so that a name keeps its decoy when the users are read again.
    by_cost: BTreeMap<Cost, Decoy>,
}

impl Decoys {
    /// Counts a user. One who cannot log in does not count.
    pub(super) fn add(&mut self, verifier: &Verifier) {
        if let Some(cost) = verifier.cost() {
            let decoy = || Decoy { verifier: verifier.clone(), users: 0 };
            self.by_cost.entry(cost).or_insert_with(decoy).users += 1;
        }
    }

    /// The decoy of a name whose hash this is.
    pub(super) fn choose(&self, hash: u64) -> Option<Decoy> {
        let nth = choose(hash, self.by_cost.values().map(|decoy| decoy.users))?;
        let Decoy { verifier, .. } = self.by_cost.values().nth(nth)?;
        Some(Decoy { verifier: verifier.clone(), users: self.users() })
    }

    fn users(&self) -> u64 {
        self.by_cost.values().map(|decoy| decoy.users).sum()
    }

    /// A user of this cost does not count any more.
    fn take_away(&mut self, cost: Cost) {
        if let Some(decoy) = self.by_cost.get_mut(&cost) {
            decoy.users -= 1;
            if decoy.users == 0 {
                self.by_cost.remove(&cost);
            }
        }
    }

    /// How many costs there are.
    #[cfg(test)]
    pub(super) fn kinds(&self) -> usize {
        self.by_cost.len()
    }
}

impl<'a> FromIterator<&'a Verifier> for Decoys {
    fn from_iter<I: IntoIterator<Item = &'a Verifier>>(verifiers: I) -> Self {
        let mut decoys = Self::default();
        verifiers.into_iter().for_each(|verifier| decoys.add(verifier));
        decoys
    }
}

/// Which of several a hash falls on, each of which has a share as large as its weight.
fn choose(hash: u64, weights: impl Iterator<Item = u64> + Clone) -> Option<usize> {
    let all: u64 = weights.clone().sum();
    // Scaled, not taken modulo: one user more or less moves few names to another decoy.
    let at = u64::try_from((u128::from(hash) * u128::from(all)) >> 64).ok()?;
    let ends = weights.scan(0, |end, weight| {
        *end += weight;
        Some(*end)
    });
    ends.enumerate().find_map(|(nth, end)| (at < end).then_some(nth))
}

/// The decoys of a store that cannot list its users: made from those who have been asked about.
///
/// - Each user counts once, so nobody changes the proportions by asking again and again. When there
///   are 10000 no more are added: they stand for the rest.
/// - What a name was given it keeps, with its weight, whoever is asked about later, and even when
///   that was `None`. This holds for 20000 names; of more, for those that were asked about last.
#[derive(Debug)]
pub(super) struct Seen {
    state: Mutex<State>,
    key: RandomState,
}

#[derive(Debug)]
struct State {
    decoys: Decoys,
    /// What users cost who have been counted, by the hash of the name.
    users: HashMap<u64, Cost>,
    /// What names were given, by their hash.
    given: Fading<u64, Option<Decoy>>,
}

impl Default for Seen {
    fn default() -> Self {
        let given = Fading::new(MOST_NAMES);
        let state = State { decoys: Decoys::default(), users: HashMap::new(), given };
        Self { state: Mutex::new(state), key: key() }
    }
}

impl Seen {
    /// Counts a user who has been asked about.
    pub(super) fn note(&self, name: &Username, verifier: &Verifier) {
        let Some(cost) = verifier.cost() else { return };
        let name = self.key.hash_one(name);
        let State { decoys, users, .. } = &mut *self.lock();
        match users.get(&name) {
            Some(counted) if *counted == cost => return,
            Some(counted) => decoys.take_away(*counted),
            None if users.len() >= MOST_USERS => return,
            None => {}
        }
        users.insert(name, cost);
        decoys.add(verifier);
    }

    /// The decoy of a name; none before anybody has been asked about.
    pub(super) fn decoy(&self, name: &Username) -> Option<Decoy> {
        let (name, now) = (self.key.hash_one(name), Instant::now());
        let State { decoys, given, .. } = &mut *self.lock();
        let decoy = given.get(&name, now).cloned().unwrap_or_else(|| decoys.choose(name));
        given.put(name, decoy.clone(), now + FOR_EVER, now);
        decoy
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MOST_USERS: usize = 10_000;

/// Some 160 octets each.
const MOST_NAMES: usize = 20_000;

/// Longer than a process runs.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use super::*;
    use crate::password::WeakSchemes;

    fn verifier(memory: u32) -> Verifier {
        Verifier::parse(
            &format!(
                "$argon2id$v=19$m={memory},t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv"
            ),
            WeakSchemes::Refused,
        )
    }

    fn user(name: impl Display) -> Username {
        Username::try_from(name.to_string().as_str()).unwrap()
    }

    fn costs(seen: &Seen) -> BTreeMap<Option<Cost>, u32> {
        let mut costs = BTreeMap::new();
        for n in 0..1000 {
            let decoy = seen.decoy(&user(format!("guess{n}")));
            *costs.entry(decoy.and_then(|decoy| decoy.verifier.cost())).or_default() += 1;
        }
        costs
    }

    #[test]
    fn nobody_seen_is_no_decoy() {
        let seen = Seen::default();
        seen.note(&user("mrose"), &Verifier::unusable("locked"));
        assert_eq!(costs(&seen), BTreeMap::from([(None, 1000)]));
        // Nor is there one later, for the same names.
        seen.note(&user("mrose"), &verifier(64));
        assert_eq!(costs(&seen), BTreeMap::from([(None, 1000)]));
        assert!(seen.decoy(&user("another")).is_some());
    }

    #[test]
    fn unknown_names_cost_what_users_cost_however_often_one_is_asked_about() {
        let seen = Seen::default();
        for n in 0..1000 {
            seen.note(&user("often"), &verifier(64));
            seen.note(&user(n), &verifier(if n % 4 == 0 { 128 } else { 256 }));
        }
        let costs = costs(&seen);
        let share = |memory| costs.get(&verifier(memory).cost()).copied().unwrap_or_default();
        assert!(share(64) < 20, "{costs:?}");
        assert!(share(128).abs_diff(250) < 80 && share(256).abs_diff(750) < 80, "{costs:?}");
    }

    #[test]
    fn a_name_keeps_its_decoy_whoever_is_asked_about_later() {
        let seen = Seen::default();
        seen.note(&user("alice"), &verifier(64));
        let names: Vec<_> = (0..100).map(|n| user(format!("name{n}"))).collect();
        let costs = || -> Vec<_> {
            names
                .iter()
                .map(|name| seen.decoy(name).and_then(|decoy| decoy.verifier.cost()))
                .collect()
        };
        let before = costs();
        for n in 0..5000 {
            seen.note(&user("bob"), &verifier(128));
            seen.note(&user(n), &verifier(256));
            seen.decoy(&user(format!("other{n}")));
        }
        // Not even when nobody has that cost any more.
        seen.note(&user("alice"), &verifier(512));
        assert_eq!(costs(), before);
    }

    #[test]
    fn a_user_with_another_hash_counts_for_what_it_costs_now() {
        let seen = Seen::default();
        seen.note(&user("alice"), &verifier(64));
        seen.note(&user("alice"), &verifier(128));
        assert_eq!(costs(&seen), BTreeMap::from([(verifier(128).cost(), 1000)]));
    }

    #[test]
    fn users_and_names_without_end_are_not_kept() {
        let seen = Seen::default();
        for n in 0..MOST_NAMES + 10 {
            seen.note(&user(n), &verifier(64));
            seen.decoy(&user(format!("name{n}")));
        }
        let state = seen.lock();
        assert_eq!((state.users.len(), state.given.len()), (MOST_USERS, MOST_NAMES));
        assert_eq!(state.decoys.users(), 10_000);
    }
}
