//! New passwords, before they are hashed.

use super::MAX_PASSWORD_OCTETS;
use crate::protocol::Secret;

/// A password with which a client will be able to log in.
///
/// - 1 to [`MAX_PASSWORD_OCTETS`] octets.
/// - Without NUL, CR and LF: no command of POP3 carries them (RFC 4616 §2, RFC 1939 §3).
#[derive(Debug)]
pub struct NewPassword(Secret<Vec<u8>>);

/// Why octets cannot be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// There is no octet.
    #[error("the password is empty; give one")]
    Empty,
    /// There are more than [`MAX_PASSWORD_OCTETS`].
    #[error("the password is longer than {MAX_PASSWORD_OCTETS} octets; shorten it")]
    TooLong,
    /// There is a line end or a NUL in it.
    #[error("the password has a line end or a NUL in it; give one line")]
    Character,
}

impl NewPassword {
    /// A password of letters that this program has made.
    pub(super) fn from_ours(password: Secret<Vec<u8>>) -> Self {
        Self(password)
    }

    /// The octets.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl TryFrom<Secret<Vec<u8>>> for NewPassword {
    type Error = PasswordError;

    fn try_from(password: Secret<Vec<u8>>) -> Result<Self, PasswordError> {
        let octets = password.expose();
        if octets.is_empty() {
            return Err(PasswordError::Empty);
        }
        if octets.len() > MAX_PASSWORD_OCTETS {
            return Err(PasswordError::TooLong);
        }
        if octets.iter().any(|octet| matches!(octet, b'\0' | b'\r' | b'\n')) {
            return Err(PasswordError::Character);
        }
        Ok(Self(password))
    }
}
