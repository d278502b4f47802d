//! Headers of both versions, whole, in pieces and damaged.

use proptest::prelude::*;

use super::*;

/// A header of version 2 with this command, family, addresses and fields.
fn binary(command: u8, family: u8, rest: &[&[u8]]) -> Vec<u8> {
    let rest = rest.concat();
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [BINARY, &[command, family], &length, &rest].concat()
}

/// A field of version 2.
fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], value].concat()
}

/// Client 192.0.2.7, port 4711.
const ADDRESSES: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 110];

fn client(text: &str) -> Header {
    Header { client: Some(text.parse().unwrap()), ..Header::default() }
}

/// The header in these octets, all of which belong to it.
fn whole(octets: &[u8]) -> Header {
    match Header::read(octets) {
        Ok(Progress::Whole(header, length)) if length == octets.len() => header,
        other => panic!("{}: {other:?}", octets.escape_ascii()),
    }
}

#[test]
fn the_client_is_named_in_either_version() {
    let six: Vec<u8> = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]; 2].concat();
    let mapped: Vec<u8> = [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7]; 2].concat();
    let ports: &[u8] = &[0x12, 0x67, 0, 110];
    for (octets, expected) in [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 110\r\n".to_vec(), client("192.0.2.7:4711")),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 995\r\n".to_vec(), client("[2001:db8::7]:4711")),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 995\r\n".to_vec(), client("192.0.2.7:4711")),
        (binary(0x21, 0x11, &[ADDRESSES]), client("192.0.2.7:4711")),
        (binary(0x21, 0x21, &[&six, ports]), client("[2001:db8::7]:4711")),
        (binary(0x21, 0x21, &[&mapped, ports]), client("192.0.2.7:4711")),
        (binary(0x21, 0x11, &[ADDRESSES, &field(0xea, b"vpc")]), client("192.0.2.7:4711")),
        // Without a client.
        (b"PROXY UNKNOWN\r\n".to_vec(), Header::default()),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), Header::default()),
        (binary(0x20, 0, &[]), Header::default()),
        (binary(0x20, 0x11, &[ADDRESSES]), Header::default()),
        (binary(0x20, 0x77, &[b"anything"]), Header::default()),
        (binary(0x21, 0, &[]), Header::default()),
        (binary(0x21, 0x31, &[&[0; 216]]), Header::default()),
    ] {
        assert_eq!(whole(&octets), expected, "{}", octets.escape_ascii());
    }
}

/// As `send-proxy-v2-ssl` sends it: flags, the result of the verification, the version.
#[test]
fn tls_of_the_client_is_known_by_the_field_for_it() {
    let ssl = |flags: u8, version: &[u8]| {
        field(0x20, &[&[flags, 0, 0, 0, 0][..], &field(0x21, version)].concat())
    };
    for (flags, version, expected) in [
        (1, &b"TLSv1.3"[..], Some("1.3")),
        (1, b"TLSv1.2", Some("1.2")),
        (7, b"TLSv1.2", Some("1.2")),
        (1, b"QUIC", Some("unknown")),
        (0, b"TLSv1.3", None),
    ] {
        let name = field(2, b"pop.example.org");
        let header = whole(&binary(0x21, 0x11, &[ADDRESSES, &name, &ssl(flags, version)]));
        assert_eq!(header.tls, expected);
        assert_eq!(header.host.as_deref(), Some("pop.example.org"));
    }
    // Only the proxy itself speaks here.
    let local = whole(&binary(0x20, 0x11, &[ADDRESSES, &ssl(1, b"TLSv1.3")]));
    assert_eq!(local, Header::default());
}

#[test]
fn what_follows_the_header_is_not_part_of_it() {
    let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 110\r\n".to_vec();
    let binary = binary(0x21, 0x11, &[ADDRESSES, &field(4, &[0; 300])]);
    for header in [text, binary] {
        for follows in [&b"USER mrose\r\n"[..], b"\x16\x03\x01\x02\x00", b"\r\n", b"PROXY "] {
            let octets = [&header, follows].concat();
            for given in 0..=octets.len() {
                let progress = Header::read(&octets[..given]);
                match given < header.len() {
                    true => assert_eq!(progress, Ok(Progress::Incomplete), "{given}"),
                    false => assert_eq!(
                        progress,
                        Ok(Progress::Whole(client("192.0.2.7:4711"), header.len()))
                    ),
                }
            }
        }
    }
}

