//! The system calls of this store that have to do with files: every one of them passes here.
//!
//! They are the very functions of rustix and std; what is more than that is made of them. In tests
//! each asks first whether it is to fail (`faulty`, `plan`), or whether the process is to die there,
//! and what a power cut would undo is written down (`journal`). No other file of the store calls the
//! system for a file, which `tests/it/tidy.rs` sees to; types and constants come from where they are.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

// These cannot fail.
pub(super) use rustix::process::geteuid;

#[cfg(not(test))]
pub(super) use self::real::*;

#[cfg(test)]
pub(super) use self::faulty::*;

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod plan;

#[cfg(test)]
pub(crate) use self::journal::{Journal, Lost, cut_power};
#[cfg(test)]
pub(crate) use self::plan::{Extent, Fault, Hit, Plan};

/// What a call is in a server; `faulty` has the same names for tests.
#[cfg(not(test))]
mod real {
    pub(in super::super) use std::fs::read_dir;

    pub(in super::super) use rustix::fs::{
        RawDir, fadvise, flock, fstat, fstatfs, fstatvfs, fsync, futimens, mkdirat, openat,
        openat2, readlinkat, renameat, renameat_with, seek, statat, statx, unlinkat,
    };
    pub(in super::super) use rustix::io::{fcntl_dupfd_cloexec, pread, preadv2, write};
}

/// Fills a buffer with what is in a file from an offset on.
///
/// # Errors
/// `UnexpectedEof` when the file ends before; those of the system.
pub(super) fn read_exact_at(file: &File, mut buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut at = offset;
    while !buffer.is_empty() {
        match pread(file, &mut *buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                buffer = buffer.get_mut(length..).unwrap_or_default();
                at += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A file that is written from its start to its end.
#[derive(Debug)]
pub(super) struct Output(pub(super) OwnedFd);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Locks a file, unless somebody has locked it; says whether it is locked.
///
/// # Errors
/// Those of the system; some file systems lock nothing.
pub(super) fn try_lock(file: impl AsFd) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Another descriptor of the same open file.
///
/// # Errors
/// Those of the system, say when there are too many.
pub(super) fn duplicate(file: impl AsFd) -> Result<File, Errno> {
    fcntl_dupfd_cloexec(file, 0).map(File::from)
}
