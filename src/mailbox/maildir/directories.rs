//! What has to be there for a directory to be a Maildir: the rule by which a login opens one, and
//! by which `restante check` and `restante user test` call one fine.

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

/// Says why a login would not open the Maildir at `path`, if it would not; the server runs as the
/// present user.
///
/// # Errors
/// Those of [`examine_for`].
pub fn examine(path: &Path) -> Result<(), Failure> {
    examine_for(path, geteuid().as_raw())
}

/// Says why a login to a server that runs as the user `server` would not open the Maildir at
/// `path`, if it would not.
///
/// Symbolic links on the way to it are followed as that server would.
/// `cur`, `new` and `tmp` have to be directories, not symbolic links, and readable; the messages in
/// `cur` and `new` have to be within reach. That is asked as the present user. Nothing is locked
/// and nothing is changed.
///
/// # Errors
/// [`Failure`] with what is wrong; its source is `NotFound` also when there is no Maildir at all.
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

/// The directories of a Maildir in which messages are, open.
#[derive(Debug)]
pub(super) struct Directories {
    new: OwnedFd,
    cur: OwnedFd,
}

impl Directories {
    /// Opens them in the directory of the Maildir at `path`.
    ///
    /// # Errors
    /// When one of them or `tmp` is missing: then this is no Maildir, or not the one that was
    /// meant, say an empty mount point.
    pub(super) fn open(
        maildir: impl AsFd + Copy,
        path: &Path,
        wait: Wait,
    ) -> Result<Self, Failure> {
        let directories = Self::open_folders(maildir, path, wait)?;
        open(maildir, path, "tmp", wait)?;
        Ok(directories)
    }

    /// The same for a Maildir that is known to be one.
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

    /// Opens one of them anew: reading a directory moves the offset of what it is read from.
    ///
    /// # Errors
    /// When files in it are not within reach.
    pub(super) fn enter(&self, folder: Folder) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(self.fd(folder), ".", flags, Mode::empty())
    }

    /// Opens one by its name, which has the file system look again at what it knows of it.
    ///
    /// # Errors
    /// Those of [`enter`](Self::enter).
    pub(super) fn enter_by_name(maildir: &File, folder: Folder) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(maildir, folder.name(), flags, Mode::empty())?;
        // Files in it have to be within reach.
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
        // What the system says of a symbolic link, too.
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
    fn what_is_not_whole_is_named() {
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

    /// Nothing to see for the superuser.
    #[test]
    fn what_cannot_be_read_or_entered_is_named() {
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
