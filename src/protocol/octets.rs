//! The octets of a message as RETR sends it, counted from its stored bytes.
//!
//! Lines end in CRLF, however the store ends them. Dot-stuffing is not counted (RFC 1939 §11).

use memchr::{memchr, memchr_iter};

/// Counts the octets of a message from its stored bytes, in chunks of any size.
///
/// - An LF without a CR before it is sent as CRLF and counts as two octets.
/// - A CR without an LF after it is data and counts as one.
/// - A message that does not end in an LF gets a CRLF, two octets more; an empty one stays empty.
#[derive(Clone, Debug, Default)]
pub struct OctetCounter {
    octets: u64,
    last: Option<u8>,
}

impl OctetCounter {
    /// A counter at the start of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next stored bytes.
    pub fn update(&mut self, chunk: &[u8]) {
        let Some(&last) = chunk.last() else { return };
        self.octets += chunk.len() as u64 + self.bare_line_feeds(chunk);
        self.last = Some(last);
    }

    /// Takes `length` zero bytes, which a hole in a file reads as. They are data and end no line.
    pub fn update_zeros(&mut self, length: u64) {
        if length > 0 {
            self.octets = self.octets.saturating_add(length);
            self.last = Some(0);
        }
    }

    /// The octets of the whole message.
    pub fn finish(&self) -> u64 {
        match self.last {
            None | Some(b'\n') => self.octets,
            Some(_) => self.octets + 2,
        }
    }

    fn bare_line_feeds(&self, chunk: &[u8]) -> u64 {
        let line_feeds = memchr_iter(b'\n', chunk).count();
        let split = self.last == Some(b'\r') && chunk.first() == Some(&b'\n');
        // Stored mail seldom has a CR at all: one fast search saves the search for pairs.
        let paired = match memchr(b'\r', chunk) {
            None => 0,
            Some(first) => chunk
                .get(first..)
                .unwrap_or_default()
                .windows(2)
                .filter(|&pair| pair == b"\r\n")
                .count(),
        };
        (line_feeds - paired - usize::from(split)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &[(&[u8], u64)] = &[
        (b"", 0),
        (b"\n", 2),
        (b"\r\n", 2),
        (b"\r", 3),
        (b"x", 3),
        (b"x\r", 4),
        (b"x\n", 3),
        (b"x\r\n", 3),
        (b"\r\r\n", 3),
        (b"\r\n\n\r\n", 6),
        (b"a\nb\r\nc", 9),
        (b"a\rb\n\r", 8),
        (b".\n..\n.", 10),
        (b"\0\xff\n\0", 7),
    ];

    #[test]
    fn a_hole_counts_like_the_zeros_that_it_reads_as() {
        for before in [&b""[..], b"a\r", b"a\n"] {
            for after in [&b""[..], b"\n", b"\r\n", b"b"] {
                for zeros in [0, 1, 5] {
                    let (mut counter, mut expected) = (OctetCounter::new(), OctetCounter::new());
                    counter.update(before);
                    counter.update_zeros(zeros as u64);
                    counter.update(after);
                    expected.update(&[before, &vec![0; zeros], after].concat());
                    assert_eq!(counter.finish(), expected.finish(), "{before:?} {zeros} {after:?}");
                }
            }
        }
    }

    #[test]
    fn counts_what_retr_sends() {
        for &(stored, octets) in CASES {
            let mut counter = OctetCounter::new();
            counter.update(stored);
            assert_eq!(counter.finish(), octets, "{}", stored.escape_ascii());
        }
    }

    #[test]
    fn chunks_may_be_split_anywhere() {
        for &(stored, octets) in CASES {
            for first in 0..=stored.len() {
                for second in first..=stored.len() {
                    let mut counter = OctetCounter::new();
                    counter.update(&stored[..first]);
                    counter.update(&stored[first..second]);
                    counter.update(&stored[second..]);
                    assert_eq!(counter.finish(), octets, "{}", stored.escape_ascii());
                }
            }
        }
    }

    /// Sends a message byte by byte, as the RFC describes it.
    fn sent(stored: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        for &byte in stored {
            if byte == b'\n' && sent.last() != Some(&b'\r') {
                sent.push(b'\r');
            }
            sent.push(byte);
        }
        if !matches!(stored.last(), None | Some(b'\n')) {
            sent.extend_from_slice(b"\r\n");
        }
        sent
    }

    proptest::proptest! {
        #[test]
        fn counts_the_octets_of_a_simple_encoder(
            stored in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::strategy::Just(b'\r'),
                    proptest::strategy::Just(b'\n'),
                    proptest::prelude::any::<u8>(),
                ],
                0..200,
            ),
            size in 1..20_usize,
        ) {
            let mut counter = OctetCounter::new();
            for chunk in stored.chunks(size) {
                counter.update(chunk);
            }
            proptest::prop_assert_eq!(counter.finish(), sent(&stored).len() as u64);
        }
    }
}
