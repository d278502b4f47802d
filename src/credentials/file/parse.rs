//! The lines of a credential file: `name:{SCHEME}hash[:uid:gid:gecos:home:shell:extra]`, the form
//! of Dovecot's passwd-file. What becomes of them is the business of `table` and `edit`.

use std::str;

use crate::credentials::Account;
use crate::credentials::attribute::{Attribute, Source};
use crate::password::{Verifier, WeakSchemes};
use crate::protocol::Username;

/// A line as it stands in the file.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// From 1.
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
}

/// The lines of a file; together they are the file, octet for octet.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    (1..)
        .zip(text.split_inclusive(|&octet| octet == b'\n'))
        .map(|(number, raw)| Line { number, raw })
}

impl<'a> Line<'a> {
    /// The user that the line is about; `None` for a comment or a blank line.
    ///
    /// Faults say what is wrong and what to write, and show nothing of the line: what stands in
    /// the place of a name may be a piece of a password.
    pub(super) fn entry(self) -> Result<Option<Entry<'a>>, String> {
        let content = self.content();
        if content.first() == Some(&b'#') || content.trim_ascii().is_empty() {
            return Ok(None);
        }
        let content = str::from_utf8(content)
            .map_err(|_| "is not UTF-8; write the file in UTF-8".to_owned())?;
        let (name, fields) = content.split_once(':').ok_or_else(|| {
            "has no colon; write name:{SCHEME}hash, or # before a comment".to_owned()
        })?;
        if name.trim() != name {
            return Err(
                "has a blank beside the user name; begin with the name, then a colon".into()
            );
        }
        let name = Username::try_from(name)
            .map_err(|fault| format!("the user name {fault}; write another name"))?;
        let (password, others) = fields
            .split_once(':')
            .map_or((fields, None), |(password, rest)| (password, Some(rest)));
        Ok(Some(Entry { name, password, others }))
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
    /// What the line says of the user.
    ///
    /// # Errors
    /// Why this user cannot log in, and what to write.
    /// - Extra fields may restrict the login to some addresses, some times or some other server:
    ///   those restrictions are not known here.
    /// - Mail is not to be served from elsewhere than the line says.
    pub(super) fn account(&self, weak: WeakSchemes) -> Result<Account, String> {
        match self.extra().map(|(key, _)| key).find(|key| !harmless(key)) {
            Some(key) if is_among(RESTRICTIONS, key) => {
                Err(format!("its extra field {key} is not supported; remove it"))
            }
            Some(key) if is_among(ELSEWHERE, key) => Err(format!(
                "its extra field {key} is not supported; write userdb_mail=maildir:/path in its \
                 place"
            )),
            Some(_) => Err("it has an extra field that is not known; remove it".into()),
            None => {
                let verifier = Verifier::parse(self.password, weak);
                Ok(Account { verifier, attributes: self.attributes()? })
            }
        }
    }

    /// The value of an extra field, if there is one. Which of two is meant is not guessed.
    fn read_extra<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, String> {
        let mut values = self.extra().filter_map(|(name, value)| (name == key).then_some(value));
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                parse(value).map(Some).map_err(|fault| format!("its {key} {fault}"))
            }
            (Some(_), Some(_)) => Err(format!("it has {key} twice; leave one of them")),
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

impl Source for Entry<'_> {
    fn read<T>(
        &self,
        attribute: Attribute,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, String> {
        match attribute {
            Attribute::Home => match self.read_extra("userdb_home", &parse)? {
                Some(home) => Ok(Some(home)),
                None => parse(self.field(3).unwrap_or_default())
                    .map(Some)
                    .map_err(|fault| format!("its home directory {fault}")),
            },
            Attribute::Mail => self.read_extra("userdb_mail", |value| match value {
                variable if variable.contains('%') => {
                    Err("has a variable of Dovecot, write the path")
                }
                value => parse(value),
            }),
            Attribute::Pop3 => self.read_extra("pop3", parse),
            Attribute::Sessions => self.read_extra("sessions", parse),
            Attribute::AllowNets => self.read_extra("allow_nets", parse),
        }
    }
}

/// Fields that are obeyed, fields for the other half of Dovecot (the userdb), for its log, and for
/// how it delays replies.
fn harmless(key: &str) -> bool {
    matches!(key, "allow_nets" | "pop3" | "sessions" | "nodelay")
        || (key.starts_with("userdb_") && !is_among(ELSEWHERE, key))
        || key.starts_with("event_")
}

fn is_among(keys: &str, key: &str) -> bool {
    keys.split(' ').any(|known| known == key)
}

/// Extra fields that may be named in a message; another word may be a piece of a password.
const RESTRICTIONS: &str = "allow_real_nets allow_services auth_mech delay_until deny \
    destuser domain fail host master mech noauthenticate nologin nopassword pass port proxy \
    proxy_maybe proxy_mech reason user username";

/// Extra fields by which Dovecot finds mail in another place.
const ELSEWHERE: &str = "userdb_chroot userdb_mail_driver userdb_mail_inbox_path \
    userdb_mail_location userdb_mail_path";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Result<Option<(String, String, Option<String>)>, String> {
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
    fn lines_about_nobody() {
        for line in ["", "\n", "\r\n", "  \t \n", "#\n", "# mrose:x\r\n", "#mrose:\u{ff}\n"] {
            assert_eq!(entry(line), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn a_faulty_line_says_what_to_write_and_shows_nothing_of_itself() {
        for (line, fault) in [
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
            let said = entry(line).unwrap_err();
            assert!(said.contains(fault), "{line:?}: {said}");
            assert!(!said.contains("tanstaaf"), "{said}");
        }
        let bytes = Line { number: 1, raw: b"mrose:\xff\xfe\n" };
        assert!(bytes.entry().err().unwrap().contains("UTF-8"));
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
    fn what_cannot_be_obeyed_keeps_a_user_out() {
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
