//! The files that the server keeps in a Maildir: which of them it trusts, and how it replaces them.
//!
//! Other users who can write to a Maildir can put a file there, but cannot change its owner to the
//! server's user. So the server reads its own files only.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{LazyLock, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::lock::Root;
use super::system::{fstat, geteuid, openat, renameat, unlinkat};
use super::wait::{Wait, open_at};

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A directory, a FIFO or the like. A symbolic link gives `ELOOP`.
    #[error("not a regular file")]
    NotRegular,
    /// Another user has made it.
    #[error("it belongs to the user {0} and was not made here")]
    OfAnotherUser(u32),
    /// An error of the system.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Opens a file of the server; `None` if it does not exist.
pub(super) fn open(
    root: &Root,
    name: &str,
    access: OFlags,
    wait: Wait,
) -> Result<Option<(File, Stat)>, Error> {
    let file = match open_at(root.directory(), name, access | FLAGS, wait) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    let stat = fstat(&file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::NotRegular);
    }
    if !is_own(&stat) {
        return Err(Error::OfAnotherUser(stat.st_uid));
    }
    Ok(Some((file, stat)))
}

/// Replaces a file of the server. Readers see the old file or the new one.
///
/// - `temporary` is the name of the new file while it is written.
/// - Only `write` can make its contents durable, and only the caller its name.
pub(super) fn replace(
    root: &Root,
    name: &str,
    temporary: &str,
    write: impl FnOnce(OwnedFd) -> io::Result<()>,
) -> io::Result<()> {
    // We have the lock, so no other session uses this name. A crash leaves at most one such file,
    // which is removed: it may have another name elsewhere.
    let file = make(root, temporary)?;
    let written = write(file)
        .and_then(|()| Ok(renameat(root.directory(), temporary, root.directory(), name)?));
    if written.is_err() {
        // Leaves no partial file on a full disk. Failure here does no harm.
        unlinkat(root.directory(), temporary, AtFlags::empty()).ok();
    }
    written
}

/// Finds out which owner the file system gives to new files, by a file that is removed again.
pub(super) fn find_owner(root: &Root, temporary: &str) -> io::Result<()> {
    make(root, temporary)?;
    remove(root, temporary)
}

fn make(root: &Root, name: &str) -> io::Result<OwnedFd> {
    remove(root, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(root.directory(), name, flags, Mode::RUSR | Mode::WUSR)?;
    note_owner(&file);
    Ok(file)
}

/// Removes a file, if it exists.
pub(super) fn remove(root: &Root, name: &str) -> io::Result<()> {
    match unlinkat(root.directory(), name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether this server has made a file.
fn is_own(stat: &Stat) -> bool {
    stat.st_uid == *OWN_USER
        || mapped_owners(|owners| owners.get(&stat.st_dev) == Some(&stat.st_uid))
}

/// Remembers which owner a file system gives to new files: some map all users to one.
fn note_owner(made: &OwnedFd) {
    if let Ok(Stat { st_dev, st_uid, .. }) = fstat(made)
        && st_uid != *OWN_USER
    {
        mapped_owners(|owners| owners.insert(st_dev, st_uid));
    }
}

/// For tests of them.
#[cfg(test)]
pub(super) static TESTING: Mutex<()> = Mutex::new(());

/// Forgets the owners, as when the server is started again.
#[cfg(test)]
pub(super) fn forget_owners() {
    mapped_owners(BTreeMap::clear);
}

fn mapped_owners<T>(with: impl FnOnce(&mut BTreeMap<u64, u32>) -> T) -> T {
    static OWNERS: Mutex<BTreeMap<u64, u32>> = Mutex::new(BTreeMap::new());
    with(&mut OWNERS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The user that the server runs as; it does not change after the first login.
pub(super) static OWN_USER: LazyLock<u32> = LazyLock::new(|| geteuid().as_raw());

/// A symbolic link is not followed, and a FIFO is not waited for.
const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::fchown;

    use super::*;

    /// A file system may map all owners to one user, who then counts as the server's own.
    #[test]
    fn a_file_of_the_owner_that_the_file_system_gives_is_own() {
        let _owners = super::TESTING.lock().unwrap();
        let file = tempfile::tempfile().unwrap();
        if fchown(&file, Some(*OWN_USER + 2), None).is_ok() {
            assert!(!is_own(&fstat(&file).unwrap()));
            let file = OwnedFd::from(file);
            note_owner(&file);
            assert!(is_own(&fstat(&file).unwrap()));
        }
    }
}
