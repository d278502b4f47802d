//! The open directories `new` and `cur` of a Maildir, and the operations on files in them: reading
//! the names, opening, removing.
//!
//! - Files are reached from directories that are those of the login, never by a path from the root.
//!   No symbolic link is followed on the way.
//! - Message files are never written.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags};
use rustix::io::Errno;

use super::super::Failure;
use super::directories::Directories;
use super::folder::{Folder, Ignored, NO_FILE, OpenFile, TO_READ};
use super::inode::{Inode, Look};
use super::locked::{LockedMaildir, failure};
use super::separator::Separator;
use super::stamp::{Basis, Moment, Stamp, Stamps};
use super::system::{RawDir, fstat, fsync, statat, statx, unlinkat};
use super::view::View;
use super::wait::{Wait, open_at};

/// The open folders of a locked Maildir.
#[derive(Debug)]
pub(super) struct Folders<'a> {
    maildir: &'a LockedMaildir,
    directories: Directories,
}

impl<'a> Folders<'a> {
    /// The folders of a Maildir, which are open.
    pub(super) fn new(maildir: &'a LockedMaildir, directories: Directories) -> Self {
        Self { maildir, directories }
    }

    /// Opens the folders of a Maildir again.
    ///
    /// # Errors
    /// When the name of one of them leads to another directory than at the login, or to none.
    pub(super) fn open(maildir: &'a LockedMaildir) -> Result<Self, Failure> {
        let root = maildir.root();
        let directories = Directories::open_folders(root.directory(), root.path(), Wait::IfNeedBe)?;
        for folder in Folder::READING_ORDER {
            maildir
                .is_same(directories.fd(folder), folder)
                .map_err(|error| failure("look at", root, folder, error))?;
        }
        Ok(Self { maildir, directories })
    }

    /// The locked Maildir.
    pub(super) fn maildir(&self) -> &'a LockedMaildir {
        self.maildir
    }

    /// Opens a folder to be read from its start.
    fn enter(&self, folder: Folder) -> io::Result<OwnedFd> {
        if self.maildir.has_reliable_ctime() {
            return Ok(self.directories.enter(folder)?);
        }
        // The open directory may answer from a cache that was filled when it was opened.
        let directory = Directories::enter_by_name(self.maildir.root().directory(), folder)?;
        self.maildir.is_same(&directory, folder)?;
        Ok(directory)
    }

    /// Whether reading the folders now would give the same as when `basis` was taken.
    ///
    /// # Errors
    /// When a folder has been removed.
    pub(super) fn are_still(&self, basis: &Basis) -> Result<bool, Failure> {
        // There is a basis only where `has_reliable_ctime`: such a file system has the local clock.
        Ok(basis.holds(self.stamps()?, Moment::now()))
    }

    /// Opens a message file.
    pub(super) fn open_file(&self, folder: Folder, name: &[u8]) -> io::Result<OpenFile> {
        OpenFile::of(open_at(self.fd(folder), name, TO_READ, Wait::IfNeedBe)?)
    }

    /// The inode of a regular file, perhaps from a stale cache of the file system.
    ///
    /// # Errors
    /// `NOENT` when the name does not exist, [`NO_FILE`] when it is not that of a regular file, and
    /// those of the system.
    pub(super) fn stat_as_cached(
        &self,
        folder: Folder,
        name: &[u8],
    ) -> Result<Option<Inode>, Errno> {
        let stat = statat(self.fd(folder), name, AtFlags::SYMLINK_NOFOLLOW)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if regular { Ok(Inode::new(stat.st_ino)) } else { Err(NO_FILE) }
    }

    /// When the contents of a file were modified.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn modified(&self, folder: Folder, name: &[u8]) -> Result<Moment, Errno> {
        let stat = statat(self.fd(folder), name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Moment::of_modification(&stat))
    }

    /// When a file was last modified or renamed.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn changed(&self, folder: Folder, name: &[u8]) -> Result<Moment, Errno> {
        let stat = statat(self.fd(folder), name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Moment::of_change(&stat))
    }

    /// The identity of a regular file: of the one that is held open, or else of the one with the
    /// name.
    ///
    /// # Errors
    /// As [`stat_as_cached`](Self::stat_as_cached).
    pub(super) fn look(
        &self,
        folder: Folder,
        name: &[u8],
        held: Option<&OwnedFd>,
    ) -> Result<Look, Errno> {
        let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME;
        let stat = match held {
            Some(file) => statx(file, "", AtFlags::EMPTY_PATH, wanted)?,
            None => statx(self.fd(folder), name, AtFlags::SYMLINK_NOFOLLOW, wanted)?,
        };
        if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
            return Err(NO_FILE);
        }
        let (inode, born) = (Inode::new(stat.stx_ino), Moment::of_birth(&stat));
        Ok(Look { inode, born, now: Moment::now() })
    }

    /// Opens a file that is going to be unlinked, so that the system frees its blocks only when
    /// this is dropped. `None` on file systems where that does not pay: on NFS an open file is
    /// renamed instead of removed.
    pub(super) fn hold(&self, folder: Folder, name: &[u8]) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.maildir
            .supports_nowait()
            .then(|| open_at(self.fd(folder), name, flags, Wait::IfNeedBe).ok())?
    }

    /// Opens a file to read it after it has been unlinked. `None` on remote file systems.
    pub(super) fn hold_to_read(&self, folder: Folder, name: &[u8]) -> Option<OwnedFd> {
        let local = self.maildir.supports_nowait() || self.maildir.has_reliable_ctime();
        local.then(|| open_at(self.fd(folder), name, TO_READ, Wait::IfNeedBe).ok())?
    }

    /// Removes a message file.
    pub(super) fn unlink(&self, folder: Folder, name: &[u8]) -> Result<(), Errno> {
        unlinkat(self.fd(folder), name, AtFlags::empty())
    }

    /// Makes the removals in a folder durable.
    pub(super) fn sync(&self, folder: Folder) -> Result<(), Failure> {
        match fsync(self.fd(folder)) {
            // The errors of file systems that cannot sync a directory.
            Ok(()) | Err(Errno::INVAL | Errno::BADF) => Ok(()),
            Err(error) => Err(failure("sync", self.maildir.root(), folder, error)),
        }
    }

    fn fd(&self, folder: Folder) -> impl AsFd {
        self.directories.fd(folder)
    }
}

