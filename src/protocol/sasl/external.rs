//! EXTERNAL: TLS knows already who the client is (RFC 4422 Appendix A).

use super::{ResponseError, Step, claimed};

/// Reads the response: nothing, or the name that the client wants to have.
pub(super) fn read(response: &[u8]) -> Step {
    match (response.is_empty(), claimed(response)) {
        (true, _) => Step::External(None),
        (false, Some(name)) => Step::External(Some(name)),
        (false, None) => Step::Refused(ResponseError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4422 Appendix A.3 has an empty response and `fred@example.com`.
    #[test]
    fn nothing_or_a_name() {
        assert!(matches!(read(b""), Step::External(None)));
        let Step::External(Some(name)) = read(b"fred@example.com") else {
            panic!("the name was refused");
        };
        assert_eq!(name.as_bytes(), b"fred@example.com");
        for malformed in [&b"\0"[..], b"fred\0", b"fred\r\nDELE 1", b"\xff", b"fred\x1b[2J"] {
            let step = read(malformed);
            assert!(matches!(step, Step::Refused(ResponseError::Malformed)), "{step:?}");
        }
    }
}
