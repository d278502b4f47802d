//! Capabilities: what CAPA lists (RFC 2449 §5 and §6).

use std::fmt;

use super::sasl::Mechanism;

/// One line of the reply to CAPA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// TOP (RFC 2449 §6.1).
    Top,
    /// UIDL (RFC 2449 §6.8).
    Uidl,
    /// USER and PASS (RFC 2449 §6.2).
    User,
    /// AUTH with these mechanisms (RFC 5034 §3).
    Sasl(Vec<Mechanism>),
    /// STLS (RFC 2595 §4).
    Stls,
    /// Replies may begin with a response code (RFC 2449 §6.4).
    RespCodes,
    /// Failed logins say whether the credentials are at fault (RFC 3206 §6).
    AuthRespCode,
    /// Commands may be sent without waiting for replies (RFC 2449 §6.6).
    Pipelining,
    /// The server never removes messages by itself (RFC 2449 §6.7).
    ExpireNever,
    /// User names and passwords may be UTF-8, as may be messages (RFC 6856 §2).
    Utf8User,
    /// The language of replies can be chosen (RFC 6856 §3).
    Lang,
    /// The name of the server (RFC 2449 §6.9).
    Implementation,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Top => "TOP",
            Self::Uidl => "UIDL",
            Self::User => "USER",
            Self::Sasl(mechanisms) => {
                f.write_str("SASL")?;
                return mechanisms.iter().try_for_each(|mechanism| write!(f, " {mechanism}"));
            }
            Self::Stls => "STLS",
            Self::RespCodes => "RESP-CODES",
            Self::AuthRespCode => "AUTH-RESP-CODE",
            Self::Pipelining => "PIPELINING",
            Self::ExpireNever => "EXPIRE NEVER",
            Self::Utf8User => "UTF8 USER",
            Self::Lang => "LANG",
            Self::Implementation => "IMPLEMENTATION Restante",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_lines() {
        let mechanisms = vec![Mechanism::Plain, Mechanism::Login];
        assert_eq!(Capability::Sasl(mechanisms).to_string(), "SASL PLAIN LOGIN");
        assert_eq!(Capability::ExpireNever.to_string(), "EXPIRE NEVER");
        assert_eq!(Capability::Utf8User.to_string(), "UTF8 USER");
    }
}
