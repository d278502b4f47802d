//! Bcrypt hashes: `$2y$12$`, 22 characters of salt and 31 of digest.

use std::ops::RangeInclusive;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::bounds::bounded;
use super::crypt::{self, exactly};
use super::encoding::bcrypt64;
use super::{Cost, FieldError};
use crate::protocol::Secret;

/// A bcrypt hash.
///
/// - `$2a$`, `$2b$` and `$2y$`, which are the same for passwords that clients can send; not `$2x$`,
///   the result of a bug.
/// - A cost of 4 to 15: 15 takes about two seconds.
#[derive(Debug)]
pub struct BcryptHash {
    cost: u32,
    salt: [u8; 16],
    digest: Secret<Box<[u8]>>,
}

/// How many octets of a password bcrypt uses.
///
/// A longer password is right if its first 72 octets are, as in crypt(3) and so in Dovecot: a user
/// with a longer password has a hash of its beginning, and can log in only if the beginning
/// suffices. 72 octets are beyond guessing.
pub(super) const USED_OCTETS: usize = 72;

impl BcryptHash {
    const COSTS: RangeInclusive<u32> = 4..=15;

    /// Reads a hash that begins with `$2a$`, `$2b$` or `$2y$`.
    pub(super) fn parse(text: &str) -> Result<Self, FieldError> {
        let [cost, rest] = exactly(crypt::fields(text)).ok_or(DAMAGED)?;
        let two_digits = cost.len() == 2;
        let cost = bounded("bcrypt", "cost", cost, Self::COSTS)?;
        if !two_digits {
            return Err(DAMAGED);
        }
        let (salt, digest) = rest.split_at_checked(22).ok_or(DAMAGED)?;
        let salt = bcrypt64(salt).and_then(|salt| salt.try_into().ok()).ok_or(DAMAGED)?;
        let digest = bcrypt64(digest).filter(|digest| digest.len() == 23).ok_or(DAMAGED)?;
        Ok(Self { cost, salt, digest: Secret::new(digest.into()) })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        // As in C the key ends with a NUL, unless that is the 73rd octet.
        let mut key = Zeroizing::new([0; USED_OCTETS]);
        for (octet, typed) in key.iter_mut().zip(password) {
            *octet = *typed;
        }
        let used = USED_OCTETS.min(password.len() + 1);
        let digest = Zeroizing::new(::bcrypt::bcrypt(
            self.cost,
            self.salt,
            key.get(..used).unwrap_or_default(),
        ));
        // The hash has the first 23 of the 24 octets.
        digest.get(..23).is_some_and(|digest| digest.ct_eq(self.digest.expose()).into())
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::Bcrypt { cost: self.cost }
    }
}

const DAMAGED: FieldError = FieldError::Damaged("bcrypt");
