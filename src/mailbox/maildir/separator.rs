//! The character between the unique name and the flags in the name of a file: `:`, unless the file
//! system does not allow that.
//!
//! Unique names have no `:`, so the first one separates, whatever follows it. They may have the
//! other characters, most often `_`; so the last of these separates that `2,` and letters follow to
//! the end of the name. Only characters that some program uses are supported.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use memchr::{memchr, memmem};

use super::folder::Folder;
use super::system::read_dir;

/// A character before flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Separator {
    /// `:`, as everywhere.
    #[default]
    Colon,
    /// `;`, as mbsync and others write on Windows.
    Semicolon,
    /// `!`, as `OfflineIMAP` writes when it is set to be compatible with Windows.
    Exclamation,
    /// `_`, which some file servers write in place of characters that they cannot store.
    Underscore,
}

impl Separator {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Colon, Self::Semicolon, Self::Exclamation, Self::Underscore];

    /// The character.
    pub fn character(self) -> char {
        char::from(self.byte())
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Colon => b':',
            Self::Semicolon => b';',
            Self::Exclamation => b'!',
            Self::Underscore => b'_',
        }
    }

    /// The part of a file name before the flags; all of it if there are no flags.
    pub(super) fn before_flags(self, file_name: &[u8]) -> &[u8] {
        let end = match self {
            Self::Colon => memchr(b':', file_name),
            Self::Semicolon | Self::Exclamation | Self::Underscore => self.find(file_name),
        };
        end.and_then(|end| file_name.get(..end)).unwrap_or(file_name)
    }

    /// The flags in a file name.
    pub(super) fn flags(self, file_name: &[u8]) -> &[u8] {
        let after = file_name.get(self.before_flags(file_name).len() + 1..);
        after.and_then(|info| info.strip_prefix(b"2,")).unwrap_or_default()
    }

    /// The position of the separator, if flags follow it to the end of the name.
    fn find(self, file_name: &[u8]) -> Option<usize> {
        let mark = [self.byte(), b'2', b','];
        let at = memmem::rfind(file_name, &mark)?;
        let flags = file_name.get(at + mark.len()..)?;
        flags.iter().all(u8::is_ascii_alphabetic).then_some(at)
    }
}

/// Finds a name in the Maildir at `path` with flags behind another separator; returns that
/// separator and the name.
///
/// Looks at up to a hundred names in `cur`.
///
/// # Errors
/// When `cur` cannot be read.
pub fn foreign_separator(
    path: &Path,
    separator: Separator,
) -> io::Result<Option<(Separator, String)>> {
    for entry in read_dir(path.join(Folder::Cur.name()))?.take(LOOKED_AT) {
        let name = entry?.file_name();
        let name = name.as_bytes();
        if separator.find(name).is_none()
            && let Some(other) = Separator::ALL.into_iter().find(|other| other.find(name).is_some())
        {
            return Ok(Some((other, name.escape_ascii().to_string())));
        }
    }
    Ok(None)
}

const LOOKED_AT: usize = 100;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Separator::{Colon, Exclamation, Semicolon, Underscore};
    use super::*;

    #[test]
    fn flags_follow_the_separator() {
        for (name, separator, expected) in [
            ("1.a:2,FS", Colon, "FS"),
            ("1.a,S=4:2,", Colon, ""),
            ("1.a", Colon, ""),
            ("1.a:1,b", Colon, ""),
            ("1_a_2,Sb", Underscore, "Sb"),
        ] {
            assert_eq!(separator.flags(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }

    #[test]
    fn flags_are_told_from_names() {
        for (separator, name, expected) in [
            (Colon, "1.x:2,S", "1.x"),
            (Colon, "1.x:1,anything", "1.x"),
            (Colon, "1.x;2,S", "1.x;2,S"),
            (Semicolon, "1.x;2,S", "1.x"),
            (Semicolon, "1.x,S=12;2,", "1.x,S=12"),
            (Semicolon, "1.x", "1.x"),
            (Semicolon, "1.a;b;2,FS", "1.a;b"),
            (Semicolon, "1.x;2,S=5", "1.x;2,S=5"),
            (Semicolon, "1.x:2,S", "1.x:2,S"),
            (Exclamation, "1.x!2,Sab", "1.x"),
            (Exclamation, "1.x!1,S", "1.x!1,S"),
            (Underscore, "1.M2P3V4_0.host,S=5_2,S", "1.M2P3V4_0.host,S=5"),
            (Underscore, "1.18232_2.host,U=4_2,", "1.18232_2.host,U=4"),
            (Underscore, "1.M1P1_2,S=5", "1.M1P1_2,S=5"),
            (Underscore, "1.M1P1_2,S=5_2,S", "1.M1P1_2,S=5"),
            (Underscore, "_2,", ""),
        ] {
            let found = separator.before_flags(name.as_bytes());
            assert_eq!(found, expected.as_bytes(), "{separator:?} {name}");
        }
    }

    #[test]
    fn names_with_another_separator_are_noticed() {
        let maildir = tempfile::tempdir().unwrap();
        let cur = maildir.path().join("cur");
        foreign_separator(maildir.path(), Colon).unwrap_err();
        fs::create_dir(&cur).unwrap();
        for (name, separator, expected) in [
            ("1.x:2,S", Colon, None),
            ("2.x", Colon, None),
            ("3.x_2,S=4:2,", Colon, None),
            ("1.x:2,S", Semicolon, Some(Colon)),
            ("4.x;2,S", Colon, Some(Semicolon)),
        ] {
            fs::write(cur.join(name), "").unwrap();
            let found = foreign_separator(maildir.path(), separator).unwrap();
            assert_eq!(found.map(|(other, _)| other), expected, "{name}");
        }
        fs::remove_dir_all(&cur).unwrap();
        fs::create_dir(&cur).unwrap();
        for (name, other) in [("1.x!2,S", Exclamation), ("1.x_2,FS", Underscore)] {
            fs::write(cur.join(name), "").unwrap();
            let found = foreign_separator(maildir.path(), Colon).unwrap();
            assert_eq!(found, Some((other, name.to_owned())));
            fs::remove_file(cur.join(name)).unwrap();
        }
    }
}
