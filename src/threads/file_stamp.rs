//! Whether a file has changed since it was read, by its identity, size and times.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, StatxTimestamp, makedev, openat2, statx,
};

use super::is_local;

/// The state of a file: another state gives another stamp, but for the granularity of time stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    octets: u64,
    modified: (i64, i64),
    /// Changes even when a file is replaced by one with the old modification time.
    changed: (i64, i64),
}

impl FileStamp {
    /// The granularity of time stamps, at most: two changes within it may give the same stamp.
    const GRANULARITY: Duration = Duration::from_secs(2);

    /// The present stamp of the file at `path`. May block.
    ///
    /// # Errors
    /// When there is no such file, or the path cannot be followed.
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// The present stamp of the file at `path`, without blocking; `None` if that cannot be told
    /// because the file is not in memory or not on a local file system.
    pub fn at_once(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let found =
            statx(&file, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted).ok()?;
        let time = |time: StatxTimestamp| (time.tv_sec, i64::from(time.tv_nsec));
        is_local(&found).then(|| Self {
            device: makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            octets: found.stx_size,
            modified: time(found.stx_mtime),
            changed: time(found.stx_ctime),
        })
    }

    /// The stamp of an open file.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            octets: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether both are stamps of the same file.
    pub fn is_same_file(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether any later change is certain to give another stamp. That is so if the last change, or
    /// the time when this stamp was first seen, is long enough ago. Both are looked at, because the
    /// file may be on a machine with another clock.
    pub fn is_settled(self, known_for: Duration) -> bool {
        let changed = u64::try_from(self.changed.0).unwrap_or(0);
        let age = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(changed))
            .and_then(|changed| changed.elapsed().ok());
        // One second more, as `changed` is without its fraction.
        known_for >= Self::GRANULARITY
            || age.is_some_and(|age| age > Self::GRANULARITY + Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::NamedTempFile;

    use super::*;

    #[test]
    fn a_change_gives_another_stamp_of_the_same_file() {
        let (file, other) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
        let before = FileStamp::at(file.path()).unwrap();
        let at_once = FileStamp::at_once(file.path());
        assert!(at_once.is_none_or(|stamp| stamp == before), "{at_once:?} {before:?}");
        fs::write(file.path(), "x").unwrap();
        let after = FileStamp::at(file.path()).unwrap();
        assert!(after != before && after.is_same_file(before));
        assert!(!after.is_same_file(FileStamp::at(other.path()).unwrap()));
        assert!(after.is_settled(FileStamp::GRANULARITY));
        assert_eq!(after, FileStamp::of(&file.as_file().metadata().unwrap()));
    }
}
