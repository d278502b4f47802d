//! Salts for new passwords.

use ::argon2::password_hash;

use super::error::HashError;

/// A salt from the operating system.
pub(super) fn new() -> Result<[u8; 16], HashError> {
    password_hash::try_generate_salt().map_err(|error| HashError::NoRandomness(error.into()))
}
