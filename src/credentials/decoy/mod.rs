//! What is verified for a name that no user has, so that it costs what the name of a user costs.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use crate::password::{Cost, Verifier};
use crate::protocol::Username;

#[cfg(feature = "sql")]
mod seen;

#[cfg(feature = "sql")]
pub(super) use self::seen::Seen;

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
    #[cfg(feature = "sql")]
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
