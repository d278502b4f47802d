//! A credential file as the file system has it: read whole, refused when it is not safe, and
//! recognised by a stamp when it has not changed.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, StatxTimestamp, makedev, openat2, statx,
};
use zeroize::Zeroizing;

use crate::threads;

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Opens a file for reading; a FIFO in its place does not hold up the server.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// A credential file that has been read.
pub(super) struct Source {
    /// Everything in it.
    pub(super) text: Zeroizing<Vec<u8>>,
    /// What was read.
    pub(super) stamp: Stamp,
    /// Whether everybody on the machine may read it.
    pub(super) exposed: bool,
}

impl Source {
    /// Whether it is empty: without even a comment.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim_ascii().is_empty()
    }

    /// More than two million users.
    const MAX_OCTETS: u64 = 512 * 1024 * 1024;

    /// Reads a file whole. The reason for not doing so says what to do, without the path.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let file = open(path).map_err(|error| match error.kind() == io::ErrorKind::NotFound {
            true => "is not there; restante user add makes it".to_owned(),
            false => format!("cannot be read: {error}"),
        })?;
        Self::read_open(&file)
    }

    /// Reads an open file from where it stands.
    pub(super) fn read_open(mut file: &File) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("cannot be read: {error}");
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() {
            return Err("is not a regular file; name a file with a line a user".into());
        }
        if metadata.mode() & 0o002 != 0 {
            return Err("can be written by everybody; take that away with chmod o-w".into());
        }
        if metadata.len() > Self::MAX_OCTETS {
            return Err(format!(
                "has {} octets, more than {}; split it over two [[credentials]]",
                metadata.len(),
                Self::MAX_OCTETS
            ));
        }
        // Room for all of it at once: a buffer that grows leaves passwords in the memory it left.
        let expected = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        let mut text = Zeroizing::new(Vec::with_capacity(expected.saturating_add(1)));
        file.by_ref().take(metadata.len()).read_to_end(&mut text).map_err(cannot)?;
        let exposed = metadata.mode() & 0o004 != 0;
        Ok(Self { text, stamp: Stamp::of(&metadata), exposed })
    }

    /// Whether the text may be the first part of one that is being written.
    pub(super) fn looks_unfinished(&self) -> bool {
        self.text.last() != Some(&b'\n')
    }
}

impl Stamp {
    /// How coarse the clock of a file system may be: two changes within it look like one.
    const GRAIN: Duration = Duration::from_secs(2);

    /// The present stamp of a file, or why there is none.
    pub(super) fn at(path: &Path) -> Result<Self, io::ErrorKind> {
        fs::metadata(path).map(|metadata| Self::of(&metadata)).map_err(|error| error.kind())
    }

    /// The present stamp of a file on a local file system, if the file is in memory; `None` where
    /// that would have to be waited for.
    pub(super) fn at_once(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let found =
            statx(&file, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted).ok()?;
        let time = |time: StatxTimestamp| (time.tv_sec, i64::from(time.tv_nsec));
        threads::is_local(&found).then(|| Self {
            device: makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            size: found.stx_size,
            modified: time(found.stx_mtime),
            changed: time(found.stx_ctime),
        })
    }

    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(super) fn same_file(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether another change now would give another stamp, going by the time of the last change
    /// and by how long the stamp has been known: the file may be on a machine with another clock.
    pub(super) fn settled(self, known_for: Duration) -> bool {
        let changed = u64::try_from(self.changed.0).unwrap_or(0);
        let age = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(changed))
            .and_then(|changed| changed.elapsed().ok());
        // The seconds are cut off: a whole one more to be sure.
        known_for >= Self::GRAIN
            || age.is_some_and(|age| age > Self::GRAIN + Duration::from_secs(1))
    }
}
