//! `maildirsize`: the file in which delivery agents record the quota usage of a Maildir
//! (Maildir++). A removal subtracts what it has freed; delivery agents do the rest.
//!
//! - The first line has the limits. Each further line has the octets and messages that were added
//!   or, if negative, removed. Each line is appended in one write, without a lock.
//! - A file of 5120 bytes or more is no longer used: the next delivery recalculates it. Nothing is
//!   appended to it. The age of the file does not matter: agents recalculate an old one only when
//!   the quota is exceeded, and only when the file has a single sum; after an append it has two.
//! - The size of a message is the one in its name (`,S=`), where it has one, because that is what
//!   was added at its delivery and is used for a recalculation; else that of the file.
//! - A Maildir that is a folder of another one has no such file. Removals from it are noticed when
//!   the usage of its parent is recalculated.

use std::io;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::lock::Root;
use super::name;
use super::separator::Separator;
use super::system::{fstat, write};
use super::wait::{Wait, open_at};

/// The quota usage of files that have been removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    octets: u64,
    messages: u64,
}

impl Freed {
    /// Adds a file with this name and this number of bytes.
    pub(super) fn add(&mut self, name: &[u8], separator: Separator, physical: u64) {
        let size = name::size(name, separator).unwrap_or(physical);
        self.octets = self.octets.saturating_add(size);
        self.messages = self.messages.saturating_add(1);
    }

    /// Subtracts it from the quota usage of the Maildir, if that is recorded.
    ///
    /// Errors are only logged: the usage is recalculated sooner or later.
    pub(super) fn record(self, root: &Root) {
        if self.messages == 0 {
            return;
        }
        if let Err(error) = self.append(root) {
            let path = root.path().display();
            tracing::warn!(%path, %error, "what was removed is not subtracted in {QUOTA_FILE}");
        }
    }

    fn append(self, root: &Root) -> io::Result<()> {
        let file = match open_at(root.directory(), QUOTA_FILE, FLAGS, Wait::IfNeedBe) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&file)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        // A file with a second name may be any file of the user.
        if !regular || stat.st_nlink > 1 {
            let what = "not a regular file with one name";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        // Without a name, it has just been replaced by a recalculated file.
        if stat.st_size >= TOO_BIG || stat.st_nlink == 0 {
            return Ok(());
        }
        let line = format!("-{} -{}\n", self.octets, self.messages);
        if write(&file, line.as_bytes())? < line.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }
}

const QUOTA_FILE: &str = "maildirsize";

/// The next delivery rewrites a file of this size.
const TOO_BIG: i64 = 5120;

/// Follows no symbolic link, and does not wait for the other end of a FIFO.
const FLAGS: OFlags = OFlags::WRONLY
    .union(OFlags::APPEND)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
