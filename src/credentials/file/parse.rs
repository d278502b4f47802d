//! The lines of a credential file: `name:{SCHEME}hash[:uid:gid:gecos:home:shell:extra]`, the form
//! of Dovecot's passwd-file. `table` and `edit` use them.
//!
//! A line with the extra field `app_password=NAME` is an app password of its user, who has a line
//! before it. Dovecot uses the first line of a user and ignores the others.

use crate::credentials::attribute::{self, Attribute};
use crate::credentials::{Account, AppPasswordName, AppPasswordNameError, Attributes};
use crate::password::{Verifier, WeakSchemes};
use crate::protocol::{NameError, Username};

/// A line of the file.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: u32,
    /// With its line end, if it has one.
    pub(super) raw: &'a [u8],
}

/// A line that is about a user.
pub(super) struct Entry<'a> {
    pub(super) name: Username,
    /// The password field; never shown.
    pub(super) password: &'a str,
    /// The fields after it.
    pub(super) others: Option<&'a str>,
    /// In the line of an app password: its name.
    pub(super) app_password: Option<AppPasswordName>,
}

/// What is wrong with a line. Shows no part of it: in the place of a name there may be a part of a
/// password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line is not text.
    #[error("is not UTF-8; write the file in UTF-8")]
    NotUtf8,
    /// The line has no fields.
    #[error("has no colon; write name:{{SCHEME}}hash, or # before a comment")]
    NoColon,
    /// The name has a blank before or behind it.
    #[error("has a blank beside the user name; begin with the name, then a colon")]
    Blank,
    /// No user can have the name.
    #[error("the user name {0}; write another name")]
    Name(NameError),
    /// No app password can have the name.
    #[error("{0}; write another one after {APP_PASSWORD}=")]
    AppPassword(AppPasswordNameError),
}

/// Why a user cannot log in.
///
/// - Extra fields may restrict the login to some addresses, some times or another server. A
///   restriction that is not supported keeps the user out.
/// - Mail is served from the place that the line names, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// An extra field that restricts the login.
    #[error("its extra field {0} is not supported; remove it")]
    Restriction(&'static str),
    /// An extra field that names the place of the mail.
    #[error("its extra field {0} is not supported; write userdb_mail=maildir:/path in its place")]
    MailPlace(&'static str),
    /// Any other extra field. It is not shown, as it may be a part of a password.
    #[error("it has an extra field that is not known; remove it")]
    UnknownField,
    /// An extra field occurs twice.
    #[error("it has {0} twice; leave one of them")]
    Twice(&'static str),
    /// The place of the mail has a variable.
    #[error("its userdb_mail has a variable of Dovecot, write the path")]
    Variable,
    /// A value cannot be used.
    #[error("its {0} {1}")]
    Attribute(&'static str, attribute::Error),
}

/// The lines of a file; together they are the file, octet for octet.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    (1..)
        .zip(text.split_inclusive(|&octet| octet == b'\n'))
        .map(|(number, raw)| Line { number, raw })
}

impl<'a> Line<'a> {
    /// The user that the line is about; `None` for a comment or a blank line.
    pub(super) fn entry(self) -> Result<Option<Entry<'a>>, LineError> {
        let content = self.content();
        if content.first() == Some(&b'#') || content.trim_ascii().is_empty() {
            return Ok(None);
        }
        let content = str::from_utf8(content).map_err(|_| LineError::NotUtf8)?;
        let (name, fields) = content.split_once(':').ok_or(LineError::NoColon)?;
        if name.trim() != name {
            return Err(LineError::Blank);
        }
        let name = Username::try_from(name).map_err(LineError::Name)?;
        let (password, others) = fields
            .split_once(':')
            .map_or((fields, None), |(password, rest)| (password, Some(rest)));
        let mut entry = Entry { name, password, others, app_password: None };
        entry.app_password = entry.app_password_name().map_err(LineError::AppPassword)?;
        Ok(Some(entry))
    }

    /// Whether the line is about this user and fulfils a condition.
    pub(super) fn is_about(
        self,
        name: &Username,
        condition: impl FnOnce(&Entry<'_>) -> bool,
    ) -> bool {
        let entry = self.entry().ok().flatten();
        entry.is_some_and(|entry| entry.name == *name && condition(&entry))
    }

    /// `\n`, `\r\n`, or empty in a last line.
    pub(super) fn end(self) -> &'a [u8] {
        self.raw.get(self.content().len()..).unwrap_or_default()
    }

    fn content(self) -> &'a [u8] {
        let content = self.raw.strip_suffix(b"\n").unwrap_or(self.raw);
        content.strip_suffix(b"\r").unwrap_or(content)
    }
}

