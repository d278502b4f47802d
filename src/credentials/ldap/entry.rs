//! The attributes of a user in the entry of a directory.

use ldap3::SearchEntry;
use tracing::debug;

use crate::config::LdapAttributes;
use crate::credentials::attribute::{self, Attribute};
use crate::credentials::{Account, AppPasswordName, AppPasswords, Attributes};
use crate::password::{Verifier, WeakSchemes};

/// An attribute of an entry that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} of the entry {dn:?} {problem}")]
pub(super) struct AttributeError {
    name: String,
    dn: String,
    problem: Problem,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("is not text")]
    NotText,
    #[error("has several values; leave one")]
    SeveralValues,
    #[error(transparent)]
    Value(#[from] attribute::Error),
}

impl LdapAttributes {
    /// The names of the attributes in the directory, of those that have one.
    pub(super) fn names(&self) -> Vec<&str> {
        let Self { home, mail, pop3, sessions, allow_nets, app_password } = self;
        let keys = [home, mail, pop3, sessions, allow_nets, app_password];
        keys.into_iter().flatten().map(String::as_str).collect()
    }

    /// Reads the attributes of an entry.
    ///
    /// - An attribute without a value has its default.
    /// - A value that cannot be used is an error: the user must not get mail from a default place.
    pub(super) fn read(&self, entry: &SearchEntry) -> Result<Attributes, AttributeError> {
        let mut attributes = Attributes::default();
        for attribute in Attribute::ALL {
            let name = match attribute {
                Attribute::Home => &self.home,
                Attribute::Mail => &self.mail,
                Attribute::Pop3 => &self.pop3,
                Attribute::Sessions => &self.sessions,
                Attribute::AllowNets => &self.allow_nets,
            };
            let Some(name) = name else { continue };
            let set = match values(name, entry) {
                Ok([]) => continue,
                Ok([value]) => attributes.set(attribute, value).map_err(Problem::from),
                // Several networks are one list.
                Ok(list) if attribute == Attribute::AllowNets => {
                    attributes.set(attribute, &list.join(",")).map_err(Problem::from)
                }
                Ok(_) => Err(Problem::SeveralValues),
                Err(problem) => Err(problem),
            };
            set.map_err(|problem| AttributeError {
                name: name.clone(),
                dn: entry.dn.clone(),
                problem,
            })?;
        }
        Ok(attributes)
    }

    /// Reads the app passwords of an entry, each of which is a value `NAME:{SSHA256}…`.
    ///
    /// - One that cannot be used is left out: the user has others, and the own password.
    pub(super) fn app_passwords(
        &self,
        entry: &SearchEntry,
        attributes: &Attributes,
    ) -> AppPasswords {
        let mut app_passwords = AppPasswords::default();
        let values = self.app_password.as_deref().map(|name| values(name, entry));
        for value in values.and_then(Result::ok).unwrap_or_default() {
            let (name, field) = value.split_once(':').unwrap_or((value, ""));
            let described = Account::new(Verifier::parse(field, WeakSchemes::Refused));
            let app_password = AppPasswordName::shown(name);
            if let Err(why) = app_passwords.add(app_password.clone(), described, attributes) {
                debug!(dn = entry.dn, %app_password, %why, "an app password is not used");
            }
        }
        app_passwords
    }
}

fn values<'a>(name: &str, entry: &'a SearchEntry) -> Result<&'a [String], Problem> {
    // RFC 4512 §2.5: names of attributes are case-insensitive.
    if entry.bin_attrs.keys().any(|key| key.eq_ignore_ascii_case(name)) {
        return Err(Problem::NotText);
    }
    let found = entry.attrs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    Ok(found.map_or(&[], |(_, values)| values.as_slice()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::num::NonZeroU32;

    use super::*;
    use crate::limits::AllowedNetworks;
    use crate::protocol::Secret;

    fn keys() -> LdapAttributes {
        let named = |name: &str| Some(name.to_owned());
        LdapAttributes {
            home: named("homeDirectory"),
            mail: named("mailMessageStore"),
            pop3: named("pop3Allowed"),
            sessions: named("sessionLimit"),
            allow_nets: named("allowNets"),
            app_password: named("appPassword"),
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
    fn defaults_where_the_entry_or_the_configuration_has_no_attribute() {
        assert_eq!(keys().read(&entry(&[])), Ok(Attributes::default()));
        let unnamed = LdapAttributes::default().read(&entry(&[("homeDirectory", &["mail"])]));
        assert_eq!(unnamed, Ok(Attributes::default()));
    }

    #[test]
    fn each_value_of_the_attribute_for_app_passwords_is_one() {
        let digest = "{SSHA256}7ioXXfxlhBz+JrAsDtjyPnLeKlRV/6B4pXs1GJEN/tZzb21lc2FsdHNvbWVzYWx0";
        let password = Secret::new("abcd-efgh-ijkm-npqr-stuv-wxyz".into());
        for (values, found) in [
            (&[][..], None),
            (&["phone:"], None),
            (&["{PLAIN}x", "phone:{PLAIN}x", "a b:{SSHA256}x", "tablet:DIGEST"], Some("tablet")),
            (&["my phone:DIGEST"], Some("my_phone")),
        ] {
            let values: Vec<_> =
                values.iter().map(|value| value.replace("DIGEST", digest)).collect();
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            let entry = entry(&[("apppassword", &values)]);
            let app_passwords = keys().app_passwords(&entry, &Attributes::default());
            let name = app_passwords.find(&password).map(AppPasswordName::as_str);
            assert_eq!(name, found, "{values:?}");
            assert!(keys().names().contains(&"appPassword"));
        }
    }

    #[test]
    fn values_that_cannot_be_used() {
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
            let why = keys().read(&entry(&[(attribute, values)])).unwrap_err().to_string();
            assert!(why.contains(hint) && why.contains(attribute), "{why}");
        }
        let mut binary = entry(&[]);
        binary.bin_attrs.insert("homeDirectory".into(), vec![vec![0xff]]);
        let why = keys().read(&binary).unwrap_err().to_string();
        assert!(why.contains("not text"), "{why}");
    }
}
