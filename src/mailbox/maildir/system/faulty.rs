//! The same calls, subject to the plan of a scenario. Without a plan each is made unchanged.

use std::ffi::CString;
use std::fs::ReadDir;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{
    Advice, AtFlags, FlockOperation, Mode, OFlags, RawDirEntry, RenameFlags, ResolveFlags,
    SeekFrom, Stat, StatFs, StatVfs, Statx, StatxFlags, Timestamps,
};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::path::Arg;
use rustix::{fs, io as calls};

use super::plan::{self, Decision, decide, is_armed};

pub(in super::super) fn openat(
    directory: impl AsFd,
    path: impl Arg,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    if !is_armed() {
        return fs::openat(directory, path, flags, mode);
    }
    let name = name(&path);
    call("openat", &name, || {
        let makes = flags.contains(OFlags::CREATE)
            && fs::statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW).err()
                == Some(Errno::NOENT);
        let file = fs::openat(&directory, path, flags, mode)?;
        if makes {
            plan::journal(|journal| journal.created(&directory, &name));
        }
        Ok(file)
    })
}

pub(in super::super) fn openat2(
    directory: impl AsFd,
    path: impl Arg,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let name = name(&path);
    call("openat2", &name, || fs::openat2(directory, path, flags, mode, resolve))
}

pub(in super::super) fn statat(
    directory: impl AsFd,
    path: impl Arg,
    flags: AtFlags,
) -> Result<Stat, Errno> {
    let name = name(&path);
    call("statat", &name, || fs::statat(directory, path, flags))
}

pub(in super::super) fn statx(
    directory: impl AsFd,
    path: impl Arg,
    flags: AtFlags,
    mask: StatxFlags,
) -> Result<Statx, Errno> {
    let name = name(&path);
    call("statx", &name, || fs::statx(directory, path, flags, mask))
}

pub(in super::super) fn fstat(file: impl AsFd) -> Result<Stat, Errno> {
    call("fstat", "", || fs::fstat(file))
}

pub(in super::super) fn fstatfs(file: impl AsFd) -> Result<StatFs, Errno> {
    let mut status = call("fstatfs", "", || fs::fstatfs(file))?;
    if let Some(kind) = is_armed().then(plan::file_system).flatten() {
        status.f_type = kind.into();
    }
    Ok(status)
}

pub(in super::super) fn fstatvfs(file: impl AsFd) -> Result<StatVfs, Errno> {
    call("fstatvfs", "", || fs::fstatvfs(file))
}

pub(in super::super) fn readlinkat(
    directory: impl AsFd,
    path: impl Arg,
    buffer: impl Into<Vec<u8>>,
) -> Result<CString, Errno> {
    let name = name(&path);
    call("readlinkat", &name, || fs::readlinkat(directory, path, buffer))
}

pub(in super::super) fn mkdirat(
    directory: impl AsFd,
    path: impl Arg,
    mode: Mode,
) -> Result<(), Errno> {
    let name = name(&path);
    call("mkdirat", &name, || fs::mkdirat(directory, path, mode))
}

pub(in super::super) fn unlinkat(
    directory: impl AsFd,
    path: impl Arg,
    flags: AtFlags,
) -> Result<(), Errno> {
    if !is_armed() {
        return fs::unlinkat(directory, path, flags);
    }
    let name = name(&path);
    call("unlinkat", &name, || {
        let mut kept = None;
        plan::journal(|journal| kept = journal.keep(&directory, &name));
        fs::unlinkat(&directory, path, flags)?;
        plan::journal(|journal| journal.unlinked(&directory, &name, kept));
        Ok(())
    })
}

pub(in super::super) fn renameat(
    from: impl AsFd,
    name_there: impl Arg,
    to: impl AsFd,
    name_here: impl Arg,
) -> Result<(), Errno> {
    if !is_armed() {
        return fs::renameat(from, name_there, to, name_here);
    }
    let (old, new) = (name(&name_there), name(&name_here));
    call("renameat", &old, || {
        let mut kept = None;
        plan::journal(|journal| kept = journal.keep(&to, &new));
        fs::renameat(from, name_there, &to, name_here)?;
        plan::journal(|journal| journal.renamed(&to, &old, &new, kept));
        Ok(())
    })
}

pub(in super::super) fn renameat_with(
    from: impl AsFd,
    name_there: impl Arg,
    to: impl AsFd,
    name_here: impl Arg,
    flags: RenameFlags,
) -> Result<(), Errno> {
    let name = name(&name_there);
    call("renameat2", &name, || fs::renameat_with(from, name_there, to, name_here, flags))
}