impl Entry<'_> {
    /// The account that the line describes.
    pub(super) fn account(&self, weak: WeakSchemes) -> Result<Account, AccountError> {
        if let Some((key, _)) = self.extra().find(|(key, _)| !is_harmless(key)) {
            let restriction = find(RESTRICTIONS, key).map(AccountError::Restriction);
            let place = || find(MAIL_PLACES, key).map(AccountError::MailPlace);
            return Err(restriction.or_else(place).unwrap_or(AccountError::UnknownField));
        }
        let verifier = Verifier::parse(self.password, weak);
        Ok(Account { attributes: self.attributes()?, ..Account::new(verifier) })
    }

    /// The attributes in the extra fields, and the home directory.
    pub(super) fn attributes(&self) -> Result<Attributes, AccountError> {
        let mut attributes = Attributes::default();
        for attribute in Attribute::ALL {
            let key = match attribute {
                Attribute::Home => "userdb_home",
                Attribute::Mail => "userdb_mail",
                Attribute::Pop3 => "pop3",
                Attribute::Sessions => "sessions",
                Attribute::AllowNets => "allow_nets",
            };
            let (name, value) = match (attribute, self.value(key)?) {
                (Attribute::Mail, Some(value)) if value.contains('%') => {
                    return Err(AccountError::Variable);
                }
                (_, Some(value)) => (key, value),
                (Attribute::Home, None) => ("home directory", self.field(3).unwrap_or_default()),
                (_, None) => continue,
            };
            let set = attributes.set(attribute, value);
            set.map_err(|error| AccountError::Attribute(name, error))?;
        }
        Ok(attributes)
    }

    /// The name in the extra field that makes this the line of an app password.
    fn app_password_name(&self) -> Result<Option<AppPasswordName>, AppPasswordNameError> {
        if !self.others.is_some_and(|others| others.contains(APP_PASSWORD)) {
            return Ok(None);
        }
        let field = self.extra().find(|(key, _)| *key == APP_PASSWORD);
        field.map(|(_, name)| AppPasswordName::try_from(name)).transpose()
    }

    /// The value of an extra field, if there is one. If there are two, neither is used.
    fn value(&self, key: &'static str) -> Result<Option<&str>, AccountError> {
        let mut values = self.extra().filter_map(|(name, value)| (name == key).then_some(value));
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(AccountError::Twice(key)),
        }
    }

    /// One of `uid:gid:gecos:home:shell:extra`, counted from 0; the last one may have colons.
    fn field(&self, nth: usize) -> Option<&str> {
        self.others?.splitn(6, ':').nth(nth)
    }

    /// The extra fields, separated by blanks, with their values.
    fn extra(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.field(5).unwrap_or_default().split_ascii_whitespace();
        fields.map(|field| field.split_once('=').unwrap_or((field, "")))
    }
}

/// Whether an extra field is supported, or is for other parts of Dovecot: for its userdb, its log,
/// or the delay of its replies.
fn is_harmless(key: &str) -> bool {
    matches!(key, "allow_nets" | "pop3" | "sessions" | "nodelay" | APP_PASSWORD)
        || (key.starts_with("userdb_") && find(MAIL_PLACES, key).is_none())
        || key.starts_with("event_")
}

/// The extra field with the name of an app password.
pub(super) const APP_PASSWORD: &str = "app_password";

