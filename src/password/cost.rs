//! How much work a verification is, whatever the password.

use super::Digest;

/// The work of verifying a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cost {
    /// Almost none.
    Negligible,
    /// MD5-crypt, whose work is always the same.
    Md5Crypt,
    /// Bcrypt.
    Bcrypt {
        /// The logarithm of the rounds.
        cost: u32,
    },
    /// SHA-crypt.
    ShaCrypt {
        /// The digest that is repeated.
        digest: Digest,
        /// How many times.
        rounds: u32,
    },
    /// PBKDF2, by itself or within SCRAM.
    Pbkdf2 {
        /// The digest of its HMAC.
        digest: Digest,
        /// How many times.
        iterations: u32,
    },
    /// Scrypt with these parameters.
    Scrypt {
        /// The logarithm of N, the factor of time and memory.
        log_n: u8,
        /// The size of a block.
        r: u32,
        /// How many times in sequence.
        p: u32,
    },
    /// Yescrypt with these parameters.
    Yescrypt {
        /// The factor of time and memory.
        n: u64,
        /// The size of a block.
        r: u32,
    },
    /// Argon2 with these parameters.
    Argon2 {
        /// Memory in KiB.
        memory: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}