#[test]
fn other_octets_are_refused_at_once() {
    let long = [b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat();
    let mut too_long = binary(0x21, 0x11, &[ADDRESSES]);
    too_long[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
    for (octets, expected) in [
        (b"U".to_vec(), HeaderError::Missing),
        (b"PA".to_vec(), HeaderError::Missing),
        (b"CAPA\r\n".to_vec(), HeaderError::Missing),
        (b"proxy TCP4 ".to_vec(), HeaderError::Missing),
        (b"\x16\x03\x01\x02\x00".to_vec(), HeaderError::Missing),
        (b"\r\nQUIT\r\n".to_vec(), HeaderError::Missing),
        (b"PROXY\tUNKNOWN\r\n".to_vec(), HeaderError::Missing),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 110\n".to_vec(), HeaderError::Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n".to_vec(), HeaderError::Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 110 9\r\n".to_vec(), HeaderError::Malformed),
        (b"PROXY TCP4 192.0.2.256 198.51.100.1 4711 110\r\n".to_vec(), HeaderError::Malformed),
        (b"PROXY TCP4 ::1 ::1 4711 110\r\n".to_vec(), HeaderError::Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 99999 110\r\n".to_vec(), HeaderError::Malformed),
        (b"PROXY \r\n".to_vec(), HeaderError::Malformed),
        (b"PROXY UDP4 192.0.2.7 198.51.100.1 4711 110\r\n".to_vec(), HeaderError::Malformed),
        (long, HeaderError::TooLong),
        (too_long, HeaderError::TooLong),
        (binary(0x11, 0x11, &[ADDRESSES]), HeaderError::Malformed),
        (binary(0x22, 0x11, &[ADDRESSES]), HeaderError::Malformed),
        (binary(0x21, 0x11, &[&ADDRESSES[..11]]), HeaderError::Malformed),
        (binary(0x21, 0x41, &[ADDRESSES]), HeaderError::Malformed),
        (binary(0x21, 0x11, &[ADDRESSES, &[0x20, 0, 9, 1]]), HeaderError::Malformed),
        (binary(0x21, 0x11, &[ADDRESSES, &field(0x20, &[1, 0])]), HeaderError::Malformed),
        (binary(0x21, 0x12, &[ADDRESSES]), HeaderError::NotTcp),
        (binary(0x21, 0x11, &[ADDRESSES, &field(3, &[0; 4])]), HeaderError::Checksum),
    ] {
        assert_eq!(Header::read(&octets), Err(expected), "{}", octets.escape_ascii());
    }
}

#[test]
fn a_checksum_is_verified_wherever_it_is() {
    // The examples of iSCSI (Appendix B.4 of its RFC), and the check value of the algorithm.
    assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
    for padding in [0, 5] {
        let (name, noop) = (field(2, b"pop.example.org"), field(4, &vec![9; padding]));
        let mut octets = binary(0x21, 0x11, &[ADDRESSES, &name, &field(3, &[0; 4]), &noop]);
        let at = octets.len() - noop.len() - 4;
        let checksum = crc32c(octets.iter().copied()).to_be_bytes();
        octets[at..at + 4].copy_from_slice(&checksum);
        assert_eq!(whole(&octets).client, client("192.0.2.7:4711").client);
        octets[16] ^= 1;
        assert_eq!(Header::read(&octets), Err(HeaderError::Checksum));
    }
}

proptest! {
    /// What a session does with arbitrary octets does not depend on how they arrive.
    #[test]
    fn no_octets_make_it_panic_or_change_its_mind(
        version in 0..3_usize,
        octets in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let start = [&b""[..], b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00"][version];
        let octets = [start, &octets].concat();
        let outcome = Header::read(&octets);
        for given in 0..octets.len() {
            match Header::read(&octets[..given]) {
                Ok(Progress::Incomplete) => {}
                Ok(Progress::Whole(header, length)) => {
                    prop_assert!(length <= given);
                    prop_assert_eq!(&outcome, &Ok(Progress::Whole(header, length)));
                }
                Err(error) => prop_assert_eq!(&outcome, &Err(error)),
            }
        }
    }
}
