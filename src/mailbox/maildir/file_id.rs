//! The identity of a file or directory on this machine.

use rustix::fs::Stat;

/// The device and the inode number of a file: two files differ in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The identity of a file, from its status.
    pub(super) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }

    /// The device that it is on.
    pub(super) fn device(self) -> u64 {
        self.device
    }

    /// The identity in two words, as the index keeps it.
    pub(super) fn to_words(self) -> [u64; 2] {
        [self.device, self.inode]
    }

    /// Reads the words of [`to_words`](Self::to_words).
    pub(super) fn from_words([device, inode]: [u64; 2]) -> Self {
        Self { device, inode }
    }
}
