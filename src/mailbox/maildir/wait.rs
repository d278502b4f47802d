//! Whether an operation may wait: never on a worker thread, always off it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::system::{openat, openat2};

/// Whether to wait for a disk, another machine or another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Only what is in memory is used.
    Never,
    IfNeedBe,
}

impl Wait {
    /// How openat2(2) is to resolve a path.
    pub(super) fn resolve_flags(self) -> ResolveFlags {
        match self {
            Self::Never => ResolveFlags::CACHED,
            Self::IfNeedBe => ResolveFlags::empty(),
        }
    }

    /// How statx(2) is to look at an open file.
    pub(super) fn statx_flags(self) -> AtFlags {
        match self {
            Self::Never => AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
            Self::IfNeedBe => AtFlags::EMPTY_PATH,
        }
    }
}

/// Opens a file that exists.
///
/// # Errors
/// Those of open(2). With [`Wait::Never`] also `EAGAIN` when the name is not in memory,
/// and `ENOSYS` before Linux 5.12; neither of them says that the file cannot be opened.
pub(super) fn open_at(
    directory: impl AsFd,
    name: impl Arg,
    flags: OFlags,
    wait: Wait,
) -> Result<OwnedFd, Errno> {
    match wait {
        Wait::Never => openat2(directory, name, flags, Mode::empty(), wait.resolve_flags()),
        Wait::IfNeedBe => openat(directory, name, flags, Mode::empty()),
    }
}
