//! The lock of a maildrop: one session at a time, in this process and in all others
//! (RFC 1939 §4).
//!
//! Two things are locked, both with `flock`, which belongs to the open file and therefore ends
//! with it, however the process ends:
//! - `restante.lock` in the Maildir, an empty file. Its modification time says since when. It is
//!   never removed, because a lock on a file that has lost its name excludes nobody.
//! - The Maildir directory itself: the only one of the two on a full or read-only file system,
//!   and the proof against two sessions of which one could make the file and the other could not.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{
    CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstat, futimens,
    openat,
};
use rustix::io::Errno;

use super::super::Failure;
use super::stamp::Moment;

/// A Maildir that nobody else has, until this is dropped.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    directory: File,
    lock_file: Option<File>,
    locked_at: Option<Moment>,
}

/// What came of an attempt to lock a Maildir.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It is ours.
    Locked(Root),
    /// Another session has it, since then.
    InUse(Option<SystemTime>),
}

impl Root {
    /// Tries once to lock the Maildir at `path`, which must exist.
    pub(super) fn try_lock(path: &Path) -> Result<Attempt, Failure> {
        let failed = |error: io::Error| Failure::new(format!("lock {}", path.display()), error);
        let directory = open_directory(path)?;
        let lock_file = open_lock_file(&directory).map_err(failed)?;
        if let Some(file) = &lock_file
            && !try_lock(file).map_err(failed)?
        {
            let since = file.metadata().and_then(|metadata| metadata.modified());
            return Ok(Attempt::InUse(since.ok()));
        }
        match try_lock(&directory) {
            Ok(true) => {}
            Ok(false) => return Ok(Attempt::InUse(None)),
            // NFS locks files, not directories; the file will do.
            Err(_) if lock_file.is_some() => {}
            Err(error) => return Err(failed(error)),
        }
        let locked_at = lock_file.as_ref().and_then(|file| touch(file, UTIME_NOW).ok());
        Ok(Attempt::Locked(Self { path: path.to_owned(), directory, lock_file, locked_at }))
    }

    /// When it was locked, by the clock of its file system; unknown without a lock file.
    pub(super) fn locked_at(&self) -> Option<Moment> {
        self.locked_at
    }

    /// The time by the clock of its file system; unknown without a lock file.
    pub(super) fn clock(&self) -> Option<Moment> {
        // The modification time goes on saying since when it is locked.
        touch(self.lock_file.as_ref()?, UTIME_OMIT).ok()
    }

    /// The Maildir.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory, to which the names of files in it are relative.
    pub(super) fn directory(&self) -> &File {
        &self.directory
    }
}

fn open_directory(path: &Path) -> Result<File, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
        .map(File::from)
        .map_err(|error| Failure::new(format!("open {}", path.display()), error.into()))
}

/// Opens the lock file, or says that there can be none here.
fn open_lock_file(directory: &File) -> io::Result<Option<File>> {
    // A symbolic link or a FIFO under this name is not ours: neither followed nor waited for.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = Mode::RUSR | Mode::WUSR;
    match openat(directory, LOCK_FILE, flags | OFlags::CLOEXEC, mode) {
        Ok(file) => {
            let regular = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile;
            Ok(regular.then(|| file.into()))
        }
        // These are about the server, not about the Maildir.
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// Touches a file and says when its file system believes that to have been.
fn touch(file: &File, modification: rustix::fs::Nsecs) -> io::Result<Moment> {
    let now = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: now(UTIME_NOW), last_modification: now(modification) };
    futimens(file, &times)?;
    Ok(Moment::of_change(&fstat(file)?))
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

const LOCK_FILE: &str = "restante.lock";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn lock(path: &Path) -> Attempt {
        Root::try_lock(path).unwrap()
    }

    #[test]
    fn the_second_is_told_since_when() {
        let maildir = tempfile::tempdir().unwrap();
        let earlier = SystemTime::now() - Duration::from_secs(2);
        let Attempt::Locked(first) = lock(maildir.path()) else { panic!("not locked") };
        let Attempt::InUse(Some(since)) = lock(maildir.path()) else { panic!("locked twice") };
        assert!(since > earlier && since < SystemTime::now() + Duration::from_secs(2));
        drop(first);
        assert!(matches!(lock(maildir.path()), Attempt::Locked(_)));
        assert!(maildir.path().join(LOCK_FILE).is_file(), "the lock file stays");
    }

    #[test]
    fn a_holder_keeps_the_time_of_its_own_lock() {
        let maildir = tempfile::tempdir().unwrap();
        let file = File::create(maildir.path().join(LOCK_FILE)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let Attempt::Locked(_first) = lock(maildir.path()) else { panic!("not locked") };
        assert!(file.metadata().unwrap().modified().unwrap() > SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn without_a_lock_file_the_directory_is_locked() {
        type Obstacle = fn(&Path);
        let obstacles: [Obstacle; 3] = [
            |path| fs::create_dir(path).unwrap(),
            |path| std::os::unix::fs::symlink("elsewhere", path).unwrap(),
            |path| rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap(),
        ];
        for obstacle in obstacles {
            let maildir = tempfile::tempdir().unwrap();
            obstacle(&maildir.path().join(LOCK_FILE));
            let Attempt::Locked(first) = lock(maildir.path()) else { panic!("not locked") };
            assert!(matches!(lock(maildir.path()), Attempt::InUse(None)));
            drop(first);
            assert!(matches!(lock(maildir.path()), Attempt::Locked(_)));
            assert!(!maildir.path().join("elsewhere").exists());
        }
    }

    #[test]
    fn one_with_the_file_and_one_without_exclude_each_other() {
        let maildir = tempfile::tempdir().unwrap();
        let lock_file = maildir.path().join(LOCK_FILE);
        fs::create_dir(&lock_file).unwrap();
        let Attempt::Locked(_first) = lock(maildir.path()) else { panic!("not locked") };
        fs::remove_dir(&lock_file).unwrap();
        assert!(matches!(lock(maildir.path()), Attempt::InUse(None)));
        assert!(lock_file.is_file());
    }

    #[test]
    fn a_missing_maildir_is_named_and_not_made() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("Maildir");
        let failure = Root::try_lock(&path).unwrap_err();
        assert!(failure.to_string().contains(&path.display().to_string()), "{failure}");
        assert!(!path.exists());
    }
}
