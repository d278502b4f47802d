//! The lock of a maildrop: one session at a time, in this process and in all others
//! (RFC 1939 §4).
//!
//! Two things are locked, both with `flock`, which belongs to the open file and therefore ends
//! with it, however the process ends:
//! - `restante.lock` in the Maildir, an empty file. It is never removed, because a lock on a file
//!   without a name excludes no other session.
//! - The Maildir directory itself: the only one of the two on a full or read-only file system,
//!   and the proof against two sessions of which one could make the file and the other could not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fs::{FileType, Mode, OFlags, StatxFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::super::Failure;
use super::file_id::FileId;
use super::resolve::open_directory;
use super::separator::Separator;
use super::stamp::Moment;
use super::system::{fstat, futimens, openat, statx, try_lock};
use super::wait::{Wait, open_at};
use crate::threads;

/// The root directory of a Maildir, locked until this is dropped.
#[derive(Debug)]
pub(super) struct Root {
    // The first field, so that it is dropped before another session can register.
    _registration: Registration,
    path: PathBuf,
    separator: Separator,
    lock_file: Option<File>,
    directory: File,
}

/// The result of an attempt to lock a Maildir.
#[derive(Debug)]
pub(super) enum TryLock {
    /// This session has it now.
    Locked(Root),
    /// Another session has it. The time since when is known if that is one of this process.
    InUse(Option<SystemTime>),
}

impl Root {
    /// Tries once to lock the Maildir at `path`, which must exist.
    pub(super) fn try_lock(path: &Path) -> Result<TryLock, Failure> {
        let failed = |error: io::Error| Failure::new(format!("lock {}", path.display()), error);
        let directory = open_directory(path, OFlags::RDONLY, Wait::IfNeedBe)
            .map_err(|error| Failure::new(format!("open {}", path.display()), error))?
            .into();
        let lock_file = open_lock_file(&directory).map_err(failed)?;
        Self::lock(path, directory, lock_file).map_err(failed)
    }

    /// Locks it without waiting; `None` if it is in use or would have to be waited for.
    ///
    /// A file system that is not local may ask another machine or process for a lock.
    pub(super) fn lock_at_once(path: &Path) -> Option<Self> {
        let directory = File::from(open_directory(path, OFlags::RDONLY, Wait::Never).ok()?);
        let stat = statx(&directory, "", Wait::Never.statx_flags(), StatxFlags::MNT_ID).ok()?;
        if !threads::is_local(&stat) {
            return None;
        }
        let lock_file =
            open_at(&directory, LOCK_FILE, LOCK_FILE_FLAGS | OFlags::RDONLY, Wait::Never).ok()?;
        match Self::lock(path, directory, regular(lock_file.into()).ok()?) {
            Ok(TryLock::Locked(root)) => Some(root),
            Ok(TryLock::InUse(_)) | Err(_) => None,
        }
    }

    fn lock(path: &Path, directory: File, lock_file: Option<File>) -> io::Result<TryLock> {
        let id = FileId::of(&fstat(&directory)?);
        let lock_file = match lock_file {
            Some(file) => match locked(&directory, file)? {
                Some(file) => Some(file),
                None => return Ok(TryLock::InUse(Registration::since(id))),
            },
            None => None,
        };
        match try_lock(&directory) {
            Ok(true) => {}
            Ok(false) => return Ok(TryLock::InUse(Registration::since(id))),
            // NFS locks files, not directories; the file will do.
            Err(_) if lock_file.is_some() => {}
            Err(error) => return Err(error),
        }
        let path = path.to_owned();
        let separator = Separator::default();
        Ok(TryLock::Locked(Self {
            _registration: Registration::new(id),
            path,
            separator,
            lock_file,
            directory,
        }))
    }

    /// The lock file, which the caller closes.
    pub(super) fn take_lock_file(&mut self) -> Option<File> {
        self.lock_file.take()
    }

    /// Sets the separator in the names of its files.
    pub(super) fn with_separator(self, separator: Separator) -> Self {
        Self { separator, ..self }
    }

    /// The separator before the flags in the names of its files.
    pub(super) fn separator(&self) -> Separator {
        self.separator
    }

    /// The path of the Maildir.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory.
    pub(super) fn directory(&self) -> &File {
        &self.directory
    }

    /// The time by the clock of its file system: the ctime of the lock file, after touching it.
    /// `None` without a lock file.
    pub(super) fn clock(&self) -> Option<Moment> {
        let file = self.lock_file.as_ref()?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        futimens(file, &Timestamps { last_access: now, last_modification: now }).ok()?;
        Some(Moment::of_change(&fstat(file).ok()?))
    }
}

/// An entry in the list of the Maildirs that this process has locked.
#[derive(Debug)]
struct Registration(FileId);

impl Registration {
    fn new(id: FileId) -> Self {
        Self::list(|list| list.insert(id, SystemTime::now()));
        Self(id)
    }

