//! What is verified for a name that nobody has, so that it costs what a known one costs.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use super::{Cost, Verifier};
use crate::protocol::Username;

/// A verifier of each cost, with the number of users who have that cost.
///
/// Chosen by weight, they cost an unknown name what known ones cost, in the same proportions.
#[derive(Debug, Default)]
pub(super) struct Decoys {
    // In the order of the costs, so that a name keeps its decoy when the users are read again.
    by_cost: BTreeMap<Cost, (Verifier, u64)>,
    users: u64,
}

impl Decoys {
    /// Counts a user. One who cannot log in does not count.
    pub(super) fn add(&mut self, verifier: &Verifier) {
        if let Some(cost) = verifier.cost() {
            self.by_cost.entry(cost).or_insert_with(|| (verifier.clone(), 0)).1 += 1;
            self.users += 1;
        }
    }

    /// The decoy of a name whose hash this is.
    pub(super) fn choose(&self, hash: u64) -> Option<Verifier> {
        // Scaled, not taken modulo: one user more or less moves few names to another decoy.
        let mut nth = u64::try_from((u128::from(hash) * u128::from(self.users)) >> 64).ok()?;
        for (verifier, users) in self.by_cost.values() {
            match nth.checked_sub(*users) {
                None => return Some(verifier.clone()),
                Some(beyond) => nth = beyond,
            }
        }
        None
    }

    /// How many costs there are.
    pub(super) fn kinds(&self) -> usize {
        self.by_cost.len()
    }

    /// Lets those who were counted weigh half as much as those who will be.
    fn fade(&mut self) {
        self.by_cost.retain(|_, (_, users)| {
            *users /= 2;
            *users > 0
        });
        self.users = self.by_cost.values().map(|(_, users)| users).sum();
    }
}

impl<'a> FromIterator<&'a Verifier> for Decoys {
    fn from_iter<I: IntoIterator<Item = &'a Verifier>>(verifiers: I) -> Self {
        let mut decoys = Self::default();
        verifiers.into_iter().for_each(|verifier| decoys.add(verifier));
        decoys
    }
}

/// The decoys of a store that cannot list its users: made from those who have been asked about.
///
/// - Those of late weigh most.
/// - At most 16 costs are kept; a store of more has its commonest ones.
#[derive(Debug, Default)]
pub(super) struct Seen {
    decoys: Mutex<Decoys>,
    key: RandomState,
}

impl Seen {
    const KINDS: usize = 16;
    const USERS: u64 = 4096;

    /// Counts a user who has been asked about.
    pub(super) fn note(&self, verifier: &Verifier) {
        let mut decoys = self.decoys.lock().unwrap_or_else(PoisonError::into_inner);
        decoys.add(verifier);
        while decoys.users >= Self::USERS || decoys.kinds() > Self::KINDS {
            decoys.fade();
        }
    }

    /// The decoy of a name; none before anybody has been asked about.
    pub(super) fn decoy(&self, name: &Username) -> Option<Verifier> {
        let decoys = self.decoys.lock().unwrap_or_else(PoisonError::into_inner);
        decoys.choose(self.key.hash_one(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::WeakSchemes;

    fn verifier(memory: u32) -> Verifier {
        Verifier::parse(
            &format!(
                "$argon2id$v=19$m={memory},t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv"
            ),
            WeakSchemes::Refused,
        )
    }

    fn costs(seen: &Seen) -> BTreeMap<Option<Cost>, u32> {
        let mut costs = BTreeMap::new();
        for n in 0..1000 {
            let name = Username::try_from(format!("guess{n}").as_str()).unwrap();
            *costs.entry(seen.decoy(&name).and_then(|decoy| decoy.cost())).or_default() += 1;
        }
        costs
    }

    #[test]
    fn nobody_seen_is_no_decoy() {
        let seen = Seen::default();
        seen.note(&Verifier::unusable("locked"));
        assert_eq!(costs(&seen), BTreeMap::from([(None, 1000)]));
    }

    #[test]
    fn unknown_names_cost_what_was_seen_of_late() {
        let seen = Seen::default();
        (0..20_000).for_each(|_| seen.note(&verifier(64)));
        for n in 0..20_000 {
            seen.note(&verifier(if n % 4 == 0 { 128 } else { 256 }));
        }
        let costs = costs(&seen);
        let share = |memory| costs.get(&verifier(memory).cost()).copied().unwrap_or_default();
        assert!(share(64) < 60, "{costs:?}");
        assert!(share(128).abs_diff(250) < 80 && share(256).abs_diff(750) < 100, "{costs:?}");
    }

    #[test]
    fn costs_without_end_are_not_kept() {
        let seen = Seen::default();
        for memory in 8..5000 {
            seen.note(&verifier(memory));
            seen.note(&verifier(64));
            assert!(seen.decoys.lock().unwrap().kinds() <= Seen::KINDS);
        }
        assert!(costs(&seen).contains_key(&verifier(64).cost()));
    }
}
