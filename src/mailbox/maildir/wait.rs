//! What may be waited for: on a worker thread nothing, off it anything.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::system::{openat, openat2};

/// Whether to wait for a disk, another machine or another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// What cannot be had from memory is not had.
    Never,
    IfNeedBe,
}

impl Wait {
    /// How the kernel is to go along a path.
    pub(super) fn resolution(self) -> ResolveFlags {
        match self {
            Self::Never => ResolveFlags::CACHED,
            Self::IfNeedBe => ResolveFlags::empty(),
        }
    }
}

/// Opens what exists.
///
/// # Errors
/// Those of open(2). With [`Wait::Never`] also `EAGAIN` when the name is not in memory, and `ENOSYS`
/// before Linux 5.12: none of them says that it cannot be opened.
pub(super) fn open_at(
    directory: impl AsFd,
    name: impl Arg,
    flags: OFlags,
    wait: Wait,
) -> Result<OwnedFd, Errno> {
    match wait {
        Wait::Never => openat2(directory, name, flags, Mode::empty(), wait.resolution()),
        Wait::IfNeedBe => openat(directory, name, flags, Mode::empty()),
    }
}
