//! A lenient parser for `ClientHello`: to explain why a handshake failed, and to find an invalid
//! server name.

use std::ops::Range;

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{CipherSuite, NamedGroup};

/// What a client offers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The newest version of TLS.
    pub(super) version: u16,
    pub(super) cipher_suites: Vec<CipherSuite>,
    pub(super) groups: Vec<NamedGroup>,
    /// The host that it names, if the name is valid.
    pub(super) host: Option<String>,
}

impl Hello {
    /// Parses the first octets of a connection, which include the whole first record.
    pub(super) fn read(first: &[u8]) -> Option<Self> {
        if is_ssl2(first) {
            let version = u16_at(first, 3)?;
            let (cipher_suites, groups) = (Vec::new(), Vec::new());
            return Some(Self { version, cipher_suites, groups, host: None });
        }
        let message = first.get(RECORD_HEADER..).filter(|_| first.first() == Some(&HANDSHAKE))?;
        let mut parts = Parts::of(message)?;
        let cipher_suites = u16s(parts.suites).map(CipherSuite::from).collect();
        let (mut version, mut groups, mut host) = (parts.version, Vec::new(), None);
        while let Some((kind, body)) = parts.extension() {
            let body = message.get(body)?;
            match kind {
                SERVER_NAME => host = host_name(body).map(str::to_owned),
                GROUPS => groups = u16s(body.get(2..)?).map(NamedGroup::from).collect(),
                // Reserved values (RFC 8701) are not versions.
                VERSIONS => version = u16s(body.get(1..)?).filter(|v| v >> 8 == 3).max()?,
                _ => {}
            }
        }
        Some(Self { version, cipher_suites, groups, host })
    }
}

/// How many octets are needed to recognise the beginning of a connection.
pub(super) fn octets_needed(first: &[u8]) -> usize {
    match (first.first(), u16_at(first, 3)) {
        (Some(&HANDSHAKE), Some(length)) if length <= LONGEST_RECORD => {
            RECORD_HEADER + usize::from(length)
        }
        // The TLS library refuses a longer one as soon as it sees its header.
        (Some(&HANDSHAKE), _) => RECORD_HEADER,
        (Some(0x80..), _) => RECORD_HEADER,
        (Some(_) | None, _) => 1,
    }
}

/// Whether it is a hello of SSL 2.0, as from clients that supported at most TLS 1.0 (RFC 5246,
/// Appendix E.2).
pub(super) fn is_ssl2(first: &[u8]) -> bool {
    matches!(first, [0x80..=0xff, _, CLIENT_HELLO, 0..=3, _, ..])
}

/// The offset of the type of an extension of this `kind` that does not name a valid host.
///
/// - The message may be truncated, as for the verification of PSK binders.
pub(super) fn invalid_server_name(message: &[u8], kind: u16) -> Option<usize> {
    let mut parts = Parts::of(message)?;
    while let Some((found, body)) = parts.extension() {
        if found == kind {
            let start = body.start.checked_sub(4)?;
            return host_name(message.get(body)?).is_none().then_some(start);
        }
    }
    None
}

/// The single host or address in a `server_name` extension (RFC 6066 §3). `None` if it has another
/// content, or a name that the TLS library refuses.
fn host_name(body: &[u8]) -> Option<&str> {
    let [_, _, 0, _, _, name @ ..] = body else { return None };
    let whole = usize::from(u16_at(body, 0)?) == body.len() - 2;
    let alone = usize::from(u16_at(body, 3)?) == name.len();
    let good = whole && alone && ServerName::try_from(name).is_ok();
    good.then(|| std::str::from_utf8(name).ok())?
}

/// The octets in the place of the name in a `server_name` extension, for the log.
pub(super) fn alleged_name(message: &[u8], at: usize) -> &[u8] {
    let body = u16_at(message, at + 2)
        .and_then(|length| message.get(at + 4..at + 4 + usize::from(length)))
        .unwrap_or_default();
    body.get(5..).unwrap_or(body)
}

/// The parts of a `ClientHello`.
struct Parts<'a> {
    message: &'a [u8],
    version: u16,
    suites: &'a [u8],
    /// Where the next extension begins.
    next: usize,
}

impl<'a> Parts<'a> {
    fn of(message: &'a [u8]) -> Option<Self> {
        let [CLIENT_HELLO, ..] = message else { return None };
        let version = u16_at(message, MESSAGE_HEADER)?;
        let session_id = MESSAGE_HEADER + 2 + 32;
        let suites = session_id + 1 + usize::from(*message.get(session_id)?);
        let suites_end = suites + 2 + usize::from(u16_at(message, suites)?);
        let next = suites_end + 1 + usize::from(*message.get(suites_end)?) + 2;
        Some(Self { message, version, suites: message.get(suites + 2..suites_end)?, next })
    }

