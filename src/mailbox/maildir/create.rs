//! Making what is missing of a Maildir: the one place where directories are made.
//!
//! A Maildir that is not there may be one that is not mounted, and an empty one in its place would
//! make clients forget all that they have downloaded. So one is made only below a *mail root*, a
//! directory with the file `restante.root` in it: where a file system is not mounted, that file
//! is not there either.
//!
//! - Below the place where the mail root is looked for no symbolic link is followed: every step is
//!   a single name in a directory that is open.
//! - A Maildir gets its name when it is whole. What a crash leaves is finished under the same name
//!   by whoever comes next.
//! - In a Maildir that is there, `tmp` may be made, for nothing is lost where it is missing. `cur`
//!   and `new` never are: what was in them may be lost.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::super::Failure;
use super::folder::Folder;
use super::name;
use super::resolve::open_directory;
use super::system::{Output, fsync, mkdirat, openat, renameat, renameat_with, statat, unlinkat};
use super::wait::Wait;

/// What is done about a Maildir that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: it cannot be opened.
    #[default]
    Refuse,
    /// It is made, if its mail root is there.
    Make,
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The whole Maildir.
    Maildir,
    /// The directory `tmp` in one that was there.
    Tmp,
    /// All was there.
    Nothing,
}

/// Makes what is missing of the Maildir at `path`, with the directories on the way to it.
///
/// - They belong to whoever calls this, and nobody else gets at them.
/// - The mail root is `highest` or a directory below it on the way; without `highest`, it is the
///   nearest directory on the way that is one.
///
/// # Errors
/// [`Failure`] when there is no mail root, when something is in the way, and when `cur` or `new` is
/// missing in a Maildir that is there.
pub fn create(path: &Path, highest: Option<&Path>) -> Result<Made, Failure> {
    make(path, highest)
        .map_err(|error| Failure::new(format!("make the Maildir {}", path.display()), error))
}

/// Says why [`create`] would not make what is missing of the Maildir at `path`, if it would not.
/// Nothing is made.
///
/// # Errors
/// Those of `create`, as far as they can be foreseen.
pub fn could_create(path: &Path, highest: Option<&Path>) -> Result<(), Failure> {
    foresee(path, highest)
        .map_err(|error| Failure::new(format!("make the Maildir {}", path.display()), error))
}

/// Makes a directory a mail root; says whether it was none before.
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
/// When that cannot be seen.
pub fn is_mail_root(directory: &Path) -> io::Result<bool> {
    Ok(is_root(&open_path(directory)?)?)
}

fn make(path: &Path, highest: Option<&Path>) -> io::Result<Made> {
    let Approach { mut directory, mut at, missing, name } = Approach::to(path, highest)?;
    for name in missing {
        at.push(name);
        directory = make_in(&directory, name).map_err(|error| about(&at, error))?;
    }
    for _ in 0..MOST_ATTEMPTS {
        match open_in(&directory, name) {
            Ok(maildir) => return complete(&maildir),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match make_whole(&directory, name) {
            Ok(()) => return Ok(Made::Maildir),
            // Others were at it, and were faster: a login, or a delivery agent.
            Err(Errno::NOENT | Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("it is made and removed all the time"))
}

fn foresee(path: &Path, highest: Option<&Path>) -> io::Result<()> {
    let Approach { directory, missing, name, .. } = Approach::to(path, highest)?;
    match open_in(&directory, name) {
        Ok(maildir) if missing.is_empty() => expect_whole_but_for_tmp(&maildir),
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How far the way to a Maildir is there.
struct Approach<'a> {
    /// The last directory on the way that is there, in or below a mail root.
    directory: OwnedFd,
    /// Its path.
    at: PathBuf,
    /// The directories that are missing behind it.
    missing: Vec<&'a OsStr>,
    /// The Maildir in the last of them.
    name: &'a OsStr,
}

impl<'a> Approach<'a> {
    fn to(path: &'a Path, highest: Option<&Path>) -> io::Result<Self> {
        let start = match highest {
            Some(highest) => highest.to_owned(),
            None => nearest_root(path)?,
        };
        let mut missing = names_below(path, &start)?;
        let name = missing.pop().ok_or_else(|| outside(path, &start))?;
        let mut at = start.clone();
        let mut directory = open_path(&at).map_err(|error| about(&at, error))?;
        let mut is_below_root = is_root(&directory).map_err(|error| about(&at, error))?;
        let mut passed = 0;
        for name in &missing {
            let next = at.join(name);
            match open_in(&directory, name) {
                Ok(there) => (directory, at) = (there, next),
                Err(Errno::NOENT) => break,
                Err(error) => return Err(about(&next, error)),
            }
            is_below_root |= is_root(&directory).map_err(|error| about(&at, error))?;
            passed += 1;
        }
        missing.drain(..passed);
        if is_below_root { Ok(Self { directory, at, missing, name }) } else { Err(no_root(&start)) }
    }
}

/// Makes a Maildir in a directory.
///
/// # Errors
/// Those of the system; `ENOENT` and `EEXIST` when others were at it and were faster.
fn make_whole(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let unfinished = unfinished_name(name);
    let maildir = make_in(parent, &unfinished)?;
    for folder in FOLDERS {
        make_in(&maildir, OsStr::new(folder))?;
    }
    let renamed = rename_to_absent(parent, &unfinished, name);
    if renamed.is_err() {
        // By its name, for what is open may be the Maildir by now.
        for folder in FOLDERS {
            unlinkat(parent, Path::new(&unfinished).join(folder), AtFlags::REMOVEDIR).ok();
        }
        unlinkat(parent, &unfinished, AtFlags::REMOVEDIR).ok();
    }
    renamed?;
    sync(parent)
}

/// Makes the directory `tmp` of a Maildir that is there, if that is all that it lacks.
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
                    "it is there without the directory {folder}, and what was in that may be                      lost; if nothing was, make it"
                ),
            ),
            error => error.into(),
        })?;
    }
    Ok(())
}

