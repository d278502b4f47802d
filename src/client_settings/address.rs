//! Domains and e-mail addresses, as far as settings depend on them.

use std::fmt;

use crate::config::is_host_name;

/// The domain of an e-mail address: a host name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain(String);

impl Domain {
    /// Reads a domain. `None`: it is none, or it is not in ASCII.
    pub fn parse(text: &str) -> Option<Self> {
        is_host_name(text).then(|| Self(text.to_ascii_lowercase()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address.
///
/// - The local part is one that a person types: no quotes, no white space.
/// - `Debug` hides it, since an address is not for the log.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    local: String,
    domain: Domain,
}

impl Address {
    /// Reads an address. White space around it is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.trim().rsplit_once('@')?;
        let is_allowed =
            |c: char| !c.is_whitespace() && !c.is_control() && !"\"(),:;<>@[\\]".contains(c);
        if !(1..=64).contains(&local.len()) || !local.chars().all(is_allowed) {
            return None;
        }
        Some(Self { local: local.to_owned(), domain: Domain::parse(domain)? })
    }

    /// What precedes the `@`.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// What follows it.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address(…@{})", self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (good, local, domain) in [
            ("mrose@example.org", "mrose", "example.org"),
            (" M.Rose+x@Example.ORG\n", "M.Rose+x", "example.org"),
            ("b\u{fc}cher@xn--bcher-kva.example", "b\u{fc}cher", "xn--bcher-kva.example"),
            ("o'neil@a", "o'neil", "a"),
        ] {
            let address = Address::parse(good).unwrap();
            assert_eq!((address.local(), address.domain().as_str()), (local, domain));
            assert_eq!(address.to_string(), format!("{local}@{domain}"));
        }
        let long = format!("{}@a", "m".repeat(65));
        for bad in [
            "",
            "@",
            "mrose",
            "mrose@",
            "@example.org",
            "a b@example.org",
            "a@b@example.org",
            "mrose@b\u{fc}cher.example",
            "mrose@example.org>",
            "<script>@example.org",
            "mrose\0@example.org",
            "mrose@exa\nmple.org",
            &long,
        ] {
            assert_eq!(Address::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_debug_form_has_no_local_part() {
        let address = Address::parse("mrose@example.org").unwrap();
        assert_eq!(format!("{address:?}"), "Address(\u{2026}@example.org)");
    }
}
