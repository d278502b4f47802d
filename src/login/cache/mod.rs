//! Remembers who has logged in lately, and with which password, so that a store is not asked again.
//!
//! - A user has one entry. It says that a password was right, and what the store said of the user;
//!   wrong passwords are not remembered.
//! - What is kept of the password is HMAC-SHA-256 over the name, the context and the password, each
//!   with its length before it, under a key of this cache alone. Without the memory of the process
//!   there is nothing to guess against; with it, guessing is fast: that is the price of a cache,
//!   and the reason why it is off unless the operator asks for it.
//! - The context is what the answer was based on, say the stored hash: when that has changed, the
//!   entry is not found.
//! - An entry ends a `lifetime` after the verification; use does not prolong it.
//! - The name is in the key of the map *and* in the HMAC, so that an entry of one user never
//!   answers for another (CVE-2025-30189 was that).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::digest::CtOutput;
use hmac::{HmacReset, KeyInit, Mac};
use sha2::Sha256;
use tokio::time::Instant;

use super::random;
use crate::limits::ExpiringMap;
use crate::protocol::{Secret, Username};

/// Successful verifications, with what the store said each time.
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
    /// Keeps at most `entries` users for `lifetime` each; without either it remembers none.
    ///
    /// # Errors
    /// When the system has no randomness for a key.
    pub(super) fn new(lifetime: Duration, entries: usize) -> Result<Self, String> {
        let key =
            random::octets().map_err(|error| format!("no key for the login cache: {error}"))?;
        Ok(Self { lifetime, key: Secret::new(key), state: Mutex::new(ExpiringMap::new(entries)) })
    }

    /// What was remembered of this user with this very password and context.
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

    /// Remembers a password that has just been found right, in place of an earlier one.
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

    /// `None` never happens: HMAC takes keys of any length.
    ///
    /// Once it has the password the HMAC stays where it is until it is overwritten: a value that is
    /// moved leaves a copy of its buffer behind.
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
