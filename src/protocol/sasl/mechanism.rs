//! The mechanisms by name, and the order in which they are listed.

use std::fmt;

/// A mechanism that is supported.
///
/// They are in the order in which they are listed: mechanisms that do not send the password come
/// first, for clients that take the first mechanism that they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// EXTERNAL (RFC 4422 Appendix A): the certificate of the client names the user.
    External,
    /// SCRAM-SHA-256-PLUS (RFC 7677 §3): bound to the TLS connection.
    ScramSha256Plus,
    /// SCRAM-SHA-256 (RFC 7677 §3).
    ScramSha256,
    /// SCRAM-SHA-1-PLUS (RFC 5802 §4): bound to the TLS connection.
    ScramSha1Plus,
    /// SCRAM-SHA-1 (RFC 5802 §4).
    ScramSha1,
    /// OAUTHBEARER (RFC 7628 §3).
    OAuthBearer,
    /// XOAUTH2, the older form of OAUTHBEARER at Google and Microsoft.
    XOAuth2,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN (draft-murchison-sasl-login).
    Login,
}

impl Mechanism {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 9] = [
        Self::External,
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::Plain,
        Self::Login,
    ];

    /// Reads the name, in upper or lower case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|known| name.eq_ignore_ascii_case(known.name().as_bytes()))
    }

    /// The name, for clients and the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanism_names_are_read_in_any_case() {
        assert_eq!(Mechanism::parse(b"plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::parse(b"Login"), Some(Mechanism::Login));
        assert_eq!(Mechanism::parse(b"scram-sha-256"), Some(Mechanism::ScramSha256));
        assert_eq!(Mechanism::parse(b"SCRAM-SHA-256-PLUS"), Some(Mechanism::ScramSha256Plus));
        for unknown in [&b"CRAM-MD5"[..], b"", b"SCRAM-SHA-256-", b"SCRAM-SHA-512", b"PLAIN "] {
            assert_eq!(Mechanism::parse(unknown), None, "{}", unknown.escape_ascii());
        }
        for mechanism in Mechanism::ALL {
            let name = mechanism.to_string();
            assert_eq!(Mechanism::parse(name.as_bytes()), Some(mechanism));
            assert!(name.len() <= 20, "{name}: RFC 4422 allows 20 characters");
        }
    }
}