/// Makes a directory, or takes the one that is there, and opens it.
fn make_in(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => sync(parent)?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    open_in(parent, name)
}

/// Gives a directory another name, which nothing may have.
fn rename_to_absent(parent: &OwnedFd, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
        // Not on every file system; but a directory replaces only an empty one anywhere, and
        // whoever makes a Maildir at the same time has made more than that in a moment.
        Err(Errno::INVAL | Errno::NOSYS) => renameat(parent, from, parent, to),
        result => result,
    }
}

/// The nearest directory above `path` that is a mail root.
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

/// Whether the mark is in an open directory.
fn is_root(directory: &OwnedFd) -> Result<bool, Errno> {
    match statat(directory, MARK, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens a directory by its path, which may lead through symbolic links that are trusted.
fn open_path(path: &Path) -> io::Result<OwnedFd> {
    open_directory(path, OFlags::PATH, Wait::IfNeedBe)
}

/// Opens a directory in another one; a symbolic link is none.
fn open_in(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    openat(parent, name, TO_PASS | OFlags::NOFOLLOW, Mode::empty())
}

/// Makes what was done in a directory durable, where that can be.
fn sync(directory: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let synced = openat(directory, ".", flags, Mode::empty()).and_then(fsync);
    match synced {
        // It may be one in which names can be made and not read.
        Ok(()) | Err(Errno::INVAL | Errno::BADF | Errno::ACCESS) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The name that a Maildir has until it is whole: the same for all who make this one, and none
/// that a mailbox may have.
fn unfinished_name(name: &OsStr) -> OsString {
    let mut unfinished = OsString::from(".restante.");
    unfinished.push(OsStr::from_bytes(&name::hash(name.as_bytes())));
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

fn about(at: &Path, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{}: {error}", at.display()))
}

fn outside(path: &Path, start: &Path) -> io::Error {
    let what = format!("{} does not lead below {}", path.display(), start.display());
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// To pass through a directory one need not be able to read it.
const TO_PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The name of the file in a mail root.
const MARK: &str = "restante.root";

const MARK_TEXT: &[u8] =
    b"This directory holds mail. Where this file is, the mail is mounted, and\n\
    restante may make Maildirs that are missing. Do not copy it into the directory\n\
    on which a file system is mounted: see docs/MAILDIR.md.\n";

const FOLDERS: [&str; 3] = ["tmp", "new", "cur"];

/// Others who make the same Maildir at the same time cannot be in the way more often.
const MOST_ATTEMPTS: u32 = 10;

#[cfg(test)]
mod tests;
