//! The directories that a Maildir must have: checked by each login, by `restante check` and by
//! `restante user test`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::super::Failure;
use super::folder::Folder;
use super::resolve::open_directory_for;
use super::system::{geteuid, openat};
use super::wait::{Wait, open_at};

/// Checks whether a login could open the Maildir at `path`, if the server runs as the present user.
///
/// # Errors
/// Those of [`examine_for`].
pub fn examine(path: &Path) -> Result<(), Failure> {
    examine_for(path, geteuid().as_raw())
}

/// Checks whether a login could open the Maildir at `path`, if the server runs as the user
/// `server`.
///
/// `cur`, `new` and `tmp` must be directories, not symbolic links, and readable; `cur` and `new`
/// must be searchable. Permissions are those of the present user, but symbolic links on the way are
/// followed as that server would. Locks and changes nothing.
///
/// # Errors
/// [`Failure`] with the reason. Its source is `NotFound` if the Maildir does not exist.
pub fn examine_for(path: &Path, server: u32) -> Result<(), Failure> {
    let maildir = open_directory_for(server, path, OFlags::RDONLY, Wait::IfNeedBe)
        .map_err(|error| Failure::new(format!("open {}", path.display()), error))?;
    let directories = Directories::open(maildir.as_fd(), path, Wait::IfNeedBe)?;
    for folder in Folder::READING_ORDER {
        directories.enter(folder).map_err(|error| {
            Failure::new(format!("enter {}", path.join(folder.name()).display()), error.into())
        })?;
    }
    Ok(())
}

/// The open directories `new` and `cur` of a Maildir.
#[derive(Debug)]
pub(super) struct Directories {
    new: OwnedFd,
    cur: OwnedFd,
}

impl Directories {
    /// Opens them in the directory of the Maildir at `path`.
    ///
    /// # Errors
    /// When one of them or `tmp` is missing: then this is not a Maildir, or, say, an empty
    /// mount point.
    pub(super) fn open(
        maildir: impl AsFd + Copy,
        path: &Path,
        wait: Wait,
    ) -> Result<Self, Failure> {
        let directories = Self::open_folders(maildir, path, wait)?;
        open(maildir, path, "tmp", wait)?;
        Ok(directories)
    }

    /// Opens them in a directory that has been checked to be a Maildir.
    ///
    /// # Errors
    /// When one of them is missing.
    pub(super) fn open_folders(
        maildir: impl AsFd + Copy,
        path: &Path,
        wait: Wait,
    ) -> Result<Self, Failure> {
        let new = open(maildir, path, Folder::New.name(), wait)?;
        let cur = open(maildir, path, Folder::Cur.name(), wait)?;
        Ok(Self { new, cur })
    }

    /// Opens one of them again, to read it from its start.
    ///
    /// # Errors
    /// When the directory is not searchable.
    pub(super) fn enter(&self, folder: Folder) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(self.fd(folder), ".", flags, Mode::empty())
    }

    /// Opens one by its name, so that the file system revalidates its cache.
    ///
    /// # Errors
    /// Those of [`enter`](Self::enter).
    pub(super) fn enter_by_name(maildir: &File, folder: Folder) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(maildir, folder.name(), flags, Mode::empty())?;
        // The directory must be searchable.
        openat(directory, ".", flags, Mode::empty())
    }

    /// One of them.
    pub(super) fn fd(&self, folder: Folder) -> impl AsFd {
        match folder {
            Folder::Cur => self.cur.as_fd(),
            Folder::New => self.new.as_fd(),
        }
    }
}

fn open(maildir: impl AsFd, path: &Path, name: &str, wait: Wait) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_at(maildir, name, flags, wait).map_err(|error| {
        Failure::new(format!("open {}", path.join(name).display()), in_words(error))
    })
}

fn in_words(error: Errno) -> io::Error {
    match error {
        // The error for a symbolic link, too.
        Errno::NOTDIR => io::Error::new(
            io::ErrorKind::NotADirectory,
            "not a directory (a symbolic link is not followed here)",
        ),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn maildir() -> tempfile::TempDir {
        let maildir = tempfile::tempdir().unwrap();
        for name in ["cur", "new", "tmp"] {
            fs::create_dir(maildir.path().join(name)).unwrap();
        }
        maildir
    }

    fn listed(directory: &Path) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        names.sort();
        names
    }

    #[test]
    fn a_whole_maildir_is_fine_and_is_left_as_it_is() {
        let maildir = maildir();
        examine(maildir.path()).unwrap();
        assert_eq!(listed(maildir.path()), ["cur", "new", "tmp"]);
        let links = tempfile::tempdir().unwrap();
        symlink(maildir.path(), links.path().join("mrose")).unwrap();
        examine(&links.path().join("mrose")).unwrap();
    }

    #[test]
    fn missing_directories_are_named() {
        let nothing = tempfile::tempdir().unwrap();
        let missing = examine(&nothing.path().join("Maildir")).unwrap_err();
        assert_eq!(missing.source().kind(), io::ErrorKind::NotFound);
        for name in ["cur", "new", "tmp"] {
            let maildir = maildir();
            let path = maildir.path().join(name);
            let found = || {
                let failure = examine(maildir.path()).unwrap_err();
                assert!(failure.to_string().contains(&path.display().to_string()), "{failure}");
                failure
            };
            fs::remove_dir(&path).unwrap();
            assert_eq!(found().source().kind(), io::ErrorKind::NotFound);
            symlink(nothing.path(), &path).unwrap();
            assert!(found().to_string().contains("symbolic link"), "{name}");
            fs::remove_file(&path).unwrap();
            fs::write(&path, "").unwrap();
            assert_eq!(found().source().kind(), io::ErrorKind::NotADirectory);
        }
    }

    /// The superuser may read and enter all of them.
    #[test]
    fn directories_without_permission_are_named() {
        for (name, mode) in [("cur", 0o600), ("new", 0o600), ("new", 0o300), ("tmp", 0o300)] {
            let maildir = maildir();
            let path = maildir.path().join(name);
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let closed = fs::read_dir(&path).is_err() || fs::metadata(path.join(".")).is_err();
            let found = examine(maildir.path()).err().map(|failure| failure.to_string());
            assert_eq!(found.is_some(), closed, "{name} {mode:o}");
            fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
            let fits = |found: String| found.contains(&path.display().to_string());
            assert!(found.is_none_or(fits));
        }
    }
}
