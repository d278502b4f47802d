//! A second implementation of bodies from the client's side, to compare the encoder with.
//! `tests/it/corpus.rs` and `fuzz` include this file, too.

/// The message as a client receives it: each line ends with CRLF, and all else is as it is stored
/// (RFC 1939 §11).
pub(crate) fn normalised(stored: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(stored.len() + 2);
    for line in stored.split_inclusive(|octet| *octet == b'\n') {
        message.extend_from_slice(match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        });
        message.extend_from_slice(b"\r\n");
    }
    message
}

/// The message in the body of a multi-line reply (RFC 1939 §3).
///
/// # Panics
/// At a bare LF, which some clients take for a line end; at a dot that is not doubled; without the
/// final dot, or if octets follow it.
pub(crate) fn decoded(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(body.len());
    let mut lines = body.split_inclusive(|octet| *octet == b'\n');
    for line in lines.by_ref() {
        assert!(line.ends_with(b"\r\n"), "no CRLF: {}", line.escape_ascii());
        match line {
            b".\r\n" => {
                assert_eq!(lines.next(), None, "octets after the final dot");
                return message;
            }
            [b'.', rest @ ..] => {
                assert!(rest.starts_with(b"."), "a dot is not doubled: {}", line.escape_ascii());
                message.extend_from_slice(rest);
            }
            line => message.extend_from_slice(line),
        }
    }
    panic!("no final dot");
}
