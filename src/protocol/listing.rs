//! The lines of multi-line replies that are not messages: listings, capabilities, mechanisms.

use std::fmt;
use std::io::Write as _;

use super::number::encode_decimal;
use super::{MessageNumber, UniqueId};

/// A line of a multi-line reply that never begins with a dot, so it needs no stuffing.
pub trait Line {
    /// Appends the line without its end.
    fn encode(&self, out: &mut Vec<u8>);
}

impl<T: fmt::Display> Line for T {
    fn encode(&self, out: &mut Vec<u8>) {
        // Writing to a Vec does not fail.
        let _infallible = write!(out, "{self}");
    }
}

/// A scan listing: the number of a message and its octets (RFC 1939 §5 LIST).
#[derive(Clone, Copy, Debug)]
pub struct ScanListing {
    /// The message.
    pub number: MessageNumber,
    /// The octets that RETR sends, without dot-stuffing.
    pub octets: u64,
}

// A reply may have hundreds of thousands of them: `Display` would be too slow.
impl Line for ScanListing {
    fn encode(&self, out: &mut Vec<u8>) {
        self.number.encode(out);
        out.push(b' ');
        encode_decimal(self.octets, out);
    }
}

/// A unique-id listing: the number of a message and its unique-id (RFC 1939 §7 UIDL).
#[derive(Clone, Copy, Debug)]
pub struct UniqueIdListing<'a> {
    /// The message.
    pub number: MessageNumber,
    /// Its unique-id.
    pub unique_id: UniqueId<'a>,
}

impl Line for UniqueIdListing<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.number.encode(out);
        out.push(b' ');
        out.extend_from_slice(self.unique_id.as_str().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(line: &impl Line) -> String {
        let mut out = Vec::new();
        line.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines() {
        let number = MessageNumber::from_position(1);
        assert_eq!(encoded(&ScanListing { number, octets: 200 }), "2 200");
        let unique_id = UniqueId::try_from(&b"QhdPYR:00WBw1Ph7x7"[..]).unwrap();
        assert_eq!(encoded(&UniqueIdListing { number, unique_id }), "2 QhdPYR:00WBw1Ph7x7");
        assert_eq!(encoded(&"TOP"), "TOP");
    }
}
