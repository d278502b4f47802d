//! Bodies: the output does not depend on how a message is cut into chunks, a client decodes it to the
//! same message, and the octets are those of LIST (RFC 1939 §3, §11).

#![no_main]

use libfuzzer_sys::fuzz_target;
use restante::protocol::{BodyLines, Encoder, Extent, OctetCounter, Progress};

#[path = "../../src/protocol/body/tests/reference.rs"]
mod reference;

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

    let decoded = reference::decoded(&pieces);
    match extent() {
        Extent::Whole => {
            assert_eq!(decoded, reference::normalised(&message));
            assert_eq!(decoded.len() as u64, counter.finish());
        }
        Extent::Top(_) => assert!(reference::normalised(&message).starts_with(&decoded)),
    }
});
