//! The place of a server as people write it: `HOST[:PORT]`, with an IPv6 address in brackets.

use std::fmt;

/// A host and a port, for texts.
pub(in super::super) struct HostPort<'a> {
    /// Without brackets.
    pub(in super::super) host: &'a str,
    pub(in super::super) port: u16,
}

/// `HOST:PORT`
impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The host without brackets, and the port; `None` if this is no such place.
pub(in super::super) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']')?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(str::parse).transpose().ok()?;
    let is_host = !host.is_empty() && !host.contains(['/', '@']);
    is_host.then_some((host, port))
}
