//! The list of another server on the disk: how it is locked and replaced.
//!
//! Whoever can write to the directory of the list cannot make this write elsewhere: the directory
//! is opened once, and no link in it is followed.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, fsync, linkat, openat,
    renameat, unlinkat,
};
use rustix::io::Errno;

use crate::mailbox::maildir::open_trusted_directory;
use crate::uidl::{COURIER_LIST, DOVECOT_LIST};

/// The list of a Maildir, which the other server does not write until this is dropped.
#[derive(Debug)]
pub(super) struct ListFile {
    directory: OwnedFd,
    path: PathBuf,
    kind: Kind,
    _lock: Option<Lock>,
}

/// Whose list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dovecot,
    Courier,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Dovecot => DOVECOT_LIST,
            Self::Courier => COURIER_LIST,
        }
    }
}

/// Why a list cannot be exported.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Dovecot locks its list for a moment.
    #[error(
        "{} exists, because Dovecot writes its list now; try again, or remove that file if it is \
         older than two minutes", .0.display()
    )]
    Locked(PathBuf),
    /// A symbolic link, a directory or the like.
    #[error("{} is not a regular file; remove it", .0.display())]
    NotRegular(PathBuf),
    /// All names for the old list are taken.
    #[error("{}.before-restante and {} more exist; remove them", .0.display(), BACKUPS - 1)]
    Backups(PathBuf),
    /// An error of the system.
    #[error("cannot {what} {}: {error}", path.display())]
    System { what: &'static str, path: PathBuf, error: io::Error },
}

/// What became of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It was as it should be already.
    Unchanged,
    /// It is new; this is the name of the old one.
    Replaced(Option<String>),
}

impl ListFile {
    /// Opens the directory of a list, and locks the list as its server does.
    pub(super) fn open(directory: &Path, kind: Kind) -> Result<Self, Error> {
        let path = directory.join(kind.name());
        let directory = open_trusted(directory)?;
        let lock = match kind {
            Kind::Dovecot => Some(Lock::take(&directory, &path)?),
            // Courier does not lock its list.
            Kind::Courier => None,
        };
        Ok(Self { directory, path, kind, _lock: lock })
    }

    /// The path of the list.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the list; `None` if there is none.
    fn read(&self) -> Result<Option<File>, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.directory, self.kind.name(), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(Error::NotRegular(self.path.clone())),
            Err(error) => return Err(system("open", &self.path, error)),
        };
        let stat = fstat(&file).map_err(|error| system("read", &self.path, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotRegular(self.path.clone()));
        }
        Ok(Some(file.into()))
    }

    /// Replaces the list by one with the owner and the mode of `maildir`, and keeps the old one.
    ///
    /// A crash leaves the old list or the new one, and never none.
    pub(super) fn replace(&self, text: &[u8], maildir: &Path) -> Result<Written, Error> {
        if self.is(text)? {
            return Ok(Written::Unchanged);
        }
        let like = fstat(open_trusted(maildir)?).map_err(|error| system("open", maildir, error))?;
        let new = format!("{}.restante", self.kind.name());
        let in_list = |error| system("write", &self.path, error);
        // A crash may have left one.
        unlink(&self.directory, &new).map_err(in_list)?;
        let written = self.write(&new, text, &like).and_then(|()| {
            let backup = self.keep_old()?;
            renameat(&self.directory, &new, &self.directory, self.kind.name()).map_err(in_list)?;
            fsync(&self.directory).map_err(in_list)?;
            Ok(Written::Replaced(backup))
        });
        if written.is_err() {
            unlink(&self.directory, &new).ok();
        }
        written
    }

    fn is(&self, text: &[u8]) -> Result<bool, Error> {
        let Some(file) = self.read()? else { return Ok(false) };
        let in_list = |error| Error::System { what: "read", path: self.path.clone(), error };
        if file.metadata().map_err(in_list)?.len() != text.len() as u64 {
            return Ok(false);
        }
        let mut old = Vec::with_capacity(text.len());
        io::Read::read_to_end(&mut &file, &mut old).map_err(in_list)?;
        Ok(old == text)
    }

    fn write(&self, name: &str, text: &[u8], like: &Stat) -> Result<(), Error> {
        let path = self.path.with_file_name(name);
        let failed = |error| system("write", &path, error);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let own = fstat(&file).map_err(failed)?;
        if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid) {
            let owner = (Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)));
            fchown(&file, owner.0, owner.1)
                .map_err(|error| system("give to the owner of the Maildir:", &path, error))?;
        }
        let readable_by =
            Mode::from_raw_mode(like.st_mode) & !(Mode::XUSR | Mode::XGRP | Mode::XOTH);
        fchmod(&file, readable_by & Mode::from_raw_mode(0o666) | Mode::RUSR | Mode::WUSR)
            .map_err(failed)?;
        let mut file = File::from(file);
        let written = file.write_all(text).and_then(|()| file.sync_all());
        written.map_err(|error| Error::System { what: "write", path: path.clone(), error })
    }

    /// Gives the old list a second name, and returns that.
    fn keep_old(&self) -> Result<Option<String>, Error> {
        let list = self.kind.name();
        for number in 1..=BACKUPS {
            let backup = match number {
                1 => format!("{list}.before-restante"),
                number => format!("{list}.before-restante.{number}"),
            };
            match linkat(&self.directory, list, &self.directory, &backup, AtFlags::empty()) {
                Ok(()) => return Ok(Some(backup)),
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(system("keep", &self.path, error)),
            }
        }
        Err(Error::Backups(self.path.clone()))
    }
}

