//! User names: the name that a client claims, and the canonical form that is used everywhere else.

use std::fmt;

use super::is_invisible;

/// A user name as a client sent it: any bytes, not yet checked.
///
/// `Display` escapes everything that is not printable ASCII, so it is safe in a log line.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimedName(Box<[u8]>);

impl ClaimedName {
    /// Takes the bytes as they came.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same name with `domain` after an `@`, unless it has an `@` or is empty.
    #[must_use]
    pub fn within(self, domain: &str) -> Self {
        if self.0.is_empty() || self.0.contains(&b'@') {
            return self;
        }
        Self([&self.0, &b"@"[..], domain.as_bytes()].concat().into())
    }
}

impl fmt::Display for ClaimedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..Username::MAX_OCTETS).unwrap_or(&self.0);
        write!(f, "{}", shown.escape_ascii())
    }
}

impl fmt::Debug for ClaimedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimedName({self})")
    }
}

/// The canonical name of a user: the key of look-ups, locks, caches and paths.
///
/// - ASCII letters are lower case: `Mrose` and `mrose` are one user.
/// - 1 to 255 octets of UTF-8 without control or invisible formatting characters and without `/`.
/// - Neither the part before the last `@` nor the part after it is empty or begins with `.`,
///   so that each of them is an ordinary file name.
/// - It does not begin with `~`.
/// - There is no blank at its ends or beside that `@`: many databases and directories ignore those,
///   so a user would have several names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(Box<str>);

impl Username {
    const MAX_OCTETS: usize = 255;

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the last `@`, or the whole name.
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or(&*self.0, |(local, _)| local)
    }

    /// The part after the last `@`.
    pub fn domain(&self) -> Option<&str> {
        self.0.rsplit_once('@').map(|(_, domain)| domain)
    }
}

/// Why some bytes are not a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The whole name or a part beside the `@` is empty.
    #[error("is empty, or has an empty part beside its @")]
    Empty,
    /// More than 255 octets.
    #[error("is longer than 255 octets")]
    TooLong,
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// A control character, an invisible formatting character or a slash.
    #[error("has a slash, a control character or an invisible character")]
    Character,
    /// A part that begins with `.`, or a name that begins with `~`.
    #[error("begins with a dot or ~, or has a dot after its @")]
    Start,
    /// A blank at an end of a part.
    #[error("has a blank at an end or beside its @")]
    Blank,
}

impl TryFrom<&str> for Username {
    type Error = NameError;

    fn try_from(name: &str) -> Result<Self, NameError> {
        if name.len() > Self::MAX_OCTETS {
            return Err(NameError::TooLong);
        }
        if name.chars().any(|c| c == '/' || is_invisible(c)) {
            return Err(NameError::Character);
        }
        let (local, domain) = name.rsplit_once('@').map_or((name, None), |(l, d)| (l, Some(d)));
        for part in [Some(local), domain].into_iter().flatten() {
            if part.is_empty() {
                return Err(NameError::Empty);
            }
            if part.starts_with('.') {
                return Err(NameError::Start);
            }
            if part.trim() != part {
                return Err(NameError::Blank);
            }
        }
        if name.starts_with('~') {
            return Err(NameError::Start);
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }
}

impl TryFrom<&ClaimedName> for Username {
    type Error = NameError;

    fn try_from(claim: &ClaimedName) -> Result<Self, NameError> {
        std::str::from_utf8(claim.as_bytes()).map_err(|_| NameError::NotUtf8)?.try_into()
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names() {
        for (given, whole, local, domain) in [
            ("mrose", "mrose", "mrose", None),
            ("MRose@Example.ORG", "mrose@example.org", "mrose", Some("example.org")),
            ("a@b@c", "a@b@c", "a@b", Some("c")),
            ("jörg", "jörg", "jörg", None),
            ("first.last", "first.last", "first.last", None),
            ("m rose", "m rose", "m rose", None),
        ] {
            let name = Username::try_from(given).unwrap();
            assert_eq!((name.as_str(), name.local(), name.domain()), (whole, local, domain));
        }
    }

    #[test]
    fn a_name_with_a_blank_at_an_end_is_refused() {
        for given in [" ", " mrose", "mrose ", "mrose\u{a0}", "mrose @b", "mrose@ b", "mrose@b "] {
            assert_eq!(Username::try_from(given), Err(NameError::Blank), "{given:?}");
        }
    }

    #[test]
    fn names_that_could_leave_the_mail_root_are_refused() {
        let long = "x".repeat(256);
        for (given, error) in [
            ("", NameError::Empty),
            ("@example.org", NameError::Empty),
            ("mrose@", NameError::Empty),
            (long.as_str(), NameError::TooLong),
            ("../root", NameError::Character),
            ("a/b", NameError::Character),
            ("a\0b", NameError::Character),
            ("a\nb", NameError::Character),
            ("a\u{1b}[2J", NameError::Character),
            ("a\u{202e}b", NameError::Character),
            ("mrose\u{e0041}", NameError::Character),
            ("..", NameError::Start),
            (".hidden", NameError::Start),
            ("mrose@..", NameError::Start),
            ("~root", NameError::Start),
        ] {
            assert_eq!(Username::try_from(given), Err(error), "{given:?}");
        }
        let claim = ClaimedName::new(*b"\xff\xfe");
        assert_eq!(Username::try_from(&claim), Err(NameError::NotUtf8));
    }

    #[test]
    fn a_name_without_a_domain_gets_the_default_one() {
        for (given, whole) in [
            ("mrose", "mrose@example.org"),
            ("m rose", "m rose@example.org"),
            ("mrose@example.net", "mrose@example.net"),
            // These must not become valid names.
            ("mrose@", "mrose@"),
            ("@", "@"),
            ("", ""),
        ] {
            let name = ClaimedName::new(given.as_bytes()).within("example.org");
            assert_eq!(name.as_bytes(), whole.as_bytes());
        }
        for given in ["../mrose", ".mrose", "~mrose", "mrose ", "mr\0ose"] {
            let name = ClaimedName::new(given.as_bytes()).within("example.org");
            assert!(Username::try_from(&name).is_err(), "{given:?}");
        }
    }

    #[test]
    fn a_claimed_name_is_shown_escaped() {
        assert_eq!(ClaimedName::new(*b"a\x1b[2J\xff\r\n").to_string(), r"a\x1b[2J\xff\r\n");
    }
}
