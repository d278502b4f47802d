//! What is in the directories `new` and `cur` of a Maildir: their names, the location of a file,
//! and a file that is open.
//!
//! Only regular files are messages; opening any other kind of file neither waits nor succeeds.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::inode::Inode;
use super::system::fstat;

/// One of the two directories for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Folder {
    /// Messages that a mail program has seen. Their names carry flags.
    Cur,
    /// Messages as they were delivered.
    New,
}

impl Folder {
    /// Both, in the order in which they are read. Messages move from `new` to `cur`: one that moves
    /// meanwhile is seen twice, not missed.
    pub(super) const READING_ORDER: [Self; 2] = [Self::New, Self::Cur];

    /// The name of the directory.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cur => "cur",
            Self::New => "new",
        }
    }
}

/// The location of a file: its folder and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) folder: Folder,
    pub(super) name: Box<[u8]>,
}

impl Location {
    /// The location of the file with this name in a folder.
    pub(super) fn new(folder: Folder, name: &[u8]) -> Self {
        Self { folder, name: name.into() }
    }
}

/// A message file that has been opened.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) device: u64,
    pub(super) inode: Option<Inode>,
    pub(super) size: u64,
}

impl OpenFile {
    /// Checks a file that has been opened.
    ///
    /// # Errors
    /// When it is not a regular file.
    pub(super) fn of(file: OwnedFd) -> io::Result<Self> {
        let stat = fstat(&file).map_err(|error| of_reading(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let (device, inode) = (stat.st_dev, Inode::new(stat.st_ino));
        Ok(Self { file: file.into(), device, inode, size })
    }
}

/// Directory entries that are not messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ignored {
    /// How many there are.
    pub(super) count: u32,
    /// The first of them, fit for a log line.
    pub(super) first: Option<String>,
}

impl Ignored {
    /// Counts one more.
    pub(super) fn add(&mut self, describe: impl FnOnce() -> String) {
        self.count = self.count.saturating_add(1);
        self.first.get_or_insert_with(describe);
    }

    /// Adds those of another count.
    pub(super) fn extend(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.take().or(other.first);
    }
}

/// An error in reading a file that could be opened. The error number of the system is hidden: when
/// opening fails with, say, EACCES, that is about the file; when reading does, it may be about an
/// expired ticket for a file server, and passes.
pub(super) fn of_reading(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() { io::Error::other(error) } else { error }
}

/// The name belongs to something other than a regular file.
pub(super) const NO_FILE: Errno = Errno::INVAL;

/// Follows no symbolic link, and does not wait for the other end of a FIFO.
pub(super) const TO_READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
