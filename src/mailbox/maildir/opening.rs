//! One login at a time that looks for a Maildir where it may have to wait for the file system.
//!
//! A login that is under way will have the lock, or finds out that somebody else has it. Another one
//! meanwhile is told the same as if the lock were taken, and needs no thread to be told so: on a file
//! system that does not answer, each further login would take one and never give it back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The right to look for the Maildir at a path, given back on drop.
#[derive(Debug)]
pub(super) struct Opening(PathBuf);

impl Opening {
    /// Takes the turn at a path.
    ///
    /// # Errors
    /// Since when somebody else has it.
    pub(super) fn begin(path: &Path) -> Result<Self, SystemTime> {
        let mut taken = taken();
        if let Some(&since) = taken.get(path) {
            return Err(since);
        }
        taken.insert(path.to_owned(), SystemTime::now());
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        taken().remove(&self.0);
    }
}

/// Those that are under way in this process, whatever configuration they began with.
fn taken() -> MutexGuard<'static, BTreeMap<PathBuf, SystemTime>> {
    static TAKEN: Mutex<BTreeMap<PathBuf, SystemTime>> = Mutex::new(BTreeMap::new());
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_given_back() {
        let (own, other) = (Path::new("/no/such/a"), Path::new("/no/such/b"));
        let opening = Opening::begin(own).unwrap();
        assert!(Opening::begin(own).unwrap_err() <= SystemTime::now());
        drop(Opening::begin(other).unwrap());
        drop(opening);
        drop(Opening::begin(own).unwrap());
    }
}
