//! Which server is tested: `HOST[:PORT]` and the kind of TLS there.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::client::{HostPort, host_and_port};

/// A host and perhaps a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Without brackets.
    host: String,
    port: Option<u16>,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    /// From the start.
    Implicit,
    /// With STLS.
    Starttls,
    /// Never: the password is sent in the clear.
    Off,
}

/// The server under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
}

/// Port 110 begins without TLS (RFC 8314 §3), and the default port has it from the start.
impl Target {
    pub(super) fn new(address: Address, tls: Option<Tls>) -> Self {
        let Address { host, port } = address;
        let tls = tls.unwrap_or(if port == Some(110) { Tls::Starttls } else { Tls::Implicit });
        let port = port.unwrap_or(if tls == Tls::Implicit { 995 } else { 110 });
        Self { host, port, tls }
    }
}

/// `HOST:PORT`
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HostPort { host: &self.host, port: self.port }.fmt(f)
    }
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Implicit => "TLS from the start",
            Self::Starttls => "STLS",
            Self::Off => "without TLS",
        })
    }
}

/// This is no address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write HOST or HOST:PORT; an IPv6 address with a port is [ADDRESS]:PORT")]
pub(super) struct NotAnAddress;

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let is_bare_ipv6 = !text.starts_with('[') && text.matches(':').count() > 1;
        let (host, port) = match is_bare_ipv6 {
            true => (text, None),
            false => host_and_port(text).ok_or(NotAnAddress)?,
        };
        if host.contains(['/', '@', ' ']) {
            return Err(NotAnAddress);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_the_kind_of_tls() {
        for (text, tls, shown, expected) in [
            ("pop.example.org", None, "pop.example.org:995", Tls::Implicit),
            ("pop.example.org:110", None, "pop.example.org:110", Tls::Starttls),
            ("pop.example.org:1110", None, "pop.example.org:1110", Tls::Implicit),
            ("pop.example.org", Some(Tls::Starttls), "pop.example.org:110", Tls::Starttls),
            ("pop.example.org:110", Some(Tls::Off), "pop.example.org:110", Tls::Off),
            ("::1", None, "[::1]:995", Tls::Implicit),
            ("[::1]:110", None, "[::1]:110", Tls::Starttls),
        ] {
            let target = Target::new(text.parse().unwrap(), tls);
            assert_eq!((target.to_string().as_str(), target.tls), (shown, expected));
        }
        for bad in ["", ":110", "a:b", "a:70000", "pop3://a", "[::1", "[::1]1", "u@a"] {
            assert_eq!(bad.parse::<Address>(), Err(NotAnAddress), "{bad}");
        }
    }
}
