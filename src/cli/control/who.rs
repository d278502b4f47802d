//! Which connections `kick` and `watch` are about.

use std::fmt;

use crate::control::Filter;

/// The connections that a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct Who {
    /// A user, the address of a client, or the number of a connection.
    #[arg(value_name = "USER|ADDRESS|ID")]
    who: String,
    /// It is a user, even if it looks like a number or an address.
    #[arg(long)]
    user: bool,
}

impl Who {
    /// A number is that of a connection, unless it is an address; everything else is a user.
    pub(super) fn filter(&self) -> Filter {
        let Self { who, user } = self;
        match (who.parse(), who.parse()) {
            (Ok(address), _) if !user => Filter { address: Some(address), ..Filter::default() },
            (_, Ok(id)) if !user => Filter { id: Some(id), ..Filter::default() },
            (_, _) => Filter { user: Some(who.clone()), ..Filter::default() },
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn who_is_an_address_a_number_or_a_user() {
        let user = |name: &str| Filter { user: Some(name.into()), ..Filter::default() };
        let filter = |who: &str, user| Who { who: who.to_owned(), user }.filter();
        for (who, expected) in [
            ("mrose", user("mrose")),
            ("192.0.2.1", Filter { address: who_is("192.0.2.1"), ..Filter::default() }),
            ("2001:db8::1", Filter { address: who_is("2001:db8::1"), ..Filter::default() }),
            ("4711", Filter { id: Some(4711), ..Filter::default() }),
            ("4711@example.org", user("4711@example.org")),
        ] {
            assert_eq!(filter(who, false), expected, "{who}");
            assert_eq!(filter(who, true), user(who), "{who}");
        }
    }

    fn who_is(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }
}