/// Does not write to a disk while there is a plan: power cuts are simulated by the journal.
pub(in super::super) fn fsync(file: impl AsFd) -> Result<(), Errno> {
    if !is_armed() {
        return fs::fsync(file);
    }
    call("fsync", "", || {
        plan::journal(|journal| journal.synced(file));
        Ok(())
    })
}

/// As [`fsync`].
pub(in super::super) fn fdatasync(file: impl AsFd) -> Result<(), Errno> {
    if !is_armed() {
        return fs::fdatasync(file);
    }
    call("fdatasync", "", || {
        plan::journal(|journal| journal.synced(file));
        Ok(())
    })
}

/// The journal does not record this: what is cut off was never synced.
pub(in super::super) fn ftruncate(file: impl AsFd, length: u64) -> Result<(), Errno> {
    call("ftruncate", "", || fs::ftruncate(file, length))
}

pub(in super::super) fn futimens(file: impl AsFd, times: &Timestamps) -> Result<(), Errno> {
    call("futimens", "", || fs::futimens(file, times))
}

pub(in super::super) fn flock(file: impl AsFd, operation: FlockOperation) -> Result<(), Errno> {
    call("flock", "", || fs::flock(file, operation))
}

pub(in super::super) fn seek(file: impl AsFd, to: SeekFrom) -> Result<u64, Errno> {
    call("lseek", "", || fs::seek(file, to))
}

pub(in super::super) fn fadvise(
    file: impl AsFd,
    offset: u64,
    length: Option<NonZeroU64>,
    advice: Advice,
) -> Result<(), Errno> {
    call("fadvise", "", || fs::fadvise(file, offset, length, advice))
}

pub(in super::super) fn fcntl_dupfd_cloexec(
    file: impl AsFd,
    least: RawFd,
) -> Result<OwnedFd, Errno> {
    call("fcntl", "", || calls::fcntl_dupfd_cloexec(file, least))
}

pub(in super::super) fn pread(
    file: impl AsFd,
    buffer: &mut [u8],
    offset: u64,
) -> Result<usize, Errno> {
    halved("pread", buffer.len(), |length| calls::pread(file, &mut buffer[..length], offset))
}

pub(in super::super) fn preadv2(
    file: impl AsFd,
    buffers: &mut [IoSliceMut<'_>],
    offset: u64,
    flags: ReadWriteFlags,
) -> Result<usize, Errno> {
    let [buffer] = buffers else { panic!("one buffer is read into") };
    halved("preadv2", buffer.len(), |length| {
        calls::preadv2(file, &mut [IoSliceMut::new(&mut buffer[..length])], offset, flags)
    })
}

pub(in super::super) fn write(file: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    halved("write", bytes.len(), |length| {
        plan::journal(|journal| journal.written(&file));
        calls::write(&file, &bytes[..length])
    })
}

pub(in super::super) fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref();
    // A failed read is not simulated: only `restante check` reads this way.
    call("open", &path.to_string_lossy(), || Ok(()))?;
    std::fs::read_dir(path)
}

/// A reader of directories, whose calls are made when its buffer is empty.
pub(in super::super) struct RawDir<'b, Fd: AsFd>(fs::RawDir<'b, Fd>);

impl<'b, Fd: AsFd> RawDir<'b, Fd> {
    pub(in super::super) fn new(directory: Fd, buffer: &'b mut [MaybeUninit<u8>]) -> Self {
        Self(fs::RawDir::new(directory, buffer))
    }

    pub(in super::super) fn next(&mut self) -> Option<Result<RawDirEntry<'_>, Errno>> {
        if !self.0.is_buffer_empty() {
            return self.0.next();
        }
        match call("getdents64", "", || Ok(self.0.next())) {
            Ok(next) => next,
            Err(error) => Some(Err(error)),
        }
    }
}

/// A call that reads or writes this number of bytes at once.
fn halved(
    call_name: &'static str,
    length: usize,
    run: impl FnOnce(usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut length = length;
    if is_armed() {
        match decide(call_name, "") {
            Decision::Proceed => {}
            Decision::Fail(error) => return Err(error),
            Decision::Halve => length = length.div_ceil(2),
            Decision::ProceedAndDie => {
                run(length).ok();
                plan::die()
            }
        }
    }
    run(length)
}

fn call<T>(
    name: &'static str,
    file: &str,
    run: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    if !is_armed() {
        return run();
    }
    match decide(name, file) {
        Decision::Proceed | Decision::Halve => run(),
        Decision::Fail(error) => Err(error),
        Decision::ProceedAndDie => {
            run().ok();
            plan::die()
        }
    }
}

/// The name in the arguments of a call, for the plan.
fn name(path: &impl Arg) -> String {
    if is_armed() { path.to_string_lossy().into_owned() } else { String::new() }
}
