//! Peers that speak something else: recognised by their first octets, and told apart in the log.

use std::fmt;

/// A protocol that is not POP3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// A TLS handshake where plain text is expected.
    Tls,
    /// A web browser, or somebody who makes one attack (ALPACA).
    Http,
    /// A mail transport.
    Smtp,
    /// A secure shell.
    Ssh,
}

impl Stranger {
    /// Looks at the first octets that came; a POP3 command is never taken for a stranger.
    pub fn recognise(octets: &[u8]) -> Option<Self> {
        const WORDS: [(&[u8], Stranger); 12] = [
            (b"\x16\x03", Stranger::Tls),
            (b"GET ", Stranger::Http),
            (b"POST ", Stranger::Http),
            (b"PUT ", Stranger::Http),
            (b"HEAD ", Stranger::Http),
            (b"OPTIONS ", Stranger::Http),
            (b"CONNECT ", Stranger::Http),
            (b"DELETE ", Stranger::Http),
            (b"PRI * HTTP/2", Stranger::Http),
            (b"EHLO ", Stranger::Smtp),
            (b"HELO ", Stranger::Smtp),
            (b"SSH-", Stranger::Ssh),
        ];
        WORDS.into_iter().find(|(word, _)| octets.starts_with(word)).map(|(_, stranger)| stranger)
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Smtp => "SMTP",
            Self::Ssh => "SSH",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told_apart() {
        for (octets, stranger) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], Some(Stranger::Tls)),
            (b"GET / HTTP/1.1\r\n", Some(Stranger::Http)),
            (b"EHLO mail.example.org\r\n", Some(Stranger::Smtp)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some(Stranger::Ssh)),
            (b"CAPA\r\n", None),
            (b"USER mrose\r\n", None),
            (b"", None),
        ] {
            assert_eq!(Stranger::recognise(octets), stranger, "{}", octets.escape_ascii());
        }
    }
}
