//! Capabilities: what CAPA lists (RFC 2449 §5 and §6).

use std::fmt;

use super::sasl::Mechanism;

/// One line of the reply to CAPA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// TOP (RFC 2449 §6.1).
    Top,
    /// UIDL (RFC 2449 §6.8).
    Uidl,
    /// USER and PASS (RFC 2449 §6.2).
    User,
    /// AUTH with these mechanisms (RFC 5034 §3).
    Sasl(&'static [Mechanism]),
    /// STLS (RFC 2595 §4).
    Stls,
    /// Replies may begin with a response code (RFC 2449 §6.4).
    RespCodes,
    /// Failed log-ins say whether the credentials are at fault (RFC 3206 §6).
    AuthRespCode,
    /// Commands may be sent without waiting for replies (RFC 2449 §6.6).
    Pipelining,
    /// Messages are never removed by the server itself (RFC 2449 §6.7).
    ExpireNever,
    /// Who this is (RFC 2449 §6.9).
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
            Self::Implementation => "IMPLEMENTATION Restante",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_lines() {
        assert_eq!(Capability::Sasl(&Mechanism::ALL).to_string(), "SASL PLAIN LOGIN");
        assert_eq!(Capability::ExpireNever.to_string(), "EXPIRE NEVER");
    }
}
