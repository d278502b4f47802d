//! Passwords that are about to be set.

use std::fmt;

use super::MAX_PASSWORD_OCTETS;
use crate::protocol::Secret;

/// A password with which a client will be able to log in.
///
/// - 1 to [`MAX_PASSWORD_OCTETS`] octets.
/// - Without NUL, CR and LF: no command of POP3 carries them (RFC 4616 §2, RFC 1939 §3).
#[derive(Debug)]
pub struct NewPassword(Secret<Vec<u8>>);

/// Why something cannot be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordFault {
    /// No octet.
    Empty,
    /// More than [`MAX_PASSWORD_OCTETS`].
    TooLong,
    /// A line end within it, or a NUL.
    Character,
}

impl NewPassword {
    /// The octets.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl TryFrom<Secret<Vec<u8>>> for NewPassword {
    type Error = PasswordFault;

    fn try_from(password: Secret<Vec<u8>>) -> Result<Self, PasswordFault> {
        let octets = password.expose();
        if octets.is_empty() {
            return Err(PasswordFault::Empty);
        }
        if octets.len() > MAX_PASSWORD_OCTETS {
            return Err(PasswordFault::TooLong);
        }
        if octets.iter().any(|octet| matches!(octet, b'\0' | b'\r' | b'\n')) {
            return Err(PasswordFault::Character);
        }
        Ok(Self(password))
    }
}

impl fmt::Display for PasswordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the password is empty; give one"),
            Self::TooLong => {
                write!(f, "the password is longer than {MAX_PASSWORD_OCTETS} octets; shorten it")
            }
            Self::Character => {
                f.write_str("the password has a line end or a NUL in it; give one line")
            }
        }
    }
}

impl std::error::Error for PasswordFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_client_can_send_is_not_a_password() {
        let long = vec![b'x'; MAX_PASSWORD_OCTETS + 1];
        for (octets, fault) in [
            (&b""[..], Some(PasswordFault::Empty)),
            (&long, Some(PasswordFault::TooLong)),
            (b"tan\0staaf", Some(PasswordFault::Character)),
            (b"tanstaaf\r", Some(PasswordFault::Character)),
            (b"tan\nstaaf", Some(PasswordFault::Character)),
            (&long[1..], None),
            (b" ", None),
            (b"tan staaf: \xff\x80\t", None),
        ] {
            let password = NewPassword::try_from(Secret::new(octets.to_vec()));
            assert_eq!(password.err(), fault, "{}", octets.escape_ascii());
        }
    }
}
