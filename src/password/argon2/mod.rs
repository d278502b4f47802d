//! Argon2 hashes in the PHC string form, `$argon2id$v=19$m=19456,t=2,p=1$salt$digest` (RFC 9106).
//!
//! What the string asks for is capped before anything is allocated: a hash that was damaged, or
//! inserted by an attacker, cannot make the server use gigabytes or minutes.
//!
//! Not by the crate's `PasswordVerifier`: it allocates the memory itself, see [`memory`].

use ::argon2::password_hash::PasswordHasher;
use ::argon2::password_hash::phc::{PasswordHash, Salt};
use ::argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Cost;
use super::new::{self, Unhashed};
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

/// The PHC string of a password, with a salt of its own.
pub(super) fn hash(password: &[u8]) -> Result<Secret<String>, Unhashed> {
    let salt = Salt::new(&new::salt()?).map_err(|error| Unhashed(error.to_string()))?;
    recommended()
        .and_then(|argon2| {
            argon2.hash_password_with_salt(password, &salt).map_err(|error| error.to_string())
        })
        .map(|hash| Secret::new(hash.to_string()))
        .map_err(Unhashed)
}

impl Argon2Hash {
    const MAX_MEMORY_KIB: u32 = 256 * 1024;
    const MAX_PASSES: u32 = 20;
    const MAX_LANES: u32 = 16;

    /// Reads a PHC string that begins with `$argon2`. The reason for refusing one is for people
    /// and shows nothing of the salt or the digest.
    pub(super) fn parse(phc: &str) -> Result<Self, String> {
        let hash = PasswordHash::new(phc)
            .map_err(|error| format!("its argon2 hash is damaged ({error})"))?;
        let algorithm = Algorithm::new(hash.algorithm)
            .map_err(|_| "its hash is of no known kind of argon2".to_owned())?;
        let version = match hash.version {
            // The strings of the first version of argon2 did not yet carry the field.
            None => Version::V0x10,
            Some(version) => Version::try_from(version)
                .map_err(|_| format!("its hash is of an unknown argon2 version, v={version}"))?,
        };
        let cost = |name: &str| hash.params.get_decimal(name);
        let (Some(memory), Some(passes), Some(lanes), 3) =
            (cost("m"), cost("t"), cost("p"), hash.params.iter().count())
        else {
            return Err(
                "the parameters of its argon2 hash are not m, t and p with a number each".into()
            );
        };
        for (name, value, most) in [
            ("m", memory, Self::MAX_MEMORY_KIB),
            ("t", passes, Self::MAX_PASSES),
            ("p", lanes, Self::MAX_LANES),
        ] {
            if value > most {
                return Err(format!(
                    "its argon2 hash asks for {name}={value}, more than {name}={most}"
                ));
            }
        }
        let (Some(salt), Some(digest)) = (hash.salt, hash.hash) else {
            return Err("its argon2 hash has no salt or no digest".into());
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
        hash.params()
            .map_err(|error| format!("its argon2 parameters do not fit together ({error})"))?;
        Ok(hash)
    }

    /// A hash with the parameters of [`hash`], to spend time on when there is no other.
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
    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, String> {
        let argon2 = |error: argon2::Error| format!("argon2: {error}");
        let params = self.params().map_err(argon2)?;
        let mut memory = memory(params.block_count())?;
        let mut digest = Zeroizing::new(vec![0; self.digest.expose().len()]);
        Argon2::new(self.algorithm, self.version, params)
            .hash_password_into_with_memory(password, &self.salt, &mut digest, &mut memory)
            .map_err(argon2)?;
        Ok(digest.ct_eq(self.digest.expose()).into())
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::Argon2 { memory: self.memory, passes: self.passes, lanes: self.lanes }
    }

    /// Whether it is of another kind than [`hash`] makes, or takes less memory or time.
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
/// More than 32 MiB are reserved, though only `blocks` are used: memory of that size goes back to
/// the system as soon as it is freed. Of smaller pieces glibc makes a heap in each thread, and
/// keeps it; 600 logins at 19 MiB, two at a time, left 7 GiB behind.
fn memory(blocks: usize) -> Result<Vec<Block>, String> {
    const RETURNED_AT_ONCE: usize = 33 * 1024 * 1024 / Block::SIZE;
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(blocks.max(RETURNED_AT_ONCE))
        .map_err(|error| format!("no memory to verify a password with: {error}"))?;
    memory.resize(blocks, Block::default());
    Ok(memory)
}

/// What new passwords are hashed with.
fn recommended() -> Result<Argon2<'static>, String> {
    let params = Params::new(RECOMMENDED_MEMORY_KIB, RECOMMENDED_PASSES, RECOMMENDED_LANES, None)
        .map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

// OWASP's recommendation with the least memory that is not a compromise (Password Storage Cheat
// Sheet).
const RECOMMENDED_MEMORY_KIB: u32 = 19 * 1024;
const RECOMMENDED_PASSES: u32 = 2;
const RECOMMENDED_LANES: u32 = 1;

#[cfg(test)]
mod tests;