    /// The time since when a Maildir has been locked.
    fn since(id: FileId) -> Option<SystemTime> {
        Self::list(|list| list.get(&id).copied())
    }

    fn list<T>(with: impl FnOnce(&mut BTreeMap<FileId, SystemTime>) -> T) -> T {
        static LIST: Mutex<BTreeMap<FileId, SystemTime>> = Mutex::new(BTreeMap::new());
        with(&mut LIST.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        Self::list(|list| list.remove(&self.0));
    }
}

/// Opens the lock file; `None` where it cannot be made.
fn open_lock_file(directory: &File) -> io::Result<Option<File>> {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = LOCK_FILE_FLAGS | OFlags::RDONLY | OFlags::CREATE;
    match openat(directory, LOCK_FILE, flags, mode) {
        Ok(file) => regular(file.into()),
        // These errors are about the server, not about the Maildir.
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// Locks the lock file; `None` if another session has locked it.
///
/// The file is open for reading: one that is open for writing would prevent remounting its file
/// system read-only. NFS and SMB, where the server locks, may require write access.
fn locked(directory: &File, file: File) -> io::Result<Option<File>> {
    let file = match try_lock(&file) {
        Ok(is_locked) => return Ok(is_locked.then_some(file)),
        Err(_) => {
            let flags = LOCK_FILE_FLAGS | OFlags::RDWR;
            File::from(openat(directory, LOCK_FILE, flags, Mode::empty())?)
        }
    };
    Ok(try_lock(&file)?.then_some(file))
}

fn regular(file: File) -> io::Result<Option<File>> {
    let regular = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile;
    Ok(regular.then_some(file))
}

const LOCK_FILE: &str = "restante.lock";

/// A symbolic link of this name is not followed, and a FIFO is not waited for.
const LOCK_FILE_FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use rustix::fs::CWD;

    use super::*;

    fn lock(path: &Path) -> TryLock {
        Root::try_lock(path).unwrap()
    }

    #[test]
    fn the_second_is_told_since_when() {
        let maildir = tempfile::tempdir().unwrap();
        let earlier = SystemTime::now() - Duration::from_secs(2);
        let TryLock::Locked(first) = lock(maildir.path()) else { panic!("not locked") };
        let TryLock::InUse(Some(since)) = lock(maildir.path()) else { panic!("locked twice") };
        assert!(since > earlier && since < SystemTime::now() + Duration::from_secs(2));
        drop(first);
        assert!(matches!(lock(maildir.path()), TryLock::Locked(_)));
        assert!(maildir.path().join(LOCK_FILE).is_file(), "the lock file stays");
    }

    #[test]
    fn a_maildir_in_memory_is_locked_at_once_and_by_one_session_only() {
        let maildir = tempfile::tempdir().unwrap();
        assert!(Root::lock_at_once(maildir.path()).is_none(), "there is no lock file yet");
        let TryLock::Locked(first) = lock(maildir.path()) else { panic!("not locked") };
        assert!(Root::lock_at_once(maildir.path()).is_none(), "it is in use");
        drop(first);
        // `None` where the file system is not local, or in memory.
        if let Some(second) = Root::lock_at_once(maildir.path()) {
            assert!(matches!(lock(maildir.path()), TryLock::InUse(Some(_))));
            drop(second);
        }
        assert!(matches!(lock(maildir.path()), TryLock::Locked(_)));
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
            let TryLock::Locked(first) = lock(maildir.path()) else { panic!("not locked") };
            assert!(matches!(lock(maildir.path()), TryLock::InUse(Some(_))));
            drop(first);
            assert!(matches!(lock(maildir.path()), TryLock::Locked(_)));
            assert!(!maildir.path().join("elsewhere").exists());
        }
    }

    #[test]
    fn one_with_the_file_and_one_without_exclude_each_other() {
        let maildir = tempfile::tempdir().unwrap();
        let lock_file = maildir.path().join(LOCK_FILE);
        fs::create_dir(&lock_file).unwrap();
        let TryLock::Locked(_first) = lock(maildir.path()) else { panic!("not locked") };
        fs::remove_dir(&lock_file).unwrap();
        assert!(matches!(lock(maildir.path()), TryLock::InUse(Some(_))));
        assert!(lock_file.is_file());
    }

    #[test]
    fn nothing_is_open_for_writing() {
        let maildir = tempfile::tempdir().unwrap();
        let TryLock::Locked(root) = lock(maildir.path()) else { panic!("not locked") };
        for file in [Some(&root.directory), root.lock_file.as_ref()] {
            let flags = rustix::fs::fcntl_getfl(file.unwrap()).unwrap();
            assert_eq!(flags & OFlags::RWMODE, OFlags::RDONLY);
        }
        assert!(root.clock().is_some(), "it is touched all the same");
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
