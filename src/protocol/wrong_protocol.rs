//! Peers that speak another protocol, recognised by their first octets.

use std::fmt;

/// A protocol that is not POP3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongProtocol {
    /// A TLS handshake where plain text is expected.
    Tls,
    /// A web browser, or an attacker who makes it connect here (ALPACA).
    Http,
    /// A mail transport.
    Smtp,
    /// A secure shell.
    Ssh,
    /// A proxy that names the client it connects for, in text (version 1) or binary (version 2).
    Proxy,
}

impl WrongProtocol {
    /// Recognises a protocol by the first octets. A POP3 command is never taken for one.
    pub fn recognise(octets: &[u8]) -> Option<Self> {
        let known = WORDS.into_iter().find(|(word, _)| octets.starts_with(word));
        let known = known.map(|(_, protocol)| protocol);
        known.or_else(|| is_request_line(octets).then_some(Self::Http))
    }

    /// Whether these octets, which are not a whole line yet, may be the beginning of a known word.
    pub fn may_follow(octets: &[u8]) -> bool {
        !octets.contains(&b'\n') && WORDS.iter().any(|(word, _)| word.starts_with(octets))
    }
}

/// Whether the first line is an HTTP request with any method (RFC 9112 §3).
fn is_request_line(octets: &[u8]) -> bool {
    let Some(line) = octets.split_inclusive(|octet| *octet == b'\n').next() else { return false };
    let Some(line) = line.strip_suffix(b"\n") else { return false };
    let mut words = line.strip_suffix(b"\r").unwrap_or(line).split(|octet| *octet == b' ');
    let (Some(_method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    matches!(target, [b'/' | b'*', ..]) && version.starts_with(b"HTTP/")
}

const WORDS: [(&[u8], WrongProtocol); 14] = [
    (b"\x16\x03", WrongProtocol::Tls),
    (b"GET ", WrongProtocol::Http),
    (b"POST ", WrongProtocol::Http),
    (b"PUT ", WrongProtocol::Http),
    (b"HEAD ", WrongProtocol::Http),
    (b"OPTIONS ", WrongProtocol::Http),
    (b"CONNECT ", WrongProtocol::Http),
    (b"DELETE ", WrongProtocol::Http),
    (b"PRI * HTTP/2", WrongProtocol::Http),
    (b"EHLO ", WrongProtocol::Smtp),
    (b"HELO ", WrongProtocol::Smtp),
    (b"SSH-", WrongProtocol::Ssh),
    (b"PROXY ", WrongProtocol::Proxy),
    (b"\r\n\r\n\0\r\nQUIT\n", WrongProtocol::Proxy),
];

impl fmt::Display for WrongProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Smtp => "SMTP",
            Self::Ssh => "SSH",
            Self::Proxy => "the PROXY protocol",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_protocols_are_recognised() {
        for (octets, protocol) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], Some(WrongProtocol::Tls)),
            (b"GET / HTTP/1.1\r\n", Some(WrongProtocol::Http)),
            (b"EHLO mail.example.org\r\n", Some(WrongProtocol::Smtp)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some(WrongProtocol::Ssh)),
            (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 110\r\n", Some(WrongProtocol::Proxy)),
            (b"PROXY UNKNOWN\r\nUSER mrose\r\n", Some(WrongProtocol::Proxy)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c", Some(WrongProtocol::Proxy)),
            (b"PATCH /mail HTTP/1.1\r\n", Some(WrongProtocol::Http)),
            (b"TRACE / HTTP/1.1\r\nHost: pop.example.org\r\n", Some(WrongProtocol::Http)),
            (b"PROPFIND * HTTP/1.0\n", Some(WrongProtocol::Http)),
            (b"PATCH /mail HTTP/1.1", None),
            (b"USER /\r\nTRACE / HTTP/1.1\r\n", None),
            (b"PASS HTTP/1.1\r\n", None),
            (b"CAPA\r\n", None),
            (b"USER mrose\r\n", None),
            (b"\r\n\r\nQUIT\r\n", None),
            (b"", None),
        ] {
            assert_eq!(WrongProtocol::recognise(octets), protocol, "{}", octets.escape_ascii());
        }
    }

    #[test]
    fn only_the_beginning_of_a_word_may_become_one() {
        for (octets, may) in [
            (&b""[..], true),
            (b"P", true),
            (b"PROX", true),
            (b"PASS", false),
            (b"DELE", true),
            (b"DELE 1", false),
            (b"\r", true),
            (b"\r\n", false),
        ] {
            assert_eq!(WrongProtocol::may_follow(octets), may, "{}", octets.escape_ascii());
        }
    }
}
