//! Salts for new passwords, and why one is not hashed.

use ::argon2::password_hash;

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The system has no randomness.
    #[error("the password cannot be hashed: no randomness for a salt: {0}")]
    NoRandomness(Box<dyn std::error::Error + Send + Sync>),
    /// Argon2 has failed, for example for lack of memory.
    #[error("the password cannot be hashed: {0}")]
    Argon2(#[from] password_hash::Error),
}

/// A salt from the operating system.
pub(super) fn new() -> Result<[u8; 16], HashError> {
    password_hash::try_generate_salt().map_err(|error| HashError::NoRandomness(error.into()))
}
