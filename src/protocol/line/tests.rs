//! Lines, good and bad, in pieces of every size.

use proptest::prelude::*;

use super::*;

type Lines = Vec<Result<Vec<u8>, LineError>>;

fn drain(decoder: &mut LineDecoder, limit: LineLimit, lines: &mut Lines) {
    loop {
        match decoder.next_line(limit) {
            Ok(Some(line)) => lines.push(Ok(line.to_vec())),
            Ok(None) => return,
            Err(error) => lines.push(Err(error)),
        }
    }
}

fn lines_of(pieces: &[&[u8]], limit: LineLimit) -> Lines {
    let mut decoder = LineDecoder::default();
    let mut lines = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        drain(&mut decoder, limit, &mut lines);
    }
    lines
}

#[test]
fn a_line_ends_at_lf_wherever_the_input_is_split() {
    let input = b"STAT\r\nNOOP\n\r\nPASS a b \r\n";
    let wanted: Lines =
        [&b"STAT"[..], b"NOOP", b"", b"PASS a b "].iter().map(|l| Ok(l.to_vec())).collect();
    for at in 0..=input.len() {
        let (head, tail) = input.split_at(at);
        assert_eq!(lines_of(&[head, tail], LineLimit::Command), wanted, "split at {at}");
    }
}

#[test]
fn nul_and_bare_cr_are_errors_of_one_line() {
    let lines = lines_of(&[b"NO\0OP\r\nNO\rOP\r\nNOOP\r\r\nNOOP\r\n"], LineLimit::Command);
    let error = || Err(LineError::ForbiddenOctet);
    assert_eq!(lines, [error(), error(), error(), Ok(b"NOOP".to_vec())]);
}

#[test]
fn the_longest_command_has_255_octets() {
    for (length, fits) in [(253, true), (254, false), (255, false)] {
        let mut line = vec![b'x'; length];
        line.extend_from_slice(b"\r\n");
        let lines = lines_of(&[&line], LineLimit::Command);
        assert_eq!(lines.first().unwrap().is_ok(), fits, "{length} octets and CRLF");
        assert_eq!(lines.len(), 1);
    }
}

#[test]
fn a_command_that_carries_a_secret_is_as_long_as_a_response() {
    for (keyword, longer) in
        [("PASS ", true), ("pass ", true), ("AUTH ", true), ("USER ", false), ("PASSx", false)]
    {
        for (length, fits) in
            [(253, true), (254, longer), (16 * 1024 - 2, longer), (16 * 1024, false)]
        {
            let mut line = vec![b'x'; length];
            line.splice(..5, keyword.bytes());
            line.extend_from_slice(b"\r\n");
            let lines = lines_of(&[&line], LineLimit::Command);
            assert_eq!((lines.len(), lines[0].is_ok()), (1, fits), "{keyword}{length}");
        }
    }
}

#[test]
fn an_endless_line_is_one_error_and_takes_no_memory() {
    let mut decoder = LineDecoder::default();
    let mut lines = Vec::new();
    for _ in 0..1024 {
        decoder.push(&[b'A'; 1024]);
        drain(&mut decoder, LineLimit::Command, &mut lines);
        assert!(decoder.buffer.capacity() <= 8 * 1024);
    }
    decoder.push(b"DELE 1\r\nSTAT\r\n");
    drain(&mut decoder, LineLimit::Command, &mut lines);
    assert_eq!(lines, [Err(LineError::TooLong), Ok(b"STAT".to_vec())]);
}

/// Thousands of clients may each send the longest line without its end.
#[test]
fn the_longest_line_takes_no_more_memory_than_it_has_octets_and_one_read() {
    let mut decoder = LineDecoder::default();
    decoder.push(b"AUTH ");
    for _ in 0..16 {
        assert_eq!(decoder.next_line(LineLimit::Command), Ok(None));
        decoder.push(&[b'x'; 1000]);
        assert!(decoder.buffer.capacity() <= RESPONSE + 1000, "{}", decoder.buffer.capacity());
    }
    assert_eq!(decoder.unread().len(), 16_005);
}

#[test]
fn a_response_may_have_16_kib() {
    let mut line = vec![b'x'; 16 * 1024 - 2];
    line.extend_from_slice(b"\r\n");
    assert!(lines_of(&[&line], LineLimit::Response)[0].is_ok());
    line.insert(0, b'x');
    assert_eq!(lines_of(&[&line], LineLimit::Response), [Err(LineError::TooLong)]);
}

#[test]
fn a_line_that_was_yielded_is_overwritten() {
    let mut decoder = LineDecoder::default();
    decoder.push(b"PASS tanstaaf\r\nST");
    assert!(decoder.next_line(LineLimit::Command).unwrap().is_some());
    assert_eq!(decoder.move_to_front(), 2);
    assert_eq!(**decoder.buffer, *b"ST\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    decoder.buffer.truncate(2);
    decoder.push(b"AT\r\n");
    assert_eq!(decoder.next_line(LineLimit::Command), Ok(Some(&b"STAT"[..])));
}

#[test]
fn without_unread_octets_no_memory_is_held() {
    let mut decoder = LineDecoder::default();
    decoder.push(b"STAT\r\n");
    assert!(decoder.next_line(LineLimit::Command).unwrap().is_some());
    decoder.reclaim();
    assert_eq!(decoder.buffer.capacity(), 0);
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_the_split_of_the_input(
        input in prop::collection::vec(prop::sample::select(&b"AB \r\n\0"[..]), 0..600),
        cuts in prop::collection::vec(0usize..600, 0..8),
    ) {
        let whole = lines_of(&[&input], LineLimit::Command);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(input.len())).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &input[w[0]..w[1]]).collect();
        prop_assert_eq!(lines_of(&pieces, LineLimit::Command), whole);
    }
}
