//! Attributes of a user in words: the same in a credential file, a row of a database and an entry
//! of a directory. A value that cannot be used is said to be so without being shown.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::Attributes;
use crate::limits::AllowedNetworks;

/// What a store may say of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Home,
    Mail,
    Pop3,
    Sessions,
    AllowNets,
}

/// What a store has on one user: a line, an entry, a row, an environment.
pub(super) trait Source {
    /// Reads the text of an attribute; `None` when the store does not have it.
    ///
    /// # Errors
    /// What is wrong with it, with its name in the store and without the text.
    fn read<T>(
        &self,
        attribute: Attribute,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, String>;

    /// Reads all attributes.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    fn attributes(&self) -> Result<Attributes, String> {
        let home = self.read(Attribute::Home, home)?.flatten();
        let mail = |text: &str| mail(text, home.as_deref());
        Ok(Attributes {
            mail: self.read(Attribute::Mail, mail)?.flatten(),
            pop3: self.read(Attribute::Pop3, pop3)?.unwrap_or(true),
            sessions: self.read(Attribute::Sessions, sessions)?,
            allow_nets: self.read(Attribute::AllowNets, AllowedNetworks::parse)?,
            home,
        })
    }
}

/// A home directory: a whole path; an empty text says nothing.
fn home(text: &str) -> Result<Option<PathBuf>, &'static str> {
    match text {
        "" => Ok(None),
        path if path.contains('\0') => Err("has a NUL character in its path"),
        path if path.starts_with('/') => Ok(Some(path.into())),
        _ => Err("is not a whole path, begin it with \"/\""),
    }
}

/// A Maildir: a path like that of a home directory, or one below it (`~/Maildir`); or such a path
/// as Dovecot writes it, `maildir:/path:OPTION=…`.
fn mail(text: &str, home: Option<&Path>) -> Result<Option<PathBuf>, &'static str> {
    let path = match text.strip_prefix("maildir:") {
        Some(location) => location.split(':').next().unwrap_or_default(),
        None if text.contains(':') && !text.starts_with('/') => {
            return Err("is not a Maildir, write maildir:/path");
        }
        None => text,
    };
    match (path.strip_prefix("~/"), home) {
        (None, _) => self::home(path),
        (Some(_), None) => Err("is below a home directory that is not known, write a whole path"),
        (Some(below), Some(_)) if below.contains('\0') => Err("has a NUL character in its path"),
        (Some(below), Some(home)) => {
            let mut path = OsString::from(home);
            path.push("/");
            path.push(below);
            Ok(Some(path.into()))
        }
    }
}

/// Whether the user may use POP3.
fn pop3(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" | "1" => Ok(true),
        "no" | "n" | "false" | "0" => Ok(false),
        _ => Err("does not say whether the user may use POP3, write yes or no"),
    }
}

/// How many sessions the user may have.
fn sessions(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "is not a number of sessions, write 1 or more")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<Option<PathBuf>, &'static str> {
        Ok(Some(text.into()))
    }

    #[test]
    fn places_of_mail() {
        let known = Some(Path::new("/home/mrose"));
        for (text, home, place) in [
            ("", known, Ok(None)),
            ("maildir:", known, Ok(None)),
            ("/srv/mrose", None, path("/srv/mrose")),
            ("maildir:/srv/m rose", None, path("/srv/m rose")),
            ("maildir:/srv/mrose:INDEX=/x:LAYOUT=fs", None, path("/srv/mrose")),
            ("~/Maildir", known, path("/home/mrose/Maildir")),
            ("maildir:~/Maildir:INDEX=/x", known, path("/home/mrose/Maildir")),
            ("~//etc", known, path("/home/mrose//etc")),
        ] {
            assert_eq!(mail(text, home), place, "{text}");
        }
        for (text, home, hint) in [
            ("maildir:~/Maildir", None, "home directory"),
            ("Maildir", known, "whole path"),
            ("~mrose/Maildir", known, "whole path"),
            ("mbox:/var/mail/mrose", known, "maildir:/path"),
            ("/srv/\0", known, "NUL"),
            ("~/\0", known, "NUL"),
        ] {
            assert!(mail(text, home).unwrap_err().contains(hint), "{text:?}");
        }
        assert_eq!(home("/home/mrose"), path("/home/mrose"));
        assert!(home("home").unwrap_err().contains("whole path"));
    }

    #[test]
    fn permission_and_sessions() {
        for (text, allowed) in [("yes", true), ("TRUE", true), ("1", true), ("N", false)] {
            assert_eq!(pop3(text), Ok(allowed));
        }
        for text in ["", "2", "perhaps", "yes "] {
            assert!(pop3(text).is_err(), "{text:?}");
        }
        assert_eq!(sessions("3"), Ok(NonZeroU32::new(3).unwrap()));
        for text in ["", "0", "-1", "3.0", "4294967296", "many"] {
            assert!(sessions(text).is_err(), "{text:?}");
        }
    }
}
