//! One login at a time opens a Maildir for which it may have to wait.
//!
//! The login that is under way will take the lock, or find it taken. Until then, others are refused
//! as if the lock were taken, without a thread: on a file system that does not answer, each further
//! login would block a thread for ever.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The right to open the Maildir at a path, released on drop.
#[derive(Debug)]
pub(super) struct Opening(PathBuf);

impl Opening {
    /// Takes the right for a path.
    ///
    /// # Errors
    /// The time since when another login has it.
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

/// The logins under way in this process, across reloads of the configuration.
fn taken() -> MutexGuard<'static, BTreeMap<PathBuf, SystemTime>> {
    static TAKEN: Mutex<BTreeMap<PathBuf, SystemTime>> = Mutex::new(BTreeMap::new());
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_is_released() {
        let (own, other) = (Path::new("/no/such/a"), Path::new("/no/such/b"));
        let opening = Opening::begin(own).unwrap();
        assert!(Opening::begin(own).unwrap_err() <= SystemTime::now());
        drop(Opening::begin(other).unwrap());
        drop(opening);
        drop(Opening::begin(own).unwrap());
    }
}
