//! Lines: the output does not depend on how the octets are cut into chunks, and memory is bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restante::protocol::{LineDecoder, LineError, LineLimit};

fuzz_target!(|input: (bool, Vec<u8>, Vec<u8>)| {
    let (response, cuts, octets) = input;
    let limit = if response { LineLimit::Response } else { LineLimit::Command };
    let mut whole = LineDecoder::default();
    whole.push(&octets);
    let mut pieces = LineDecoder::default();
    let (mut rest, mut lines) = (octets.as_slice(), Vec::new());
    for cut in cuts.into_iter().chain([u8::MAX].into_iter().cycle()) {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(cut)));
        pieces.push(piece);
        take(&mut pieces, limit, &mut lines);
        assert!(pieces.unread().len() <= 16 * 1024 + usize::from(u8::MAX));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let mut expected = Vec::new();
    take(&mut whole, limit, &mut expected);
    assert_eq!(lines, expected);
});

fn take(decoder: &mut LineDecoder, limit: LineLimit, lines: &mut Vec<Result<Vec<u8>, LineError>>) {
    loop {
        match decoder.next_line(limit) {
            Ok(Some(line)) => {
                assert!(!line.contains(&b'\n') && !line.contains(&b'\0'));
                lines.push(Ok(line.to_vec()));
            }
            Ok(None) => return,
            Err(fault) => lines.push(Err(fault)),
        }
    }
}