fn find(keys: &[&'static str], key: &str) -> Option<&'static str> {
    keys.iter().copied().find(|listed| *listed == key)
}

/// Extra fields that restrict a login and may be named in a message.
const RESTRICTIONS: &[&str] = &[
    "allow_real_nets",
    "allow_services",
    "auth_mech",
    "delay_until",
    "deny",
    "destuser",
    "domain",
    "fail",
    "host",
    "master",
    "mech",
    "noauthenticate",
    "nologin",
    "nopassword",
    "pass",
    "port",
    "proxy",
    "proxy_maybe",
    "proxy_mech",
    "reason",
    "user",
    "username",
];

/// Extra fields by which Dovecot finds mail in another place.
const MAIL_PLACES: &[&str] = &[
    "userdb_chroot",
    "userdb_mail_driver",
    "userdb_mail_inbox_path",
    "userdb_mail_location",
    "userdb_mail_path",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Result<Option<(String, String, Option<String>)>, LineError> {
        let entry = Line { number: 1, raw: line.as_bytes() }.entry()?;
        Ok(entry.map(|entry| {
            (entry.name.to_string(), entry.password.into(), entry.others.map(str::to_owned))
        }))
    }

    #[test]
    fn lines_about_users() {
        for (line, name, password, others) in [
            ("mrose:{PLAIN}tanstaaf", "mrose", "{PLAIN}tanstaaf", None),
            ("mrose:{PLAIN}tanstaaf\r\n", "mrose", "{PLAIN}tanstaaf", None),
            ("MRose@Example.ORG:x\n", "mrose@example.org", "x", None),
            ("mrose:{PLAIN}a b c \n", "mrose", "{PLAIN}a b c ", None),
            ("mrose:x:\n", "mrose", "x", Some("")),
            (
                "mrose:x:5000:5000::/home/mrose::userdb_quota=1 nologin\n",
                "mrose",
                "x",
                Some("5000:5000::/home/mrose::userdb_quota=1 nologin"),
            ),
            ("jörg:{PLAIN}pässwörd\n", "jörg", "{PLAIN}pässwörd", None),
        ] {
            let found = entry(line).unwrap().unwrap();
            assert_eq!(found, (name.into(), password.into(), others.map(Into::into)), "{line:?}");
        }
    }

    #[test]
    fn lines_without_a_user() {
        for line in ["", "\n", "\r\n", "  \t \n", "#\n", "# mrose:x\r\n", "#mrose:\u{ff}\n"] {
            assert_eq!(entry(line), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn the_error_of_a_line_says_what_to_write_and_shows_no_part_of_it() {
        for (line, hint) in [
            ("tanstaaf\n", "no colon"),
            ("$argon2id$v=19$m=64,t=1,p=1$tanstaaf\n", "no colon"),
            (":{PLAIN}tanstaaf\n", "is empty"),
            ("../tanstaaf:{PLAIN}tanstaaf\n", "slash"),
            ("tanstaaf\0:{PLAIN}tanstaaf\n", "control character"),
            ("\u{feff}tanstaaf:{PLAIN}tanstaaf\n", "invisible"),
            (".tanstaaf:{PLAIN}tanstaaf\n", "dot"),
            (" tanstaaf:{PLAIN}tanstaaf\n", "blank"),
            ("tanstaaf :{PLAIN}tanstaaf\n", "blank"),
        ] {
            let said = entry(line).unwrap_err().to_string();
            assert!(said.contains(hint), "{line:?}: {said}");
            assert!(!said.contains("tanstaaf"), "{said}");
        }
        let bytes = Line { number: 1, raw: b"mrose:\xff\xfe\n" };
        assert_eq!(bytes.entry().err(), Some(LineError::NotUtf8));
    }

    #[test]
    fn lines_and_their_ends_are_the_file() {
        let text = b"a:x\r\n\n# b\nc:y";
        let ends: Vec<&[u8]> = lines(text).map(Line::end).collect();
        assert_eq!(ends, [&b"\r\n"[..], b"\n", b"\n", b""]);
        assert_eq!(lines(text).map(|line| line.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(lines(text).flat_map(|line| line.raw.to_vec()).collect::<Vec<_>>(), text);
    }

    #[test]
    fn a_field_that_is_not_supported_keeps_a_user_out() {
        for (others, usable) in [
            ("", true),
            (":5000:5000::/home/mrose:/bin/sh", true),
            (":5000:5000::/home/mrose:/bin/sh:", true),
            (":::::: userdb_quota_rule=*:storage=1G nodelay event_x=1", true),
            ("::::::nologin", false),
            ("::::::userdb_uid=1 nologin=yes reason=moved", false),
            ("::::::allow_nets=127.0.0.1,::1", true),
            ("::::::allow_nets=127.0.0.0/8,local sessions=3", true),
            ("::::::allow_nets=127.0.0.1,hunter2", false),
            ("::::::allow_nets=", false),
            ("::::::allow_nets", false),
            ("::::::allow_nets=127.0.0.1 allow_nets=::1", false),
            ("::::::allow_real_nets=127.0.0.1", false),
            ("::::::user=postmaster", false),
            ("::::::proxy host=192.0.2.1", false),
            ("::::::hunter2", false),
            // Not an extra field.
            (":::nologin", true),
            (":::::nologin", true),
            ("::::hunter2", false),
            ("::::::userdb_mail=mbox:hunter2", false),
            ("::::::userdb_mail_driver=maildir userdb_mail_path=/hunter2", false),
            ("::::::userdb_chroot=/hunter2", false),
            ("::::::userdb_mail_max_userip_connections=3", true),
            ("::::::userdb_mail=maildir:/srv/%u", false),
            ("::::::pop3=hunter2", false),
            ("::::::sessions", false),
            ("::::::pop3=yes pop3=no", false),
            ("::::::userdb_mail=/srv/a userdb_mail=/srv/b", false),
            ("::::/home/mrose::userdb_mail=maildir:~/Maildir pop3=no sessions=3", true),
        ] {
            let line = format!("mrose:{{PLAIN}}tanstaaf{others}");
            let entry = Line { number: 1, raw: line.as_bytes() }.entry().unwrap().unwrap();
            match entry.account(WeakSchemes::Refused) {
                Err(why) => {
                    let why = why.to_string();
                    assert!(!usable, "{others}: {why}");
                    assert!(!why.contains("hunter2") && !why.contains("127"), "{why}");
                }
                Ok(account) => {
                    assert!(usable && matches!(account.verifier, Verifier::Plain(_)), "{others}");
                }
            }
        }
    }
}
