//! The operations on the folders of a Maildir that a scan needs. [`Folders`] has them, and so has a
//! model of the folders in the tests of `scan`.

use std::io;

use rustix::io::Errno;

use super::super::Failure;
use super::folder::{Folder, Ignored};
use super::folders::Folders;
use super::inode::Inode;
use super::separator::Separator;
use super::stamp::{Basis, Moment, Stamps};

/// Two directories in which other programs deliver, rename and remove.
///
/// The methods are those of [`Folders`] with the same names. But [`stat`](Self::stat) never answers
/// from a stale cache of the file system.
pub(super) trait View {
    fn separator(&self) -> Separator;
    fn read(&self, folder: Folder, each: impl FnMut(&[u8], u64)) -> Result<Ignored, Failure>;
    fn stat(&self, folder: Folder, name: &[u8]) -> Result<Option<Inode>, Errno>;
    fn inode(&self, number: u64) -> Option<Inode>;
    fn has_stable_inodes(&self) -> bool;
    fn describe(&self, folder: Folder, name: &[u8]) -> String;
    fn clock(&self) -> Option<Moment>;
    fn stamps(&self) -> Result<Stamps, Failure>;
    fn have_reliable_ctime(&self) -> bool;

    /// Calls `read`, which reads the folders. If neither folder changed meanwhile, `read` has
    /// missed no file, and the result has a basis. Without reliable ctimes there is never a basis.
    ///
    /// # Errors
    /// Those of `read`, and when a folder has been removed meanwhile.
    fn undisturbed<T>(
        &self,
        read: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<(T, Option<Basis>), Failure> {
        let clock = self.clock();
        let before = self.stamps()?;
        let result = read()?;
        // Needed even without a clock: a removed directory reads as an empty one.
        let after = self.stamps()?;
        let basis = clock.and_then(|clock| Basis::new(before, clock));
        Ok((result, basis.filter(|_| self.have_reliable_ctime() && before == after)))
    }
}

impl View for Folders<'_> {
    fn separator(&self) -> Separator {
        self.maildir().root().separator()
    }

    fn read(&self, folder: Folder, each: impl FnMut(&[u8], u64)) -> Result<Ignored, Failure> {
        self.read(folder, each)
    }

    fn stat(&self, folder: Folder, name: &[u8]) -> Result<Option<Inode>, Errno> {
        let inode = self.stat(folder, name)?;
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
        self.inode(number)
    }

    fn has_stable_inodes(&self) -> bool {
        self.maildir().has_stable_inodes()
    }

    fn describe(&self, folder: Folder, name: &[u8]) -> String {
        self.maildir().describe(folder, name)
    }

    fn clock(&self) -> Option<Moment> {
        self.maildir().root().clock()
    }

    fn stamps(&self) -> Result<Stamps, Failure> {
        self.stamps()
    }

    fn have_reliable_ctime(&self) -> bool {
        self.maildir().has_reliable_ctime()
    }
}

fn is_gone(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::NOENT, Errno::STALE].contains(&errno))
}
