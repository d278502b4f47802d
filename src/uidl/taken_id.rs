//! Unique-ids as other servers gave them.

use std::fmt;

use crate::protocol::{NotUniqueId, UniqueId};

/// A unique-id that another server may have given: 1 to 255 characters in the range 0x21 to 0x7E.
///
/// RFC 1939 §7 UIDL allows 70 characters, but qmail-pop3d and Dovecot's `%f` list longer names, and
/// clients remember them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TakenId(Box<str>);

impl TakenId {
    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for TakenId {
    type Error = NotUniqueId;

    fn try_from(octets: Vec<u8>) -> Result<Self, NotUniqueId> {
        UniqueId::try_from(octets.as_slice()).map(|id| Self(id.as_str().into()))
    }
}

impl fmt::Display for TakenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TakenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TakenId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_to_255_visible_characters() {
        for good in [&b"!"[..], b"~", b"a,S=1", &[b'x'; 71], &[b'x'; 255]] {
            assert_eq!(TakenId::try_from(good.to_vec()).unwrap().as_str().as_bytes(), good);
        }
        for bad in [&b""[..], b"a b", b"a\x7f", b"k\xc3\xa4se", b"a\r", &[b'x'; 256]] {
            assert_eq!(TakenId::try_from(bad.to_vec()), Err(NotUniqueId), "{}", bad.escape_ascii());
        }
    }
}
