//! All system calls of this store for files.
//!
//! They are the functions of rustix and std, and a few that are made of them. In tests each call
//! may be made to fail (`faulty`, `plan`) or to end the process, and changes that a power cut would
//! undo are recorded (`journal`). `tests/it/tidy.rs` checks that no other file of the store makes
//! such calls.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

// This cannot fail.
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

/// The calls as a server makes them; `faulty` has the same names for tests.
#[cfg(not(test))]
mod real {
    pub(in super::super) use std::fs::read_dir;

    pub(in super::super) use rustix::fs::{
        RawDir, fadvise, fdatasync, flock, fstat, fstatfs, fstatvfs, fsync, ftruncate, futimens,
        mkdirat, openat, openat2, readlinkat, renameat, renameat_with, seek, statat, statx,
        unlinkat,
    };
    pub(in super::super) use rustix::io::{fcntl_dupfd_cloexec, pread, preadv2, write};
}

/// Fills a buffer from a file, from an offset on.
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

/// Reads a file from its start to its end.
#[derive(Debug)]
pub(super) struct Input<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> Input<'a> {
    /// Reads this file.
    pub(super) fn of(file: &'a File) -> Self {
        Self { file, at: 0 }
    }
}

impl io::Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = pread(self.file, buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Writes a file from its start to its end.
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

/// Locks a file without waiting. Returns false if another open file has the lock.
///
/// # Errors
/// Those of the system; some file systems do not support locks.
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
