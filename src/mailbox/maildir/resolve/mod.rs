//! Opening a Maildir by its path, following only symbolic links that are trusted.
//!
//! A user who owns the directory above his Maildir can put a symbolic link to another user's in its
//! place, and the server can read both. So a link is followed only if it belongs to root, to the
//! user that the server runs as, or to the owner of what it leads to: the rule of
//! `fs.protected_symlinks` and of Apache's `SymLinksIfOwnerMatch`.
//!
//! - A path without links is opened in one call, in which the kernel follows none. The others are
//!   walked one name at a time, each in the open directory before it: what is checked is what is
//!   opened, even if names change meanwhile.
//! - The target of a link is walked in the same way. A link to a link is judged by its final
//!   target.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::system::{fstat, fstatvfs, geteuid, openat2, readlinkat, statx};
use super::wait::{Wait, open_at};
use crate::threads;

/// Opens a directory by its path for this process.
///
/// # Errors
/// Those of open(2), and [`UntrustedLink`]. With [`Wait::Never`] also those of [`open_at`].
pub(super) fn open_directory(path: &Path, flags: OFlags, wait: Wait) -> io::Result<OwnedFd> {
    open_directory_for(geteuid().as_raw(), path, flags, wait)
}

/// Opens a directory by its path for a server that runs as the user `server`.
///
/// # Errors
/// Those of [`open_directory`].
pub(super) fn open_directory_for(
    server: u32,
    path: &Path,
    flags: OFlags,
    wait: Wait,
) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | wait.resolve_flags();
    match openat2(CWD, path, flags, Mode::empty(), resolve) {
        // There is a link on the way. Or this kernel, or a sandbox, has no such call.
        Err(Errno::LOOP | Errno::NOSYS | Errno::PERM) => {
            let mut walk = Walk { server, wait, at: PathBuf::new(), links: 0 };
            let directory = walk.along(CWD, path)?;
            Ok(open_at(&directory, ".", flags, wait)?)
        }
        result => Ok(result?),
    }
}

/// Opens a directory to list and change its files, following only symbolic links that are trusted.
///
/// # Errors
/// Those of open(2), and one that names the link that is not followed.
pub fn open_trusted_directory(path: &Path) -> io::Result<OwnedFd> {
    open_directory(path, OFlags::RDONLY, Wait::IfNeedBe)
}

/// The error that names the symbolic link which a server that runs as the user `server` does not
/// follow to a directory; `None` if there is no such link.
pub fn untrusted_link(path: &Path, server: u32) -> Option<String> {
    let error = open_directory_for(server, path, OFlags::PATH, Wait::IfNeedBe).err()?;
    Some(error.get_ref()?.downcast_ref::<UntrustedLink>()?.to_string())
}

/// A symbolic link that is not followed, because its owner may have no access to its target.
#[derive(Debug, thiserror::Error)]
#[error(
    "the symbolic link {} is not followed: it belongs to the user {owner}, and what it leads to \
     belongs to the user {owner_of_target}; if that is right, make the link root's (chown -h \
     root), or mount the directory in its place (mount --bind)",
    shown(link)
)]
struct UntrustedLink {
    link: PathBuf,
    owner: u32,
    owner_of_target: u32,
}

/// A walk along a path.
struct Walk {
    server: u32,
    wait: Wait,
    /// The path so far, for errors.
    at: PathBuf,
    /// How many links have been followed.
    links: u32,
}

impl Walk {
    /// Walks along a path from a directory.
    fn along(&mut self, from: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
        let mut directory = if path.has_root() {
            self.at = PathBuf::from("/");
            open_at(CWD, "/", TO_PASS, self.wait)?
        } else {
            open_at(from, ".", TO_PASS, self.wait)?
        };
        for component in path.components() {
            directory = match component {
                Component::Prefix(_) | Component::RootDir | Component::CurDir => continue,
                Component::ParentDir => {
                    self.up();
                    open_at(&directory, "..", TO_PASS, self.wait).map_err(|e| self.failed(e))?
                }
                Component::Normal(name) => self.step(&directory, name)?,
            };
        }
        Ok(directory)
    }

