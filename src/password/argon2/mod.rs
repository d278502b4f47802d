//! Argon2 hashes in the PHC string form, `$argon2id$v=19$m=19456,t=2,p=1$salt$digest` (RFC 9106).
//!
//! The parameters are bounded before anything is allocated: a hash that was damaged, or inserted by
//! an attacker, cannot make the server use gigabytes or minutes.
//!
//! The crate's `PasswordVerifier` is not used, because it allocates the memory itself: see
//! [`memory`].

use std::collections::TryReserveError;

use ::argon2::password_hash::phc::{PasswordHash, Salt};
use ::argon2::password_hash::{self, PasswordHasher};
use ::argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::bounds::{ParameterError, within};
use super::{Cost, FieldError, HashError, VerifyError, salt};
use crate::protocol::Secret;

/// An argon2 hash whose parameters are within bounds.
///
/// - At most 256 MiB (`m=262144`), 20 passes (`t=20`), 16 lanes (`p=16`).
/// - Salt of 8 to 48 octets, digest of 10 to 64.
#[derive(Debug)]
pub struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    /// In KiB.
    memory: u32,
    passes: u32,
    lanes: u32,
    salt: Box<[u8]>,
    digest: Secret<Box<[u8]>>,
}

/// The PHC string of a password, with a new salt.
pub(super) fn hash(password: &[u8]) -> Result<Secret<String>, HashError> {
    let hash = recommended()?.hash_password_with_salt(password, &salt::new()?)?;
    Ok(Secret::new(hash.to_string()))
}

impl Argon2Hash {
    const MAX_MEMORY_KIB: u32 = 256 * 1024;
    const MAX_PASSES: u32 = 20;
    const MAX_LANES: u32 = 16;

    /// Reads a PHC string that begins with `$argon2`.
    pub(super) fn parse(phc: &str) -> Result<Self, FieldError> {
        let hash = PasswordHash::new(phc)?;
        let algorithm =
            Algorithm::new(hash.algorithm).map_err(|_| FieldError::UnknownKindOf("argon2"))?;
        let version = match hash.version {
            // The strings of the first version of argon2 did not have the field yet.
            None => Version::V0x10,
            Some(version) => {
                Version::try_from(version).map_err(|_| FieldError::Argon2Version(version))?
            }
        };
        let cost = |name: &str| hash.params.get_decimal(name);
        let (Some(memory), Some(passes), Some(lanes), 3) =
            (cost("m"), cost("t"), cost("p"), hash.params.iter().count())
        else {
            let wanted = "m, t and p with a number each";
            return Err(ParameterError::Names { kind: "argon2", wanted }.into());
        };
        within("argon2", "m", memory, 0..=Self::MAX_MEMORY_KIB)?;
        within("argon2", "t", passes, 0..=Self::MAX_PASSES)?;
        within("argon2", "p", lanes, 0..=Self::MAX_LANES)?;
        let (Some(salt), Some(digest)) = (hash.salt, hash.hash) else {
            return Err(FieldError::Argon2Incomplete);
        };
        let hash = Self {
            algorithm,
            version,
            memory,
            passes,
            lanes,
            salt: (*salt).into(),
            digest: Secret::new(digest.as_bytes().into()),
        };
        hash.params().map_err(ParameterError::Argon2)?;
        Ok(hash)
    }

    /// A hash with the parameters of [`hash`], so that its verification takes as long.
    pub(super) fn costly() -> Self {
        Self {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            memory: RECOMMENDED_MEMORY_KIB,
            passes: RECOMMENDED_PASSES,
            lanes: RECOMMENDED_LANES,
            salt: [0; Salt::RECOMMENDED_LENGTH].into(),
            digest: Secret::new([0; Params::DEFAULT_OUTPUT_LEN].into()),
        }
    }

    /// Whether this is the hash of `password`; compares in constant time.
    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, VerifyError> {
        let params = self.params()?;
        let mut memory = memory(params.block_count())?;
        let mut digest = Zeroizing::new(vec![0; self.digest.expose().len()]);
        let argon2 = Argon2::new(self.algorithm, self.version, params);
        argon2.hash_password_into_with_memory(password, &self.salt, &mut digest, &mut memory)?;
        Ok(digest.ct_eq(self.digest.expose()).into())
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::Argon2 { memory: self.memory, passes: self.passes, lanes: self.lanes }
    }

    /// Whether it is of another kind than those of [`hash`], or takes less memory or time.
    pub(super) fn is_weaker_than_new(&self) -> bool {
        self.algorithm != Algorithm::Argon2id
            || self.version != Version::V0x13
            || self.memory < RECOMMENDED_MEMORY_KIB
            || self.passes < RECOMMENDED_PASSES
    }

    fn params(&self) -> Result<Params, argon2::Error> {
        Params::new(self.memory, self.passes, self.lanes, Some(self.digest.expose().len()))
    }
}

/// Memory for one hash.
///
/// More than 32 MiB are reserved, though only `blocks` are used: glibc returns an allocation of
/// that size to the system as soon as it is freed. Smaller ones come from a heap of the thread,
/// which glibc keeps: after 600 logins at 19 MiB, two at a time, 7 GiB were left.
fn memory(blocks: usize) -> Result<Vec<Block>, TryReserveError> {
    const RETURNED_AT_ONCE: usize = 33 * 1024 * 1024 / Block::SIZE;
    let mut memory = Vec::new();
    memory.try_reserve_exact(blocks.max(RETURNED_AT_ONCE))?;
    memory.resize(blocks, Block::default());
    Ok(memory)
}

/// Argon2 with the parameters of new hashes.
fn recommended() -> Result<Argon2<'static>, password_hash::Error> {
    let params = Params::new(RECOMMENDED_MEMORY_KIB, RECOMMENDED_PASSES, RECOMMENDED_LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

// OWASP's recommendation with the least memory that is not a compromise (Password Storage Cheat
// Sheet).
const RECOMMENDED_MEMORY_KIB: u32 = 19 * 1024;
const RECOMMENDED_PASSES: u32 = 2;
const RECOMMENDED_LANES: u32 = 1;

#[cfg(test)]
mod tests;
