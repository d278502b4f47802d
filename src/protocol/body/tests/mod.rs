//! Messages of every kind, encoded in pieces of every size and decoded again.

use proptest::prelude::*;

use self::reference::{decoded, normalised};
use super::*;
use crate::protocol::OctetCounter;

mod reference;

fn encoded(extent: Extent, chunks: &[&[u8]]) -> Vec<u8> {
    let mut encoder = Encoder::new(extent);
    let mut out = Vec::new();
    for chunk in chunks {
        let before = out.len();
        if encoder.encode(chunk, &mut out) == Progress::Complete {
            break;
        }
        assert!(out.len() - before <= 2 * chunk.len() + 1);
    }
    encoder.finish(&mut out);
    out
}

fn top(lines: u64) -> Extent {
    Extent::Top(BodyLines(lines))
}

fn counted(stored: &[u8]) -> u64 {
    let mut counter = OctetCounter::new();
    counter.update(stored);
    counter.finish()
}

#[test]
fn every_way_a_message_can_end_and_begin() {
    for (stored, wire) in [
        (&b""[..], &b".\r\n"[..]),
        (b"\n", b"\r\n.\r\n"),
        (b"a\n", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r", b"a\r\r\n.\r\n"),
        (b"\r", b"\r\r\n.\r\n"),
        (b"a\r\r\n", b"a\r\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\n", b"..\r\n.\r\n"),
        (b"..\n", b"...\r\n.\r\n"),
        (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r.b\n", b"a\r.b\r\n.\r\n"),
        (b"\0\xff\n", b"\0\xff\r\n.\r\n"),
    ] {
        let shown = stored.escape_ascii();
        assert_eq!(encoded(Extent::Whole, &[stored]), wire, "{shown}");
        let bytes: Vec<&[u8]> = stored.chunks(1).collect();
        assert_eq!(encoded(Extent::Whole, &bytes), wire, "{shown}, byte by byte");
    }
}

#[test]
fn top_counts_lines_of_the_body_only() {
    let stored = b"From: a\nSubject: b\n\none\n.two\n\nfour";
    for (lines, wire) in [
        (0, &b"From: a\r\nSubject: b\r\n\r\n.\r\n"[..]),
        (1, b"From: a\r\nSubject: b\r\n\r\none\r\n.\r\n"),
        (2, b"From: a\r\nSubject: b\r\n\r\none\r\n..two\r\n.\r\n"),
        (3, b"From: a\r\nSubject: b\r\n\r\none\r\n..two\r\n\r\n.\r\n"),
        (4, b"From: a\r\nSubject: b\r\n\r\none\r\n..two\r\n\r\nfour\r\n.\r\n"),
        (u64::MAX, b"From: a\r\nSubject: b\r\n\r\none\r\n..two\r\n\r\nfour\r\n.\r\n"),
    ] {
        for at in 0..=stored.len() {
            let (head, tail) = stored.split_at(at);
            assert_eq!(encoded(top(lines), &[head, tail]), wire, "{lines} lines, split {at}");
        }
    }
}

#[test]
fn top_of_unusual_messages() {
    for (stored, lines, wire) in [
        (&b"Subject: only a header\n"[..], 0, &b"Subject: only a header\r\n.\r\n"[..]),
        (b"Subject: only a header", 5, b"Subject: only a header\r\n.\r\n"),
        (b"a\r\n\r\nb\r\n", 0, b"a\r\n\r\n.\r\n"),
        (b"\nbody\n", 0, b"\r\n.\r\n"),
        (b"a\n\r\r\nb\n\nc\n", 0, b"a\r\n\r\r\nb\r\n\r\n.\r\n"),
        (b"", 3, b".\r\n"),
    ] {
        let shown = stored.escape_ascii();
        for at in 0..=stored.len() {
            let (head, tail) = stored.split_at(at);
            assert_eq!(encoded(top(lines), &[head, tail]), wire, "{shown}, split at {at}");
        }
    }
}

#[test]
fn top_needs_no_octet_after_the_requested_lines() {
    let mut encoder = Encoder::new(top(1));
    let mut out = Vec::new();
    assert_eq!(encoder.encode(b"a\n\nb", &mut out), Progress::More);
    assert_eq!(encoder.encode(b"\nc\nd\n", &mut out), Progress::Complete);
    assert_eq!(encoder.encode(b"e\n", &mut out), Progress::Complete);
    encoder.finish(&mut out);
    assert_eq!(out, b"a\r\n\r\nb\r\n.\r\n");
}

/// All strings of up to five of the octets that matter.
#[test]
fn no_message_can_end_its_reply_early() {
    let octets = b"\r\n.\0a";
    let mut stored: Vec<Vec<u8>> = vec![Vec::new()];
    for _ in 0..5 {
        stored = stored
            .iter()
            .flat_map(|s| octets.iter().map(|o| [s.as_slice(), &[*o]].concat()))
            .chain(stored.clone())
            .collect();
        stored.sort();
        stored.dedup();
    }
    for message in &stored {
        let wire = encoded(Extent::Whole, &[message]);
        assert_eq!(decoded(&wire), normalised(message), "{}", message.escape_ascii());
        assert_eq!(counted(message), normalised(message).len() as u64);
    }
}

fn awkward() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        4 => prop::sample::select(&b"\r\n.\0a"[..]),
        1 => any::<u8>(),
    ];
    prop::collection::vec(octet, 0..400)
}

proptest! {
    #[test]
    fn a_client_decodes_any_bytes_at_any_split(
        stored in awkward(),
        cuts in prop::collection::vec(0usize..400, 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(stored.len())).collect();
        cuts.extend([0, stored.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &stored[w[0]..w[1]]).collect();
        let wire = encoded(Extent::Whole, &chunks);
        let message = decoded(&wire);
        prop_assert_eq!(&message, &normalised(&stored));
        prop_assert_eq!(counted(&stored), message.len() as u64);
    }

    #[test]
    fn top_with_a_huge_count_is_the_whole_message(stored in awkward()) {
        prop_assert_eq!(
            encoded(top(u64::MAX), &[&stored]),
            encoded(Extent::Whole, &[&stored])
        );
    }

    #[test]
    fn top_is_the_beginning_of_the_message(stored in awkward(), lines in 0u64..6) {
        let all = decoded(&encoded(Extent::Whole, &[&stored]));
        let some = decoded(&encoded(top(lines), &[&stored]));
        prop_assert!(all.starts_with(&some));
    }
}