    /// The type of the next extension, and the range of its octets.
    fn extension(&mut self) -> Option<(u16, Range<usize>)> {
        let kind = u16_at(self.message, self.next)?;
        let start = self.next + 4;
        let body = start..start + usize::from(u16_at(self.message, self.next + 2)?);
        self.next = body.end;
        (body.end <= self.message.len()).then_some((kind, body))
    }
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    let pair = octets.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

fn u16s(octets: &[u8]) -> impl Iterator<Item = u16> {
    octets.chunks_exact(2).filter_map(|pair| u16_at(pair, 0))
}

pub(super) const RECORD_HEADER: usize = 5;
/// The limit of TLS 1.2; that of TLS 1.3 is lower.
const LONGEST_RECORD: u16 = (1 << 14) + 2048;
pub(super) const SERVER_NAME: u16 = 0;
const MESSAGE_HEADER: usize = 4;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const GROUPS: u16 = 10;
const VERSIONS: u16 = 43;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record with a `ClientHello` of TLS 1.2 with these extensions.
    pub(in super::super) fn record(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        record_of(0x0303, &[0xc02b, 0x00ff], extensions)
    }

    /// Like [`record`], with a version and cipher suites.
    pub(in super::super) fn record_of(
        version: u16,
        suites: &[u16],
        extensions: &[(u16, &[u8])],
    ) -> Vec<u8> {
        let short = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        let mut list = Vec::new();
        for (kind, body) in extensions {
            list.extend_from_slice(&kind.to_be_bytes());
            list.extend_from_slice(&short(body.len()));
            list.extend_from_slice(body);
        }
        let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let hello = [
            &version.to_be_bytes()[..],
            &[7; 32],
            &[2, 9, 9],
            &short(suites.len()),
            &suites,
            &[1, 0],
            &short(list.len()),
            &list,
        ]
        .concat();
        let header = [CLIENT_HELLO, 0];
        let message = [&header[..], &short(hello.len()), &hello].concat();
        [&[HANDSHAKE, 3, 1][..], &short(message.len()), &message].concat()
    }

    /// The body of a `server_name` extension.
    pub(in super::super) fn names(name: &[u8]) -> Vec<u8> {
        let length = u8::try_from(name.len()).unwrap();
        [&[0, length + 3, 0, 0, length], name].concat()
    }

    #[test]
    fn a_hello_is_parsed() {
        let name = names(b"pop.example.org");
        let extensions: [(u16, &[u8]); 4] = [
            (0x0a0a, b""),
            (SERVER_NAME, &name),
            (GROUPS, &[0, 4, 0, 29, 0, 23]),
            (VERSIONS, &[6, 0x1a, 0x1a, 3, 3, 3, 4]),
        ];
        let record = record(&extensions);
        assert_eq!(octets_needed(&record), record.len());
        let hello = Hello::read(&record).unwrap();
        assert_eq!(hello.version, 0x0304);
        assert_eq!(hello.cipher_suites[0], CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
        assert_eq!(hello.groups, [NamedGroup::X25519, NamedGroup::secp256r1]);
        assert_eq!(hello.host.as_deref(), Some("pop.example.org"));
    }

    #[test]
    fn the_hello_of_ssl_2_has_a_version() {
        let hello = [0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10];
        assert!(is_ssl2(&hello));
        assert_eq!(Hello::read(&hello).unwrap().version, 0x0301);
        assert!(!is_ssl2(b"CAPA\r\n") && Hello::read(b"CAPA\r\n").is_none());
    }

    #[test]
    fn invalid_server_names() {
        let long = [b'a'; 64];
        for (name, good) in [
            (&b"pop.example.org"[..], true),
            (b"POP.example.org.", true),
            (b"under_score.example.org", true),
            (b"192.0.2.1", true),
            (b"::1", true),
            (b"[::1]", false),
            (b"pop.example.org:995", false),
            (b"-pop.example.org", false),
            (b"p\xc3\xb6p.example.org", false),
            (b"pop..example.org", false),
            (b"", false),
            (&long, false),
        ] {
            let body = names(name);
            let record = record(&[(5, b"xx"), (SERVER_NAME, &body), (GROUPS, &[0, 2, 0, 29])]);
            let message = &record[RECORD_HEADER..];
            let at = invalid_server_name(message, SERVER_NAME);
            assert_eq!(at.is_none(), good, "{}", name.escape_ascii());
            if let Some(at) = at {
                assert_eq!(u16_at(message, at), Some(SERVER_NAME));
                assert_eq!(alleged_name(message, at), name);
            }
        }
        for body in [&b""[..], &[0, 0], &[0, 4, 1, 0, 1, 9], &[0, 5, 0, 0, 1, b'a', 0]] {
            let record = record(&[(SERVER_NAME, body)]);
            assert!(
                invalid_server_name(&record[RECORD_HEADER..], SERVER_NAME).is_some(),
                "{body:?}"
            );
        }
        assert_eq!(invalid_server_name(&record(&[])[RECORD_HEADER..], SERVER_NAME), None);
    }

    proptest! {
        #[test]
        fn no_octets_make_it_panic(
            octets in prop::collection::vec(any::<u8>(), 0..300),
            from in 0..400_usize,
        ) {
            let name = names(b"[::1]");
            let mut spoilt = record(&[(SERVER_NAME, &name), (VERSIONS, &[2, 3, 4])]);
            let from = from.min(spoilt.len());
            spoilt.truncate(from);
            spoilt.extend_from_slice(&octets);
            for octets in [&octets, &spoilt] {
                octets_needed(octets);
                Hello::read(octets);
                if let Some(at) = invalid_server_name(octets, SERVER_NAME) {
                    alleged_name(octets, at);
                }
            }
        }
    }
}
