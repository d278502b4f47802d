//! Attributes of a user as text: the same in a credential file, a row of a database, an entry of a
//! directory and an environment. An error does not show the text that it is about.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::Attributes;
use crate::limits::{AllowedNetworks, NetworksError};

/// An attribute of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Home,
    Mail,
    Pop3,
    Sessions,
    AllowNets,
}

/// What is wrong with the text of an attribute. To be shown behind the name of the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Octets that are no text.
    #[error("is not UTF-8")]
    NotUtf8,
    /// A path that no file can have.
    #[error("has a NUL character in its path")]
    Nul,
    /// A relative path.
    #[error("is not a whole path, begin it with \"/\"")]
    NotAbsolute,
    /// The place of mail in another format.
    #[error("is not a Maildir, write maildir:/path")]
    NotMaildir,
    /// `~/` without a home directory.
    #[error("is below a home directory that is not known, write a whole path")]
    UnknownHome,
    /// Neither yes nor no.
    #[error("does not say whether the user may use POP3, write yes or no")]
    NotYesOrNo,
    /// No number from 1.
    #[error("is not a number of sessions, write 1 or more")]
    NotSessions,
    /// A list of networks that cannot be read.
    #[error(transparent)]
    Networks(#[from] NetworksError),
}

impl Attribute {
    /// Each one. The home directory comes before the Maildir, which may be below it.
    pub(super) const ALL: [Self; 5] =
        [Self::Home, Self::Mail, Self::Pop3, Self::Sessions, Self::AllowNets];
}

impl Attributes {
    /// Sets an attribute from its text.
    pub(super) fn set(&mut self, attribute: Attribute, text: &str) -> Result<(), Error> {
        // A new field needs a text here.
        let Self { home, mail, pop3, sessions, allow_nets } = self;
        match attribute {
            Attribute::Home => *home = self::home(text)?,
            Attribute::Mail => *mail = self::mail(text, home.as_deref())?,
            Attribute::Pop3 => *pop3 = self::pop3(text)?,
            Attribute::Sessions => *sessions = Some(self::sessions(text)?),
            Attribute::AllowNets => *allow_nets = Some(AllowedNetworks::parse(text)?),
        }
        Ok(())
    }
}

/// A home directory: a whole path; `None` for an empty text.
fn home(text: &str) -> Result<Option<PathBuf>, Error> {
    match text {
        "" => Ok(None),
        path if path.contains('\0') => Err(Error::Nul),
        path if path.starts_with('/') => Ok(Some(path.into())),
        _ => Err(Error::NotAbsolute),
    }
}

/// A Maildir: a whole path, or one below the home directory (`~/Maildir`). Either may be written as
/// in Dovecot, `maildir:/path:OPTION=…`.
fn mail(text: &str, home: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    let path = match text.strip_prefix("maildir:") {
        Some(location) => location.split(':').next().unwrap_or_default(),
        None if text.contains(':') && !text.starts_with('/') => {
            return Err(Error::NotMaildir);
        }
        None => text,
    };
    match (path.strip_prefix("~/"), home) {
        (None, _) => self::home(path),
        (Some(_), None) => Err(Error::UnknownHome),
        (Some(below), Some(_)) if below.contains('\0') => Err(Error::Nul),
        (Some(below), Some(home)) => {
            let mut path = OsString::from(home);
            path.push("/");
            path.push(below);
            Ok(Some(path.into()))
        }
    }
}

/// Whether the user may use POP3.
fn pop3(text: &str) -> Result<bool, Error> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" | "1" => Ok(true),
        "no" | "n" | "false" | "0" => Ok(false),
        _ => Err(Error::NotYesOrNo),
    }
}

/// How many sessions the user may have.
fn sessions(text: &str) -> Result<NonZeroU32, Error> {
    text.parse().map_err(|_| Error::NotSessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<Option<PathBuf>, Error> {
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
        for (text, home, error) in [
            ("maildir:~/Maildir", None, Error::UnknownHome),
            ("Maildir", known, Error::NotAbsolute),
            ("~mrose/Maildir", known, Error::NotAbsolute),
            ("mbox:/var/mail/mrose", known, Error::NotMaildir),
            ("/srv/\0", known, Error::Nul),
            ("~/\0", known, Error::Nul),
        ] {
            assert_eq!(mail(text, home), Err(error), "{text:?}");
        }
        assert_eq!(home("/home/mrose"), path("/home/mrose"));
        assert_eq!(home("home"), Err(Error::NotAbsolute));
    }

    #[test]
    fn permission_and_sessions() {
        for (text, allowed) in [("yes", true), ("TRUE", true), ("1", true), ("N", false)] {
            assert_eq!(pop3(text), Ok(allowed));
        }
        for text in ["", "2", "perhaps", "yes "] {
            assert_eq!(pop3(text), Err(Error::NotYesOrNo), "{text:?}");
        }
        assert_eq!(sessions("3"), Ok(NonZeroU32::new(3).unwrap()));
        for text in ["", "0", "-1", "3.0", "4294967296", "many"] {
            assert_eq!(sessions(text), Err(Error::NotSessions), "{text:?}");
        }
    }
}
