//! The address of a server: `pop3s://HOST[:PORT]`, or `pop3://HOST[:PORT]`.

use std::fmt;
use std::str::FromStr;

use crate::cli::client::{HostPort, host_and_port};

/// The address of a POP3 server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ServerUrl {
    pub(super) scheme: Scheme,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Scheme {
    /// Without TLS, which STLS may start.
    Pop3,
    /// With TLS.
    Pop3s,
}

/// `pop3s://HOST:PORT`
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Pop3 => "pop3",
            Scheme::Pop3s => "pop3s",
        };
        write!(f, "{scheme}://{}", HostPort { host: &self.host, port: self.port })
    }
}

/// This is no address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write pop3s://HOST, pop3://HOST, or either with :PORT")]
pub(in super::super) struct NotAUrl;

impl FromStr for ServerUrl {
    type Err = NotAUrl;

    fn from_str(text: &str) -> Result<Self, NotAUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(NotAUrl)?;
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "pop3s" => (Scheme::Pop3s, 995),
            "pop3" => (Scheme::Pop3, 110),
            _ => return Err(NotAUrl),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = host_and_port(rest).ok_or(NotAUrl)?;
        Ok(Self { scheme, host: host.to_owned(), port: port.unwrap_or(default_port) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, scheme, host, port) in [
            ("pop3s://mail.example.org", Scheme::Pop3s, "mail.example.org", 995),
            ("POP3://mail.example.org/", Scheme::Pop3, "mail.example.org", 110),
            ("pop3s://127.0.0.1:1995", Scheme::Pop3s, "127.0.0.1", 1995),
            ("pop3://[::1]", Scheme::Pop3, "::1", 110),
            ("pop3://[::1]:1110", Scheme::Pop3, "::1", 1110),
        ] {
            assert_eq!(text.parse(), Ok(ServerUrl { scheme, host: host.to_owned(), port }));
        }
        for bad in [
            "mail",
            "imap://mail",
            "pop3://",
            "pop3://a:b",
            "pop3://u@a",
            "pop3://[::1",
            "pop3://[::1]1",
        ] {
            assert_eq!(bad.parse::<ServerUrl>(), Err(NotAUrl), "{bad}");
        }
    }
}
