//! The last login of each user: in memory since the last write, before that in a file.
//!
//! A session only counts a login in memory; the server writes what has been counted once a minute.
//! `file` is the file, which `restante last` reads even if no server runs.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::protocol::Username;

mod file;

pub use file::{FileError, LoginFile, Record};

/// Users with their logins.
pub type Logins = HashMap<Username, Login>;

/// The logins of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// The time of the last one, in seconds since 1970.
    pub last: u64,
    /// How many there were.
    pub count: u64,
}

impl Login {
    /// Adds other logins of the same user.
    fn add(&mut self, other: Self) {
        self.last = self.last.max(other.last);
        self.count = self.count.saturating_add(other.count);
    }
}

/// The logins that have not been written yet.
#[derive(Debug, Default)]
pub struct LastLogins {
    recent: Mutex<Logins>,
}

impl LastLogins {
    /// Counts a login.
    pub fn count(&self, user: &Username) {
        let login = Login { last: now(), count: 1 };
        let mut recent = self.lock();
        match recent.get_mut(user) {
            Some(known) => known.add(login),
            None => {
                recent.insert(user.clone(), login);
            }
        }
    }

    /// Takes the logins since the last call.
    pub fn take(&self) -> Logins {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Logins> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds logins to others.
fn merge(all: &mut Logins, more: impl IntoIterator<Item = (Username, Login)>) {
    for (user, login) in more {
        all.entry(user).and_modify(|known| known.add(login)).or_insert(login);
    }
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_counted_until_they_are_taken() {
        let logins = LastLogins::default();
        let [mrose, bob] = ["mrose", "bob"].map(|name| Username::try_from(name).unwrap());
        let begun = now();
        for user in [&mrose, &bob, &mrose] {
            logins.count(user);
        }
        let taken = logins.take();
        assert_eq!((taken.len(), taken[&mrose].count, taken[&bob].count), (2, 2, 1));
        assert!((begun..=now()).contains(&taken[&mrose].last));
        assert_eq!(logins.take(), Logins::new());
    }
}