impl View for Folders<'_> {
    fn separator(&self) -> Separator {
        self.maildir.root().separator()
    }

    fn read(&self, folder: Folder, mut each: impl FnMut(&[u8], u64)) -> Result<Ignored, Failure> {
        let failed = |error: io::Error| failure("read", self.maildir.root(), folder, error);
        let directory = self.enter(folder).map_err(failed)?;
        let size =
            usize::try_from(fstat(&directory).map_err(|errno| failed(errno.into()))?.st_size)
                .unwrap_or(0);
        // On local file systems names do not change during one call: few large calls are best.
        let mut buffer = Vec::<u8>::with_capacity(size.saturating_mul(2).clamp(SMALL, LARGE));
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        let mut ignored = Ignored::default();
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|errno| failed(errno.into()))?;
            let name = entry.file_name().to_bytes();
            if name.starts_with(b".") {
                continue;
            }
            let regular = match entry.file_type() {
                FileType::RegularFile => true,
                FileType::Unknown => match self.stat_as_cached(folder, name) {
                    Ok(_) => true,
                    Err(NO_FILE) => false,
                    // Renamed a moment ago; the caller will find out.
                    Err(Errno::NOENT) => true,
                    Err(errno) => return Err(failed(errno.into())),
                },
                FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::Directory
                | FileType::CharacterDevice
                | FileType::BlockDevice => false,
            };
            if regular && !name.contains(&b'\n') {
                each(name, entry.ino());
            } else {
                ignored.add(|| self.maildir.describe(folder, name));
            }
        }
        Ok(ignored)
    }

    fn stat(&self, folder: Folder, name: &[u8]) -> Result<Option<Inode>, Errno> {
        let inode = self.stat_as_cached(folder, name)?;
        if self.has_stable_inodes() {
            return Ok(inode);
        }
        // The file system may have cached a name that another machine or process has removed. Only
        // opening the file asks.
        match self.open_file(folder, name) {
            Err(error) if is_gone(&error) => Err(Errno::NOENT),
            Ok(_) | Err(_) => Ok(inode),
        }
    }

    fn inode(&self, number: u64) -> Option<Inode> {
        Inode::new(number).filter(|_| self.maildir.has_stable_inodes())
    }

    fn has_stable_inodes(&self) -> bool {
        self.maildir.has_stable_inodes()
    }

    fn describe(&self, folder: Folder, name: &[u8]) -> String {
        self.maildir.describe(folder, name)
    }

    fn clock(&self) -> Option<Moment> {
        self.maildir.root().clock()
    }

    fn stamps(&self) -> Result<Stamps, Failure> {
        let stamp = |folder: Folder| {
            let failed = |error: Errno| failure("read", self.maildir.root(), folder, error);
            let stat = fstat(self.fd(folder)).map_err(failed)?;
            if stat.st_nlink == 0 {
                return Err(failed(Errno::NOENT));
            }
            Ok(Stamp::of(&stat))
        };
        Ok(Stamps { new: stamp(Folder::New)?, cur: stamp(Folder::Cur)? })
    }

    fn have_reliable_ctime(&self) -> bool {
        self.maildir.has_reliable_ctime()
    }
}

fn is_gone(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::NOENT, Errno::STALE].contains(&errno))
}

/// The bounds of the buffer for directory entries. In tests it is small, so that names do change
/// between two calls.
const SMALL: usize = if cfg!(test) { 1 << 10 } else { 32 << 10 };
const LARGE: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };
