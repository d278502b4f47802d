//! Making missing directories of a Maildir. No other file makes directories.
//!
//! A missing Maildir may be on a file system that is not mounted. An empty one in its place would
//! make clients forget all that they have downloaded. So Maildirs are made only below a *mail
//! root*, a directory with the file `restante.root` in it: that file is missing, too, when the file
//! system is not mounted.
//!
//! - Below the directory where the search for the mail root starts, no symbolic link is followed:
//!   each step opens a single name in an open directory.
//! - A Maildir gets its name when it is complete. After a crash, the next login completes it.
//! - In an existing Maildir a missing `tmp` is made, because it holds no mail. `cur` and `new` are
//!   not: their mail may be lost.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::super::Failure;
use super::folder::Folder;
use super::resolve::open_directory;
use super::system::{Output, fsync, mkdirat, openat, renameat, renameat_with, statat, unlinkat};
use super::wait::Wait;
use crate::uidl::by_name;

/// What a login does when its Maildir does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// It fails.
    #[default]
    Refuse,
    /// It makes the Maildir, if there is a mail root.
    Make,
}

/// The result of [`create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The Maildir was made.
    Maildir,
    /// The directory `tmp` was made in an existing Maildir.
    Tmp,
    /// The Maildir was complete.
    Nothing,
}

/// Makes the missing directories of the Maildir at `path`, and those on the way to it.
///
/// - They belong to the user of this process, and no other user has access.
/// - The mail root must be `highest` or a directory between it and the Maildir. Without `highest`,
///   it is the nearest mail root above the Maildir.
///
/// # Errors
/// [`Failure`] when there is no mail root, when another kind of file has one of the names, and when
/// an existing Maildir lacks `cur` or `new`.
pub fn create(path: &Path, highest: Option<&Path>) -> Result<Made, Failure> {
    make(path, highest)
        .map_err(|error| Failure::new(format!("make the Maildir {}", path.display()), error))
}

/// Checks whether [`create`] would succeed, without making anything.
///
/// # Errors
/// Those of `create`, as far as they can be predicted.
pub fn could_create(path: &Path, highest: Option<&Path>) -> Result<(), Failure> {
    check(path, highest)
        .map_err(|error| Failure::new(format!("make the Maildir {}", path.display()), error))
}

/// Makes a directory a mail root. Returns whether it was none before.
///
/// # Errors
/// When the mark cannot be made.
pub fn mark_root(directory: &Path) -> io::Result<bool> {
    let directory = open_path(directory)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    match openat(&directory, MARK, flags, mode) {
        Ok(mark) => {
            let mut mark = Output(mark);
            mark.write_all(MARK_TEXT)?;
            fsync(&mark.0)?;
            sync(&directory)?;
            Ok(true)
        }
        Err(Errno::EXIST) if is_root(&directory)? => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a directory is a mail root.
///
/// # Errors
/// When that cannot be found out.
pub fn is_mail_root(directory: &Path) -> io::Result<bool> {
    Ok(is_root(&open_path(directory)?)?)
}

fn make(path: &Path, highest: Option<&Path>) -> io::Result<Made> {
    let Ancestors { mut directory, mut at, missing, name } = Ancestors::to(path, highest)?;
    for name in missing {
        at.push(name);
        directory = make_in(&directory, name).map_err(|error| at_path(&at, error))?;
    }
    for _ in 0..MOST_ATTEMPTS {
        match open_in(&directory, name) {
            Ok(maildir) => return complete(&maildir),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match make_whole(&directory, name) {
            Ok(()) => return Ok(Made::Maildir),
            // Another login, or a delivery agent, has made it meanwhile.
            Err(Errno::NOENT | Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("another program makes and removes it all the time"))
}

fn check(path: &Path, highest: Option<&Path>) -> io::Result<()> {
    let Ancestors { directory, missing, name, .. } = Ancestors::to(path, highest)?;
    match open_in(&directory, name) {
        Ok(maildir) if missing.is_empty() => expect_whole_but_for_tmp(&maildir),
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How much of the path to a Maildir exists.
struct Ancestors<'a> {
    /// The last directory of the path that exists; it is a mail root or below one.
    directory: OwnedFd,
    /// Its path.
    at: PathBuf,
    /// The missing directories below it.
    missing: Vec<&'a OsStr>,
    /// The name of the Maildir in the last of them.
    name: &'a OsStr,
}

impl<'a> Ancestors<'a> {
    fn to(path: &'a Path, highest: Option<&Path>) -> io::Result<Self> {
        let start = match highest {
            Some(highest) => highest.to_owned(),
            None => nearest_root(path)?,
        };
        let mut missing = names_below(path, &start)?;
        let name = missing.pop().ok_or_else(|| outside(path, &start))?;
        let mut at = start.clone();
        let mut directory = open_path(&at).map_err(|error| at_path(&at, error))?;
        let mut is_below_root = is_root(&directory).map_err(|error| at_path(&at, error))?;
        let mut passed = 0;
        for name in &missing {
            let next = at.join(name);
            match open_in(&directory, name) {
                Ok(there) => (directory, at) = (there, next),
                Err(Errno::NOENT) => break,
                Err(error) => return Err(at_path(&next, error)),
            }
            is_below_root |= is_root(&directory).map_err(|error| at_path(&at, error))?;
            passed += 1;
        }
        missing.drain(..passed);
        if is_below_root { Ok(Self { directory, at, missing, name }) } else { Err(no_root(&start)) }
    }
}

/// Makes a Maildir in a directory.
///
/// # Errors
/// Those of the system; `ENOENT` and `EEXIST` when another program has made it meanwhile.
fn make_whole(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let unfinished = unfinished_name(name);
    let maildir = make_in(parent, &unfinished)?;
    for folder in FOLDERS {
        make_in(&maildir, OsStr::new(folder))?;
    }
    let renamed = rename_to_absent(parent, &unfinished, name);
    if renamed.is_err() {
        // By its name: the open directory may have become the Maildir meanwhile.
        for folder in FOLDERS {
            unlinkat(parent, Path::new(&unfinished).join(folder), AtFlags::REMOVEDIR).ok();
        }
        unlinkat(parent, &unfinished, AtFlags::REMOVEDIR).ok();
    }
    renamed?;
    sync(parent)
}

/// Makes a missing `tmp` in an existing Maildir that has `new` and `cur`.
fn complete(maildir: &OwnedFd) -> io::Result<Made> {
    expect_whole_but_for_tmp(maildir)?;
    let tmp = OsStr::new("tmp");
    match open_in(maildir, tmp) {
        Ok(_) => Ok(Made::Nothing),
        Err(Errno::NOENT) => {
            make_in(maildir, tmp)?;
            Ok(Made::Tmp)
        }
        Err(error) => Err(error.into()),
    }
}

fn expect_whole_but_for_tmp(maildir: &OwnedFd) -> io::Result<()> {
    for folder in Folder::READING_ORDER.map(Folder::name) {
        open_in(maildir, OsStr::new(folder)).map_err(|error| match error {
            Errno::NOENT => io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "it exists without the directory {folder}, and mail in that may be lost; if \
                     there was none, make the directory"
                ),
            ),
            error => error.into(),
        })?;
    }
    Ok(())
}

/// Opens a directory, and makes it if it does not exist.
fn make_in(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => sync(parent)?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    open_in(parent, name)
}

/// Renames a directory, unless the new name exists.
fn rename_to_absent(parent: &OwnedFd, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
        // Not all file systems support this. But a directory replaces only an empty one on any, and
        // another program that makes a Maildir fills its directory at once.
        Err(Errno::INVAL | Errno::NOSYS) => renameat(parent, from, parent, to),
        result => result,
    }
}

/// The nearest mail root above `path`.
fn nearest_root(path: &Path) -> io::Result<PathBuf> {
    for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        match open_path(above) {
            Ok(directory) if is_root(&directory)? => return Ok(above.to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => return Err(error),
        }
    }
    Err(no_root(path.parent().unwrap_or(path)))
}

/// The names that lead from a directory to `path`.
fn names_below<'a>(path: &'a Path, start: &Path) -> io::Result<Vec<&'a OsStr>> {
    let below = path.strip_prefix(start).map_err(|_| outside(path, start))?;
    let name = |component| {
        let Component::Normal(name) = component else { return Err(outside(path, start)) };
        Ok(name)
    };
    below.components().map(name).collect()
}

/// Whether an open directory is a mail root.
fn is_root(directory: &OwnedFd) -> Result<bool, Errno> {
    match statat(directory, MARK, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a directory by its path, following trusted symbolic links.
fn open_path(path: &Path) -> io::Result<OwnedFd> {
    open_directory(path, OFlags::PATH, Wait::IfNeedBe)
}

/// Opens a directory in another one, following no symbolic link.
fn open_in(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(parent, name, TO_PASS | OFlags::NOFOLLOW, Mode::empty())
}

/// Syncs a directory, where that is possible.
fn sync(directory: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let synced = openat(directory, ".", flags, Mode::empty()).and_then(fsync);
    match synced {
        // `EACCES`: a directory that can be written to and not read.
        Ok(()) | Err(Errno::INVAL | Errno::BADF | Errno::ACCESS) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The name of a Maildir until it is complete: the same for all logins that make this one, and not
/// a valid name of a Maildir.
fn unfinished_name(name: &OsStr) -> OsString {
    let mut unfinished = OsString::from(".restante.");
    unfinished.push(OsStr::from_bytes(&by_name::hash(name.as_bytes())));
    unfinished
}

fn no_root(directory: &Path) -> io::Error {
    let directory = directory.display();
    io::Error::new(
        io::ErrorKind::NotFound,
        format!(
            "there is no {MARK} in {directory} or on the way from there, so nothing is made: if \
             the mail is not mounted, mount it; else run restante init-root {directory}"
        ),
    )
}

fn at_path(at: &Path, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{}: {error}", at.display()))
}

fn outside(path: &Path, start: &Path) -> io::Error {
    let what = format!("{} does not lead below {}", path.display(), start.display());
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Passing through a directory needs no permission to read it.
const TO_PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The name of the file that marks a mail root.
const MARK: &str = "restante.root";

const MARK_TEXT: &[u8] =
    b"This directory holds mail. Where this file is, the mail is mounted, and\n\
    restante may make Maildirs that are missing. Do not copy it into the directory\n\
    on which a file system is mounted: see docs/MAILDIR.md.\n";

const FOLDERS: [&str; 3] = ["tmp", "new", "cur"];

/// Attempts, when other programs make or remove the same Maildir at the same time.
const MOST_ATTEMPTS: u32 = 10;

#[cfg(test)]
mod tests;