    fn step(&mut self, directory: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        self.at.push(name);
        match open_at(directory, name, TO_PASS | OFlags::NOFOLLOW, self.wait) {
            // The error for a symbolic link, too.
            Err(Errno::NOTDIR) => {
                let link = open_at(directory, name, TO_LOOK_AT, self.wait);
                let link = link.map_err(|error| self.failed(error))?;
                let wanted = StatxFlags::TYPE | StatxFlags::UID | StatxFlags::MNT_ID;
                let stat = statx(&link, "", self.wait.statx_flags(), wanted)
                    .map_err(|error| self.failed(error))?;
                if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::Symlink {
                    return Err(self.failed(Errno::NOTDIR));
                }
                self.follow(directory, &link, &stat)
            }
            result => result.map_err(|error| self.failed(error)),
        }
    }

    /// Follows a link in `directory`, if it is trusted.
    fn follow(&mut self, directory: &OwnedFd, link: &OwnedFd, stat: &Statx) -> io::Result<OwnedFd> {
        self.may_read(link, stat).map_err(|error| self.failed(error))?;
        let text = readlinkat(link, "", Vec::new()).map_err(|error| self.failed(error))?;
        let path = self.at.clone();
        self.at.pop();
        let target =
            self.along(directory, &PathBuf::from(OsString::from_vec(text.into_bytes())))?;
        let owner_of_target = fstat(&target).map_err(|error| self.failed(error))?.st_uid;
        if is_link_trusted(stat.stx_uid, owner_of_target, self.server) {
            return Ok(target);
        }
        let refused = UntrustedLink { link: path, owner: stat.stx_uid, owner_of_target };
        Err(io::Error::other(refused))
    }

    /// Checks whether a link can be read without waiting for more than is allowed.
    fn may_read(&mut self, link: &OwnedFd, stat: &Statx) -> Result<(), Errno> {
        self.links += 1;
        let is_forbidden = || Ok(fstatvfs(link)?.f_flag.bits() & NO_SYMLINKS_HERE != 0);
        if self.links > MOST_LINKS || is_forbidden()? {
            return Err(Errno::LOOP);
        }
        // Reading a link asks a file system that is not local.
        if self.wait == Wait::Never && !threads::is_local(stat) {
            return Err(Errno::AGAIN);
        }
        Ok(())
    }

    fn up(&mut self) {
        if self.at.file_name().is_some() {
            self.at.pop();
        } else if !self.at.has_root() {
            self.at.push("..");
        }
    }

    fn failed(&self, error: Errno) -> io::Error {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{}: {error}", shown(&self.at)))
    }
}

/// A path that a user may have chosen, escaped for a log line.
fn shown(path: &Path) -> impl fmt::Display {
    path.as_os_str().as_bytes().escape_ascii()
}

/// Whether a server that runs as the user `server` follows a symbolic link: one of `owner`, to a
/// directory of `owner_of_target`.
pub fn is_link_trusted(owner: u32, owner_of_target: u32, server: u32) -> bool {
    let is_match = owner == owner_of_target && owner != OVERFLOW_USER;
    is_match || owner == ROOT || owner == server
}

const ROOT: u32 = 0;

/// The user that stands for all users who are not mapped in a user namespace (`PrivateUsers=` in a
/// unit): two files of this user may belong to different users.
const OVERFLOW_USER: u32 = 65534;

/// The limit of the kernel.
const MOST_LINKS: u32 = 40;

/// `ST_NOSYMFOLLOW`: mounted with `nosymfollow`, see mount(8).
const NO_SYMLINKS_HERE: u64 = 0x2000;

/// Passing through a directory needs no permission to read it. `O_DIRECTORY` triggers automounts.
const TO_PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const TO_LOOK_AT: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests;
