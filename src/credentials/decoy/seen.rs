//! Decoys made from the users who have been looked up.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Decoy, Decoys, key};
use crate::limits::ExpiringMap;
use crate::password::{Cost, Verifier};
use crate::protocol::Username;

/// The decoys of a store that cannot list its users: made from those who have been looked up.
///
/// - Each user counts once, so repeated look-ups do not change the proportions. After 10000 users no
///   more are added: these represent the rest.
/// - A name keeps its decoy, with its weight, whichever users are looked up later, and even when it
///   is `None`. This holds for the last 20000 names.
#[derive(Debug)]
pub(in crate::credentials) struct Seen {
    state: Mutex<State>,
    key: RandomState,
}

#[derive(Debug)]
struct State {
    decoys: Decoys,
    /// The costs of the users who have been counted, by the hash of the name.
    users: HashMap<u64, Cost>,
    /// The decoys of names, by their hash.
    given: ExpiringMap<u64, Option<Decoy>>,
}

impl Default for Seen {
    fn default() -> Self {
        let given = ExpiringMap::new(MOST_NAMES);
        let state = State { decoys: Decoys::default(), users: HashMap::new(), given };
        Self { state: Mutex::new(state), key: key() }
    }
}

impl Seen {
    /// Counts a user who has been looked up.
    pub(in crate::credentials) fn count(&self, name: &Username, verifier: &Verifier) {
        let Some(cost) = verifier.cost() else { return };
        let name = self.key.hash_one(name);
        let State { decoys, users, .. } = &mut *self.lock();
        match users.get(&name) {
            Some(counted) if *counted == cost => return,
            Some(counted) => decoys.remove(*counted),
            None if users.len() >= MOST_USERS => return,
            None => {}
        }
        users.insert(name, cost);
        decoys.add(verifier);
    }

    /// The decoy of a name; `None` if no user had been looked up when it was first asked for.
    pub(in crate::credentials) fn decoy(&self, name: &Username) -> Option<Decoy> {
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
    use std::collections::BTreeMap;
    use std::fmt::Display;

    use super::*;
    use crate::password::{FieldError, WeakSchemes};

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
    fn without_a_look_up_there_is_no_decoy() {
        let seen = Seen::default();
        seen.count(&user("mrose"), &Verifier::unusable(FieldError::Missing));
        assert_eq!(costs(&seen), BTreeMap::from([(None, 1000)]));
        // The same names have none later either.
        seen.count(&user("mrose"), &verifier(64));
        assert_eq!(costs(&seen), BTreeMap::from([(None, 1000)]));
        assert!(seen.decoy(&user("another")).is_some());
    }

    #[test]
    fn unknown_names_cost_what_users_cost_however_often_one_is_looked_up() {
        let seen = Seen::default();
        for n in 0..1000 {
            seen.count(&user("often"), &verifier(64));
            seen.count(&user(n), &verifier(if n % 4 == 0 { 128 } else { 256 }));
        }
        let costs = costs(&seen);
        let share = |memory| costs.get(&verifier(memory).cost()).copied().unwrap_or_default();
        assert!(share(64) < 20, "{costs:?}");
        assert!(share(128).abs_diff(250) < 80 && share(256).abs_diff(750) < 80, "{costs:?}");
    }

    #[test]
    fn a_name_keeps_its_decoy_whichever_users_are_looked_up_later() {
        let seen = Seen::default();
        seen.count(&user("alice"), &verifier(64));
        let names: Vec<_> = (0..100).map(|n| user(format!("name{n}"))).collect();
        let costs = || -> Vec<_> {
            names
                .iter()
                .map(|name| seen.decoy(name).and_then(|decoy| decoy.verifier.cost()))
                .collect()
        };
        let before = costs();
        for n in 0..5000 {
            seen.count(&user("bob"), &verifier(128));
            seen.count(&user(n), &verifier(256));
            seen.decoy(&user(format!("other{n}")));
        }
        // Even when no user has that cost any more.
        seen.count(&user("alice"), &verifier(512));
        assert_eq!(costs(), before);
    }

    #[test]
    fn a_user_with_a_new_hash_counts_with_its_cost() {
        let seen = Seen::default();
        seen.count(&user("alice"), &verifier(64));
        seen.count(&user("alice"), &verifier(128));
        assert_eq!(costs(&seen), BTreeMap::from([(verifier(128).cost(), 1000)]));
    }

    #[test]
    fn the_number_of_users_and_names_is_bounded() {
        let seen = Seen::default();
        for n in 0..MOST_NAMES + 10 {
            seen.count(&user(n), &verifier(64));
            seen.decoy(&user(format!("name{n}")));
        }
        let state = seen.lock();
        assert_eq!((state.users.len(), state.given.len()), (MOST_USERS, MOST_NAMES));
        assert_eq!(state.decoys.choose(0).map(|decoy| decoy.users), Some(10_000));
    }
}
