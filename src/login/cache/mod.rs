//! Remembers the last right password of each user, so that a store is not asked again.
//!
//! - A user has one entry: that a password was right, and what the store said of the user. Wrong
//!   passwords are not remembered.
//! - An entry does not hold the password but HMAC-SHA-256 over the name, the context and the password,
//!   each after its length. The key is random for each cache. An attacker who cannot read the memory of
//!   the process has no hash to guess against. One who can read it guesses fast: that is why the cache
//!   is off by default.
//! - The context is what the answer was based on, say the stored hash. When it has changed, the entry
//!   is not found.
//! - An entry ends a `lifetime` after the verification. Use does not prolong it.
//! - The name is in the key of the map *and* in the HMAC, so that an entry of one user never
//!   answers for another (as in CVE-2025-30189).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::digest::CtOutput;
use hmac::{HmacReset, KeyInit, Mac};
use sha2::Sha256;
use tokio::time::Instant;

use super::random::{self, NoRandomness};
use crate::limits::ExpiringMap;
use crate::protocol::{Secret, Username};

/// Right passwords, each with a value of the user.
#[derive(Debug)]
pub(super) struct Cache<T> {
    lifetime: Duration,
    key: Secret<[u8; 32]>,
    state: Mutex<ExpiringMap<Username, Entry<T>>>,
}

#[derive(Debug)]
struct Entry<T> {
    code: Code,
    value: T,
}

type Code = CtOutput<HmacReset<Sha256>>;

impl<T: Clone> Cache<T> {
    /// Keeps at most `entries` users, each for `lifetime`. If either is zero, it keeps none.
    pub(super) fn new(lifetime: Duration, entries: usize) -> Result<Self, NoRandomness> {
        let key = Secret::new(random::octets()?);
        Ok(Self { lifetime, key, state: Mutex::new(ExpiringMap::new(entries)) })
    }

    /// The value of this user, if the password and the context are those that were remembered.
    pub(super) fn knows(
        &self,
        name: &Username,
        context: &[u8],
        password: &Secret<Vec<u8>>,
    ) -> Option<T> {
        let code = self.code(name, context, password)?;
        let state = self.lock();
        let entry = state.get(name, Instant::now())?;
        // In constant time.
        (code == entry.code).then(|| entry.value.clone())
    }

    /// Remembers a right password in place of an earlier one.
    pub(super) fn remember(
        &self,
        name: &Username,
        context: &[u8],
        password: &Secret<Vec<u8>>,
        value: T,
    ) {
        let Some(code) = self.code(name, context, password) else { return };
        let now = Instant::now();
        self.lock().put(name.clone(), Entry { code, value }, now + self.lifetime, now);
    }

    /// Never `None`: HMAC takes keys of any length.
    ///
    /// The HMAC is not moved after it has read the password, and is overwritten in place: a move would
    /// leave a copy of its buffer behind.
    fn code(&self, name: &Username, context: &[u8], password: &Secret<Vec<u8>>) -> Option<Code> {
        let mut mac = HmacReset::<Sha256>::new_from_slice(self.key.expose()).ok()?;
        for part in [name.as_str().as_bytes(), context, password.expose()] {
            mac.update(&u64::try_from(part.len()).ok()?.to_be_bytes());
            mac.update(part);
        }
        Some(mac.finalize_reset())
    }

    fn lock(&self) -> MutexGuard<'_, ExpiringMap<Username, Entry<T>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
