//! App passwords: further passwords of a user, one for each device or program, each with a name.
//!
//! - They are random, so a single digest with a salt protects them, and comparing all those of a user
//!   takes some microseconds. They are compared before the user's own password. A verifier that is
//!   slower is not used: each guess would take that time once more, for each app password.
//! - They are for mechanisms that send the password. SCRAM has the keys of one password.

use std::fmt;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};

use super::{Account, Attributes};
use crate::password::{MOST_RANDOM_OCTETS, Unusable, Verifier};
use crate::protocol::Secret;

/// The name of an app password, for the log and for lists.
///
/// - 1 to 64 printable characters of ASCII, without blanks and `:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppPasswordName(Arc<str>);

/// Why a text is not the name of an app password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of an app password has 1 to {} printable ASCII characters, without blanks and colons",
    AppPasswordName::MOST_OCTETS
)]
pub struct AppPasswordNameError;

/// The app passwords of a user. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AppPasswords(Option<Arc<[AppPassword]>>);

/// A password with its name.
#[derive(Clone, Debug)]
struct AppPassword {
    name: AppPasswordName,
    verifier: Verifier,
}

/// Why an app password is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppPasswordError {
    /// Its password field cannot be used.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// Its hash is slow, or none.
    #[error(
        "its password is not a salted digest, as {{SSHA256}} is; make a new app password with \
         restante user app-password add, or with restante hash --app-password"
    )]
    NotADigest,
    /// It would be used under other conditions than the user's own password.
    #[error("it has attributes that the user does not have; give them to the user")]
    Attributes,
    /// The user has too many.
    #[error("the user has {MOST} others, and no more are used; remove some")]
    TooMany,
}

impl AppPasswordName {
    const MOST_OCTETS: usize = 64;

