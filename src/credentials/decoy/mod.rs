//! Decoys: verifiers for names that do not exist. They make an unknown name cost what a known one
//! costs.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use crate::password::{Cost, Verifier};
use crate::protocol::Username;

#[cfg(feature = "sql")]
mod seen;

#[cfg(feature = "sql")]
pub(super) use self::seen::Seen;

/// A verifier for a name that a store does not know.
#[derive(Clone, Debug)]
pub struct Decoy {
    /// The verifier of any user, or a similar one.
    pub verifier: Verifier,
    /// The number of users of the store, which is its weight among all stores.
    pub users: u64,
}

impl Decoy {
    /// Chooses among the decoys of several stores for `name`, each with a probability in proportion
    /// to the users of its store.
    ///
    /// - The same name gets the decoy of the same store, unless the number of users of a store
    ///   changes.
    pub fn among<S>(name: &Username, decoys: Vec<(S, Self)>) -> Option<(S, Self)> {
        // Another hash than the one by which each store has chosen its decoy.
        let hash = key().hash_one((name, "store"));
        let nth = choose(hash, decoys.iter().map(|(_, decoy)| decoy.users))?;
        decoys.into_iter().nth(nth)
    }
}

/// The key by which decoys are chosen. A process has one, so that a reload changes no decoy.
pub(super) fn key() -> RandomState {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.clone()
}

/// One verifier of each cost, with the number of users whose verifiers have that cost.
///
/// The number is the weight of the choice: unknown names have the costs of known ones, in the same
/// proportions.
#[derive(Debug, Default)]
pub(super) struct Decoys {
    // Ordered by cost, so that a name keeps its decoy when the users are read again.
    by_cost: BTreeMap<Cost, Decoy>,
}

impl Decoys {
    /// Counts a user, unless the user cannot log in.
    pub(super) fn add(&mut self, verifier: &Verifier) {
        if let Some(cost) = verifier.cost() {
            let decoy = || Decoy { verifier: verifier.clone(), users: 0 };
            self.by_cost.entry(cost).or_insert_with(decoy).users += 1;
        }
    }

    /// The decoy of the name with this hash.
    pub(super) fn choose(&self, hash: u64) -> Option<Decoy> {
        let users = self.by_cost.values().map(|decoy| decoy.users);
        let nth = choose(hash, users.clone())?;
        let Decoy { verifier, .. } = self.by_cost.values().nth(nth)?;
        Some(Decoy { verifier: verifier.clone(), users: users.sum() })
    }

    /// Removes a user of this cost.
    #[cfg(feature = "sql")]
    fn remove(&mut self, cost: Cost) {
        if let Some(decoy) = self.by_cost.get_mut(&cost) {
            decoy.users -= 1;
            if decoy.users == 0 {
                self.by_cost.remove(&cost);
            }
        }
    }

    /// The number of costs.
    #[cfg(test)]
    pub(super) fn kinds(&self) -> usize {
        self.by_cost.len()
    }
}

/// Maps a hash to one of several items, with a probability in proportion to the weight of each.
fn choose(hash: u64, weights: impl Iterator<Item = u64> + Clone) -> Option<usize> {
    let all: u64 = weights.clone().sum();
    // Scaled, not modulo: with one user more or less, few names get another decoy.
    let at = u64::try_from((u128::from(hash) * u128::from(all)) >> 64).ok()?;
    let ends = weights.scan(0, |end, weight| {
        *end += weight;
        Some(*end)
    });
    ends.enumerate().find_map(|(nth, end)| (at < end).then_some(nth))
}
