//! The listing of a maildrop as another server gives it: what UIDL and LIST print.

use super::digest::Digest;

/// The unique-ids and octets of messages, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// The unique-ids, which may be illegal or doubled.
    pub(super) ids: Vec<Vec<u8>>,
    /// The octets; empty if the server was not asked for them.
    pub(super) octets: Vec<u64>,
    /// The digests of the headers; empty if the server was not asked for them.
    pub(super) digests: Vec<Option<Digest>>,
}

/// A line of a listing is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not \"{1}\"")]
pub(super) struct BadLine(String, String);

impl Listing {
    /// Adds a line of the reply to UIDL.
    pub(super) fn push_id(&mut self, line: &[u8]) -> Result<(), BadLine> {
        let id = after_number(line, self.ids.len() + 1, "unique-id")?;
        self.ids.push(id.to_vec());
        Ok(())
    }

    /// Adds a line of the reply to LIST.
    pub(super) fn push_octets(&mut self, line: &[u8]) -> Result<(), BadLine> {
        let number = self.octets.len() + 1;
        let octets = after_number(line, number, "octets")?;
        // RFC 1939 §5 LIST: text may follow.
        let digits = octets.split(|octet| *octet == b' ').next().unwrap_or_default();
        let octets = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        self.octets.push(octets.ok_or_else(|| bad(line, number, "octets"))?);
        Ok(())
    }
}

/// What follows the message-number, which must be this one: a session without removals counts from
/// 1.
fn after_number<'a>(line: &'a [u8], number: usize, what: &str) -> Result<&'a [u8], BadLine> {
    let prefix = format!("{number} ");
    let rest = line.strip_prefix(prefix.as_bytes());
    // An empty unique-id is illegal, but some servers list it without the space.
    let is_bare = || line == number.to_string().as_bytes();
    rest.or_else(|| is_bare().then_some(b"".as_slice())).ok_or_else(|| bad(line, number, what))
}

fn bad(line: &[u8], number: usize, what: &str) -> BadLine {
    let line = line.get(..LONGEST_SHOWN).unwrap_or(line);
    BadLine(line.escape_ascii().to_string(), format!("{number} {what}"))
}

const LONGEST_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_servers() {
        let mut listing = Listing::default();
        for line in ["1 a", "2 b c", "3 ", "4", "5 \u{e4}"] {
            listing.push_id(line.as_bytes()).unwrap();
        }
        let ids = ["a", "b c", "", "", "\u{e4}"].map(|id| id.as_bytes().to_vec());
        assert_eq!(listing.ids, ids);
        listing.push_octets(b"1 120").unwrap();
        listing.push_octets(b"2 18446744073709551615 more").unwrap();
        assert_eq!(listing.octets, [120, u64::MAX]);
        for bad in ["6", "7 a", "06 a", "-ERR", ""].map(str::as_bytes).into_iter().skip(1) {
            listing.clone().push_id(bad).unwrap_err();
        }
        for bad in ["3", "3 ", "3 x", "3 -1", "3 18446744073709551616"].map(str::as_bytes) {
            listing.push_octets(bad).unwrap_err();
        }
        let error = listing.push_id(b"9 \xff").unwrap_err();
        assert_eq!(error.to_string(), r#""9 \xff" is not "6 unique-id""#);
    }
}