    /// The name that stands for one in a database or directory, which may be any text: with `_` in
    /// place of the characters that no name has, and cut off at the end.
    #[cfg(any(feature = "ldap", feature = "sql"))]
    pub(super) fn shown(name: &str) -> Self {
        let letters = name.chars().take(Self::MOST_OCTETS);
        let name: String = letters.map(|c| if is_allowed(c) { c } else { '_' }).collect();
        Self(name.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for AppPasswordName {
    type Error = AppPasswordNameError;

    fn try_from(name: &str) -> Result<Self, AppPasswordNameError> {
        if (1..=Self::MOST_OCTETS).contains(&name.len()) && name.chars().all(is_allowed) {
            Ok(Self(name.into()))
        } else {
            Err(AppPasswordNameError)
        }
    }
}

/// Whether the name of an app password may have this character.
fn is_allowed(character: char) -> bool {
    character.is_ascii_graphic() && character != ':'
}

impl fmt::Display for AppPasswordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AppPasswords {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds the app password that a line or a row describes to those of a user with `attributes`.
    pub(super) fn add(
        &mut self,
        name: AppPasswordName,
        described: Account,
        attributes: &Attributes,
    ) -> Result<(), AppPasswordError> {
        let Account { verifier, attributes: own, .. } = described;
        match verifier.why_unusable() {
            Some(why) => return Err(why.clone().into()),
            None if !verifier.is_salted_digest() => return Err(AppPasswordError::NotADigest),
            None => {}
        }
        if own != Attributes::default() && own != *attributes {
            return Err(AppPasswordError::Attributes);
        }
        if self.all().len() >= MOST {
            return Err(AppPasswordError::TooMany);
        }
        let others = self.all().iter().cloned();
        self.0 = Some(others.chain([AppPassword { name, verifier }]).collect());
        Ok(())
    }

    /// The name of the one that is `password`.
    ///
    /// - Compares all of them, so that the time does not reveal which one it is.
    pub(crate) fn find(&self, password: &Secret<Vec<u8>>) -> Option<&AppPasswordName> {
        let mut found = None;
        for AppPassword { name, verifier } in self.all() {
            if is_right(verifier, password) {
                found = Some(name);
            }
        }
        found
    }

    /// Compares `password` as often as it would be compared if the user had more app passwords: then
    /// a wrong password costs every user the same.
    pub(crate) fn find_in_vain(&self, password: &Secret<Vec<u8>>) {
        static NOTHING: LazyLock<Verifier> = LazyLock::new(Verifier::salted_digest_of_nothing);
        for _ in self.all().len()..MOST {
            black_box(is_right(&NOTHING, password));
        }
    }

    fn all(&self) -> &[AppPassword] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// A longer password is never right: comparing it would take longer.
fn is_right(verifier: &Verifier, password: &Secret<Vec<u8>>) -> bool {
    let password = password.expose();
    password.len() <= MOST_RANDOM_OCTETS && verifier.verify(password) == Ok(true)
}

/// The most app passwords of a user that are used.
pub(super) const MOST: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::WeakSchemes;

    /// `{SSHA256}` of `word`.
    fn digest(word: &str) -> Account {
        use crate::password::{NewPassword, NewScheme};
        let word = NewPassword::try_from(Secret::new(word.into())).unwrap();
        account(NewScheme::SaltedSha256.field(&word).unwrap().expose())
    }

    fn account(field: &str) -> Account {
        Account::new(Verifier::parse(field, WeakSchemes::Allowed))
    }

    fn name(name: &str) -> AppPasswordName {
        name.try_into().unwrap()
    }

    fn found(all: &AppPasswords, password: &str) -> Option<String> {
        all.find(&Secret::new(password.into())).map(ToString::to_string)
    }

    #[test]
    fn names() {
        for right in ["phone", "a", "Thunderbird@work/2", "=\"#", &"x".repeat(64)] {
            assert!(AppPasswordName::try_from(right).is_ok(), "{right}");
        }
        for wrong in ["", "my phone", "a:b", "t\tt", "é", "a\u{7f}", &"x".repeat(65)] {
            assert!(AppPasswordName::try_from(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    #[cfg(any(feature = "ldap", feature = "sql"))]
    fn any_text_of_a_database_has_a_name_that_is_safe_in_the_log() {
        for (text, shown) in [
            ("phone", "phone"),
            ("Jörg's phone", "J_rg's_phone"),
            ("a:b\r\nc\u{202e}", "a_b__c_"),
            (&*"é".repeat(100), &*"_".repeat(64)),
        ] {
            assert_eq!(AppPasswordName::shown(text), name(shown));
        }
    }

    #[test]
    fn each_one_is_found_by_its_password() {
        let mut all = AppPasswords::default();
        assert!(all.is_empty() && found(&all, "x").is_none());
        for n in 0..MOST {
            let added = all.add(name(&n.to_string()), digest(&format!("secret{n}")), &DEFAULT);
            assert_eq!(added, Ok(()));
        }
        for n in 0..MOST {
            assert_eq!(found(&all, &format!("secret{n}")), Some(n.to_string()));
        }
        for wrong in ["", "secret", "secret25", "secret0 ", &"x".repeat(10_000)] {
            assert_eq!(found(&all, wrong), None, "{wrong}");
        }
        let more = all.add(name("more"), digest("more"), &DEFAULT);
        assert_eq!(more, Err(AppPasswordError::TooMany));
        assert_eq!(found(&all, "more"), None);
    }

    #[test]
    fn a_password_that_is_slow_or_not_hashed_is_not_used() {
        let argon2 = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv";
        for (field, hint) in [
            ("{PLAIN}abcd-efgh", "not a salted digest"),
            (argon2, "not a salted digest"),
            ("{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "not a salted digest"),
            ("{SSHA256}AAAA", "too short"),
            ("!", "locked"),
        ] {
            let mut all = AppPasswords::default();
            let why = all.add(name("phone"), account(field), &DEFAULT).unwrap_err().to_string();
            assert!(why.contains(hint) && all.is_empty(), "{field}: {why}");
        }
    }

    #[test]
    fn attributes_of_an_app_password_are_those_of_its_user() {
        let here = Attributes { home: Some("/home/mrose".into()), ..Attributes::default() };
        let restricted = Attributes { pop3: false, ..Attributes::default() };
        let describe = |attributes: &Attributes| Account {
            attributes: attributes.clone(),
            ..digest("abcd-efgh")
        };
        for (own, attributes, is_used) in [
            (&DEFAULT, &DEFAULT, true),
            (&DEFAULT, &here, true),
            (&here, &here, true),
            (&here, &DEFAULT, false),
            (&restricted, &here, false),
        ] {
            let mut all = AppPasswords::default();
            let added = all.add(name("phone"), describe(own), attributes);
            assert_eq!(added.is_ok(), is_used, "{own:?} {attributes:?}");
        }
    }

    const DEFAULT: Attributes =
        Attributes { home: None, mail: None, pop3: true, sessions: None, allow_nets: None };
}
