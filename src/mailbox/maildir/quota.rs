//! `maildirsize`: the file in which delivery agents keep what a Maildir has taken of its quota
//! (Maildir++). A removal subtracts from it what it has freed; the rest is theirs.
//!
//! - The file has the limits in its first line, and in each further line octets and messages that
//!   were added or, below zero, removed. Lines are appended in one write each, without a lock.
//! - From 5120 bytes on nobody believes it, and the next delivery counts anew; nothing is appended
//!   to such a file. How old it is does not matter: age is a reason to count anew only for those
//!   who find the quota exceeded, and only when the file has a single sum; after an append it has
//!   two.
//! - The size of a message is the one in its name (`,S=`), where it has one, because that is what
//!   was added at its delivery and what is counted anew; else that of the file.
//! - A Maildir that is a folder of another one has no such file, and what is removed from it is
//!   found out about when its parent is counted anew.

use std::io;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::lock::Root;
use super::name;
use super::separator::Separator;
use super::system::{fstat, write};
use super::wait::{Wait, open_at};

/// What the files that have been removed took of the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    octets: u64,
    messages: u64,
}

impl Freed {
    /// Takes one more file into account, of this name and with so many bytes.
    pub(super) fn add(&mut self, name: &[u8], separator: Separator, physical: u64) {
        let size = name::size(name, separator).unwrap_or(physical);
        self.octets = self.octets.saturating_add(size);
        self.messages = self.messages.saturating_add(1);
    }

    /// Subtracts it from what the Maildir has taken of its quota, if that is kept.
    ///
    /// What goes wrong is only logged: sooner or later everything is counted anew.
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
        // One that has another name elsewhere may be anything.
        if !regular || stat.st_nlink > 1 {
            let what = "not a regular file with one name";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        // Or it has just been replaced: whoever did that has counted anew.
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

/// A file of so many bytes is to be written anew by the next delivery.
const TOO_BIG: i64 = 5120;

/// No symbolic link, and no waiting for the other end of what is no file.
const FLAGS: OFlags = OFlags::WRONLY
    .union(OFlags::APPEND)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
