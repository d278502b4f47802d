//! What is in the directories `new` and `cur` of a Maildir: their names, the location of a file, and
//! a file that is open.
//!
//! Only regular files are messages; opening any other kind of file neither waits nor succeeds.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::inode::Inode;
use super::system::fstat;

/// One of the two directories in which messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Folder {
    /// Messages that a mail program has seen; their names carry flags.
    Cur,
    /// Messages as they were delivered.
    New,
}

impl Folder {
    /// Both, in the order in which they are read: messages move from `new` to `cur`, so this way
    /// one that moves meanwhile is seen twice, not never.
    pub(super) const READING_ORDER: [Self; 2] = [Self::New, Self::Cur];

    /// The name of the directory.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cur => "cur",
            Self::New => "new",
        }
    }
}

/// Where a file is: its folder and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) folder: Folder,
    pub(super) name: Box<[u8]>,
}

impl Location {
    /// A place.
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
    /// A message file that has been opened.
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

/// What was found in a folder and is not a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ignored {
    /// How many.
    pub(super) count: u32,
    /// The first of them, fit for a log line.
    pub(super) first: Option<String>,
}

impl Ignored {
    /// Takes one more into account.
    pub(super) fn add(&mut self, describe: impl FnOnce() -> String) {
        self.count = self.count.saturating_add(1);
        self.first.get_or_insert_with(describe);
    }

    /// Takes all of another account.
    pub(super) fn extend(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.take().or(other.first);
    }
}

/// An error in reading what could be opened. The number that the system gives is kept out of sight:
/// what is said of a file when it is opened, say that it is forbidden, may be said later of a file
/// server or a ticket for it, and passes.
pub(super) fn of_reading(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() { io::Error::other(error) } else { error }
}

/// What has a name is no regular file.
pub(super) const NO_FILE: Errno = Errno::INVAL;

/// No symbolic link, and no waiting for the other end of what is no file.
pub(super) const TO_READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
