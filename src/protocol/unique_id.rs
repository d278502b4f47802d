//! Unique-ids, which UIDL lists and by which a client remembers messages.

use std::fmt;

/// A unique-id: 1 to 255 characters in the range 0x21 to 0x7E (RFC 1939 §7 UIDL).
///
/// The server itself makes none of more than [`RECOMMENDED`](Self::RECOMMENDED) characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UniqueId<'a>(&'a str);

impl<'a> UniqueId<'a> {
    // DEVIATION: RFC 1939 §7 UIDL — at most 70 characters. Other servers have listed longer ones,
    // and clients that see another unique-id download the message again.
    const MAX_CHARACTERS: usize = 255;

    /// The most characters that RFC 1939 §7 UIDL allows.
    pub const RECOMMENDED: usize = 70;

    /// Whether these octets are a unique-id.
    pub fn is_valid(octets: &[u8]) -> bool {
        let right_length = (1..=Self::MAX_CHARACTERS).contains(&octets.len());
        // A fold has no early end, so the compiler can check many octets at a time.
        right_length && octets.iter().fold(true, |all, octet| all & octet.is_ascii_graphic())
    }

    /// The characters.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// These bytes are not a unique-id: there are none, more than 255, or one outside 0x21 to 0x7E.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to 255 characters in the range 0x21 to 0x7E")]
pub struct NotUniqueId;

impl<'a> TryFrom<&'a [u8]> for UniqueId<'a> {
    type Error = NotUniqueId;

    fn try_from(bytes: &'a [u8]) -> Result<Self, NotUniqueId> {
        if !Self::is_valid(bytes) {
            return Err(NotUniqueId);
        }
        std::str::from_utf8(bytes).map(Self).map_err(|_| NotUniqueId)
    }
}

impl fmt::Display for UniqueId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_255_visible_characters() {
        for good in [&b"!"[..], b"~", b"whqtswO00WBw418f9t5JxYwZ", &[b'x'; 70], &[b'x'; 255]] {
            assert_eq!(UniqueId::try_from(good).unwrap().as_str().as_bytes(), good);
        }
        for bad in [&b""[..], b"a b", b"a\x7f", b"\xc3\xa9", b"a\r\n", &[b'x'; 256]] {
            assert_eq!(UniqueId::try_from(bad), Err(NotUniqueId), "{}", bad.escape_ascii());
            assert!(!UniqueId::is_valid(bad));
        }
    }
}
