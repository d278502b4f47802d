//! What the entry of a user says besides that the user is there.

use std::fmt::Display;

use ldap3::SearchEntry;

use crate::config::LdapAttributes;
use crate::credentials::Attributes;
use crate::credentials::attribute::{self, Attribute, Source};

/// - An entry that lacks an attribute is like all others in that respect.
/// - A value that cannot be used lets nobody in: mail is not to be served from elsewhere.
impl LdapAttributes {
    /// Those that are named.
    pub(super) fn names(&self) -> Vec<&str> {
        let keys = [&self.home, &self.mail, &self.pop3, &self.sessions, &self.allow_nets];
        keys.into_iter().flatten().map(String::as_str).collect()
    }

    /// Reads them from an entry; the reason for not doing so names the entry and the attribute.
    pub(super) fn read(&self, entry: &SearchEntry) -> Result<Attributes, String> {
        Named { keys: self, entry }.attributes()
    }
}

/// An entry, and how its attributes are named.
struct Named<'a> {
    keys: &'a LdapAttributes,
    entry: &'a SearchEntry,
}

impl Source for Named<'_> {
    type Error = String;

    fn read<T>(
        &self,
        attribute: Attribute,
        parse: impl Fn(&str) -> Result<T, attribute::Error>,
    ) -> Result<Option<T>, String> {
        let Self { keys, entry } = self;
        let key = match attribute {
            Attribute::Home => &keys.home,
            Attribute::Mail => &keys.mail,
            Attribute::Pop3 => &keys.pop3,
            Attribute::Sessions => &keys.sessions,
            Attribute::AllowNets => &keys.allow_nets,
        };
        let read = match values(key, entry)? {
            [] => return Ok(None),
            [value] => parse(value),
            // Several networks are one list.
            list if attribute == Attribute::AllowNets => parse(&list.join(",")),
            _ => return Err(fault(key, entry, "has several values; leave one")),
        };
        read.map(Some).map_err(|what| fault(key, entry, what))
    }
}

fn values<'a>(key: &Option<String>, entry: &'a SearchEntry) -> Result<&'a [String], String> {
    let Some(named) = key else { return Ok(&[]) };
    // RFC 4512 §2.5: the name of an attribute is the same in either case.
    if entry.bin_attrs.keys().any(|name| name.eq_ignore_ascii_case(named)) {
        return Err(fault(key, entry, "is not text"));
    }
    let found = entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(named));
    Ok(found.map_or(&[], |(_, values)| values.as_slice()))
}

fn fault(key: &Option<String>, entry: &SearchEntry, what: impl Display) -> String {
    format!("{} of the entry {:?} {what}", key.as_deref().unwrap_or_default(), entry.dn)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::num::NonZeroU32;

    use super::*;
    use crate::limits::AllowedNetworks;

    fn keys() -> LdapAttributes {
        let named = |name: &str| Some(name.to_owned());
        LdapAttributes {
            home: named("homeDirectory"),
            mail: named("mailMessageStore"),
            pop3: named("pop3Allowed"),
            sessions: named("sessionLimit"),
            allow_nets: named("allowNets"),
        }
    }

    fn entry(attributes: &[(&str, &[&str])]) -> SearchEntry {
        let attrs = attributes.iter().map(|(name, values)| {
            ((*name).to_owned(), values.iter().map(|&value| value.to_owned()).collect())
        });
        SearchEntry { dn: "uid=mrose".into(), attrs: attrs.collect(), bin_attrs: HashMap::new() }
    }

    #[test]
    fn what_an_entry_says() {
        let said = keys().read(&entry(&[
            ("homedirectory", &["/home/mrose"]),
            ("mailMessageStore", &["maildir:/var/vmail/m rose"]),
            ("pop3Allowed", &["false"]),
            ("sessionLimit", &["3"]),
            ("allownets", &["192.0.2.7", "::1,local"]),
            ("cn", &["one", "another"]),
        ]));
        let expected = Attributes {
            home: Some("/home/mrose".into()),
            mail: Some("/var/vmail/m rose".into()),
            pop3: false,
            sessions: NonZeroU32::new(3),
            allow_nets: AllowedNetworks::parse("192.0.2.7,::1").ok(),
        };
        assert_eq!(said, Ok(expected));
    }

    #[test]
    fn an_entry_that_says_nothing_and_keys_that_are_not_named() {
        assert_eq!(keys().read(&entry(&[])), Ok(Attributes::default()));
        let unnamed = LdapAttributes::default().read(&entry(&[("homeDirectory", &["mail"])]));
        assert_eq!(unnamed, Ok(Attributes::default()));
    }

    #[test]
    fn a_value_that_cannot_be_used_lets_nobody_in() {
        for (attribute, values, hint) in [
            ("homeDirectory", &["home/mrose"][..], "whole path"),
            ("homeDirectory", &["/home/a", "/home/b"], "several values"),
            ("mailMessageStore", &["mbox:/var/mail/mrose"], "maildir:/path"),
            ("mailMessageStore", &["maildir:~/Maildir"], "home directory"),
            ("pop3Allowed", &["maybe"], "may use POP3"),
            ("sessionLimit", &["0"], "1 or more"),
            ("allowNets", &["192.0.2.7", "here"], "no network"),
            ("allowNets", &[""], "names no network"),
        ] {
            let why = keys().read(&entry(&[(attribute, values)])).unwrap_err();
            assert!(why.contains(hint) && why.contains(attribute), "{why}");
        }
        let mut binary = entry(&[]);
        binary.bin_attrs.insert("homeDirectory".into(), vec![vec![0xff]]);
        assert!(keys().read(&binary).unwrap_err().contains("not text"));
    }
}
