//! SASLprep: names and passwords that look alike become equal (RFC 4013).

use crate::protocol::Secret;

/// Prepares a name or a password (RFC 4013 §2).
///
/// - Printable ASCII stays as it is. Other blanks become spaces, invisible characters are removed,
///   and the rest is normalised (NFKC).
/// - `None` if the text is not UTF-8, if a character is prohibited (RFC 4013 §2.3), such as a
///   control or one that is not in Unicode 3.2, or if the result is empty.
pub fn saslprep(octets: &[u8]) -> Option<Secret<Vec<u8>>> {
    let text = std::str::from_utf8(octets).ok()?;
    let prepared = stringprep::saslprep(text).ok()?;
    if prepared.is_empty() { None } else { Some(Secret::new(prepared.into_owned().into_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first rows are from RFC 4013 §3; RFC 5802 requires tests with the last.
    #[test]
    fn strings_are_prepared() {
        for (given, prepared) in [
            ("I\u{ad}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{aa}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("\u{627}\u{31}", None),
            ("", None),
            ("\u{ad}", None),
            ("a\0b", None),
            ("a\r\nb", None),
            ("a\u{a0}b", Some("a b")),
            ("jo\u{308}rg", Some("j\u{f6}rg")),
            ("\u{1f600}", None),
            ("\u{bd}", Some("1\u{2044}2")),
        ] {
            let own = saslprep(given.as_bytes());
            let own = own.as_ref().map(|own| std::str::from_utf8(own.expose()).unwrap());
            assert_eq!(own, prepared, "{given:?}");
        }
        assert!(saslprep(b"\xff").is_none());
    }
}
