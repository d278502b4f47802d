//! How many octets a message has on the wire (RFC 1939 §11).

use memchr::memchr_iter;

/// Counts the octets that RETR sends for a message, from its stored bytes.
///
/// - Each LF without a CR before it counts as CRLF; a CR alone counts as itself.
/// - A last line without an end counts the CRLF that it is given.
/// - Dots that are doubled on the way do not count.
#[derive(Clone, Debug, Default)]
pub struct OctetCounter {
    octets: u64,
    last: Option<u8>,
}

impl OctetCounter {
    /// A count at the start of a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the next stored bytes.
    pub fn update(&mut self, chunk: &[u8]) {
        let Some(&last) = chunk.last() else { return };
        let bare = memchr_iter(b'\n', chunk)
            .filter(|&at| {
                let before = match at.checked_sub(1) {
                    Some(before) => chunk.get(before).copied(),
                    None => self.last,
                };
                before != Some(b'\r')
            })
            .count();
        self.octets += chunk.len() as u64 + bare as u64;
        self.last = Some(last);
    }

    /// The count for the whole message.
    pub fn finish(self) -> u64 {
        match self.last {
            None | Some(b'\n') => self.octets,
            Some(_) => self.octets + 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_at_every_split() {
        for (stored, octets) in [
            (&b""[..], 0),
            (b"\n", 2),
            (b"a\nb\r\nc", 9),
            (b"a\r", 4),
            (b"\r\n\r\r\n\n", 7),
            (b".\n", 3),
        ] {
            for at in 0..=stored.len() {
                let (head, tail) = stored.split_at(at);
                let mut counter = OctetCounter::new();
                counter.update(head);
                counter.update(tail);
                assert_eq!(counter.finish(), octets, "{} at {at}", stored.escape_ascii());
            }
        }
    }
}
