//! How much work a verification is: what is the same costs the same, with any password.

use super::Digest;

/// The work of verifying a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cost {
    /// As good as none.
    Trifling,
    /// MD5-crypt, which is always the same work.
    Md5Crypt,
    /// Bcrypt.
    Bcrypt {
        /// The logarithm of the rounds.
        cost: u32,
    },
    /// SHA-crypt.
    ShaCrypt {
        /// Of which digest.
        digest: Digest,
        /// How many times.
        rounds: u32,
    },
    /// PBKDF2, by itself or within SCRAM.
    Pbkdf2 {
        /// With which digest.
        digest: Digest,
        /// How many times.
        iterations: u32,
    },
    /// Scrypt with these parameters.
    Scrypt {
        /// The logarithm of N, which stands for time and memory.
        log_n: u8,
        /// The size of a block.
        r: u32,
        /// How many times one after the other.
        p: u32,
    },
    /// Yescrypt with these parameters.
    Yescrypt {
        /// Time and memory.
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