/// `dovecot-uidlist.lock`, which keeps Dovecot from writing the list.
#[derive(Debug)]
struct Lock(OwnedFd);

impl Lock {
    fn take(directory: &OwnedFd, list: &Path) -> Result<Self, Error> {
        let path = list.with_file_name(LOCK);
        let failed = |error| system("lock", list, error);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match openat(directory, LOCK, flags, Mode::RUSR | Mode::WUSR) {
            Ok(_) => {}
            Err(Errno::EXIST) => return Err(Error::Locked(path)),
            Err(error) => return Err(failed(error)),
        }
        // From here on, dropping this removes the file.
        Ok(Self(directory.try_clone().map_err(|error| {
            unlink(directory, LOCK).ok();
            Error::System { what: "lock", path: list.to_owned(), error }
        })?))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Dovecot takes the lock away after two minutes.
        unlink(&self.0, LOCK).ok();
    }
}

/// Opens a directory, following only links that another user could not have made.
fn open_trusted(path: &Path) -> Result<OwnedFd, Error> {
    let opened = open_trusted_directory(path);
    opened.map_err(|error| Error::System { what: "open", path: path.to_owned(), error })
}

fn unlink(directory: impl AsFd, name: &str) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

fn system(what: &'static str, path: &Path, error: Errno) -> Error {
    Error::System { what, path: path.to_owned(), error: error.into() }
}

const LOCK: &str = "dovecot-uidlist.lock";

/// How many old lists are kept.
const BACKUPS: usize = 9;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_old_list_is_kept() {
        let maildir = tempfile::tempdir().unwrap();
        fs::set_permissions(&maildir, fs::Permissions::from_mode(0o2750)).unwrap();
        let path = |name: &str| maildir.path().join(name);
        let replace = |text: &str| {
            let list = ListFile::open(maildir.path(), Kind::Dovecot).unwrap();
            assert!(path(LOCK).exists());
            list.replace(text.as_bytes(), maildir.path()).unwrap()
        };
        assert_eq!(replace("one"), Written::Replaced(None));
        assert_eq!(fs::metadata(path("dovecot-uidlist")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(replace("one"), Written::Unchanged);
        fs::write(path("dovecot-uidlist.restante"), "left by a crash").unwrap();
        let backup = "dovecot-uidlist.before-restante".to_owned();
        assert_eq!(replace("two"), Written::Replaced(Some(backup.clone())));
        assert_eq!(replace("three"), Written::Replaced(Some(format!("{backup}.2"))));
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!(text("dovecot-uidlist"), "three");
        assert_eq!(text(&backup), "one");
        assert_eq!(fs::read_dir(&maildir).unwrap().count(), 3);
    }

    #[test]
    fn dovecot_is_not_interrupted() {
        let maildir = tempfile::tempdir().unwrap();
        fs::write(maildir.path().join(LOCK), "").unwrap();
        let error = ListFile::open(maildir.path(), Kind::Dovecot).unwrap_err();
        assert!(matches!(error, Error::Locked(_)), "{error}");
        assert!(maildir.path().join(LOCK).exists());
        ListFile::open(maildir.path(), Kind::Courier).unwrap();
    }

    #[test]
    fn links_are_not_followed() {
        let (maildir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = other.path().join("target");
        fs::write(&target, "target").unwrap();
        for name in ["courierpop3dsizelist", "courierpop3dsizelist.restante"] {
            symlink(&target, maildir.path().join(name)).unwrap();
        }
        let list = ListFile::open(maildir.path(), Kind::Courier).unwrap();
        let error = list.replace(b"new", maildir.path()).unwrap_err();
        assert!(matches!(error, Error::NotRegular(_)), "{error}");
        fs::remove_file(maildir.path().join("courierpop3dsizelist")).unwrap();
        assert_eq!(list.replace(b"new", maildir.path()).unwrap(), Written::Replaced(None));
        assert_eq!(fs::read_to_string(target).unwrap(), "target");
    }
}
