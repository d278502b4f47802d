//! SASL as POP3 uses it: mechanisms, challenges and responses (RFC 5034 §4), without I/O.
//!
//! An [`Exchange`] takes responses and yields [`Step`]s; who verifies the outcome is not its
//! business.

mod login;
mod plain;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ClaimedName, Secret};

/// A mechanism that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN (draft-murchison-sasl-login).
    Login,
}

impl Mechanism {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Login];

    /// Reads the name, in upper or lower case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|known| name.eq_ignore_ascii_case(known.name().as_bytes()))
    }

    /// Begins an exchange.
    pub fn begin(self) -> Exchange {
        Exchange(match self {
            Self::Plain => State::Plain,
            Self::Login => State::LoginName,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An authentication that waits for a response of the client.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Plain,
    LoginName,
    LoginPassword(ClaimedName),
}

/// What comes of a response.
#[derive(Debug)]
pub enum Step {
    /// Another challenge has to be answered.
    Challenge(Exchange),
    /// The client has said who it is and with which password; verify it.
    Verify(ClaimedName, Secret<Vec<u8>>),
    /// The client wants to act for another user, which nobody may (RFC 4616 §2).
    ForAnother,
    /// The response does not follow the mechanism.
    Malformed,
}

impl Exchange {
    /// What to send before the next response, not yet in base64; empty at the start of a
    /// mechanism in which the client speaks first (RFC 5034 §4).
    pub fn challenge(&self) -> &'static [u8] {
        match self.0 {
            State::Plain => b"",
            State::LoginName => login::NAME_CHALLENGE,
            State::LoginPassword(_) => login::PASSWORD_CHALLENGE,
        }
    }

    /// Takes the next response, decoded.
    pub fn step(self, response: Secret<Vec<u8>>) -> Step {
        match self.0 {
            State::Plain => plain::read(response.expose()),
            State::LoginName => {
                let name = ClaimedName::new(response.expose().as_slice());
                Step::Challenge(Self(State::LoginPassword(name)))
            }
            State::LoginPassword(name) => Step::Verify(name, response),
        }
    }
}

/// A response is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBase64;

/// Decodes a response as strictly as RFC 5034 §4 wants it: nothing outside the alphabet, padding
/// at the end only and there in full.
///
/// # Errors
/// [`NotBase64`].
pub fn decode(response: &[u8]) -> Result<Secret<Vec<u8>>, NotBase64> {
    STANDARD.decode(response).map(Secret::new).map_err(|_| NotBase64)
}

/// Decodes the second argument of AUTH, in which `=` stands for nothing (RFC 5034 §4).
///
/// # Errors
/// [`NotBase64`].
pub fn decode_initial(response: &[u8]) -> Result<Secret<Vec<u8>>, NotBase64> {
    if response == b"=" { Ok(Secret::new(Vec::new())) } else { decode(response) }
}

/// The line that carries a challenge, without its end: `+`, a blank, base64 (RFC 5034 §4).
pub fn challenge_line(challenge: &[u8]) -> String {
    format!("+ {}", STANDARD.encode(challenge))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_taken_strictly() {
        assert_eq!(decode(b"AHRpbQB0YW5zdGFhZg==").unwrap().expose(), b"\0tim\0tanstaaf");
        assert_eq!(decode(b"").unwrap().expose(), b"");
        for bad in [&b"=AAA"[..], b"AAA=BBB", b"AA", b"AAA", b"A A=", b"AA==\r", b"*", b"AAB=C"] {
            assert_eq!(decode(bad).unwrap_err(), NotBase64, "{}", bad.escape_ascii());
        }
        assert_eq!(decode_initial(b"=").unwrap().expose(), b"");
        assert_eq!(decode(b"=").unwrap_err(), NotBase64);
    }

    #[test]
    fn an_empty_challenge_is_a_plus_and_a_blank() {
        assert_eq!(challenge_line(b""), "+ ");
        assert_eq!(challenge_line(login::NAME_CHALLENGE), "+ VXNlcm5hbWU6");
    }

    #[test]
    fn mechanism_names_are_read_in_any_case() {
        assert_eq!(Mechanism::parse(b"plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::parse(b"Login"), Some(Mechanism::Login));
        assert_eq!(Mechanism::parse(b"CRAM-MD5"), None);
        assert_eq!(Mechanism::parse(b""), None);
    }
}
