//! Bodies: however a message comes in, the same octets go out, a client gets the message back, and
//! they are as many as LIST says (RFC 1939 §3, §11).

#![no_main]

use libfuzzer_sys::fuzz_target;
use restante::protocol::{BodyLines, Encoder, Extent, OctetCounter, Progress};

fuzz_target!(|input: (Option<u8>, Vec<u8>, Vec<u8>)| {
    let (lines, cuts, message) = input;
    let extent = || match lines {
        None => Extent::Whole,
        Some(lines) => Extent::Top(BodyLines(u64::from(lines))),
    };
    let mut at_once = Vec::new();
    let mut encoder = Encoder::new(extent());
    encoder.encode(&message, &mut at_once);
    encoder.finish(&mut at_once);

    let (mut pieces, mut counter) = (Vec::new(), OctetCounter::new());
    let mut encoder = Encoder::new(extent());
    let mut rest = message.as_slice();
    let mut complete = false;
    for cut in cuts.into_iter().chain([u8::MAX].into_iter().cycle()) {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(cut)));
        counter.update(piece);
        complete = complete || encoder.encode(piece, &mut pieces) == Progress::Complete;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    encoder.finish(&mut pieces);
    assert_eq!(pieces, at_once);

    let decoded = decode(&pieces);
    match extent() {
        Extent::Whole => {
            assert_eq!(decoded, normal(&message));
            assert_eq!(decoded.len() as u64, counter.finish());
        }
        Extent::Top(_) => assert!(normal(&message).starts_with(&decoded)),
    }
});

/// What a client makes of it; fails where it ends early or late.
fn decode(mut wire: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    loop {
        let end = wire.windows(2).position(|two| two == b"\r\n").expect("a whole line");
        let (line, rest) = (&wire[..end], &wire[end + 2..]);
        assert!(!line.contains(&b'\n'), "a bare LF");
        if line == b"." {
            assert!(rest.is_empty(), "octets after the final dot");
            return message;
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        message.extend_from_slice(b"\r\n");
        wire = rest;
    }
}

/// The message with CRLF at the end of each line, the last one too.
fn normal(message: &[u8]) -> Vec<u8> {
    let mut normal = Vec::new();
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => normal.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line)),
            None => normal.extend_from_slice(line),
        }
        normal.extend_from_slice(b"\r\n");
    }
    normal
}
