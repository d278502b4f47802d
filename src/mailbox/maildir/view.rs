//! What finding messages asks of the directories of a Maildir. The directories themselves answer it;
//! in the tests of `scan`, so does a model of them.

use std::io;

use rustix::io::Errno;

use super::super::Failure;
use super::folder::{Folder, Ignored};
use super::folders::Folders;
use super::inode::Inode;
use super::separator::Separator;
use super::stamp::{Basis, Moment, Stamps};

/// Two directories in which others deliver, rename and remove.
///
/// The methods are those of [`Folders`] that have the same names; but a name that
/// [`stat`](Self::stat) finds is there, whatever the file system remembers.
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

    /// Does what reads the folders, and says whether neither changed meanwhile: then nothing that
    /// was there has been missed, and the basis is what that rests on. Where a change may leave no
    /// stamp, or a late one, that is never known.
    ///
    /// # Errors
    /// Those of `read`; and when a folder has been removed meanwhile.
    fn undisturbed<T>(
        &self,
        read: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<(T, Option<Basis>), Failure> {
        let clock = self.clock();
        let before = self.stamps()?;
        let result = read()?;
        // Always asked, because a removed directory reads as an empty one.
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
        // A name may be remembered that another machine or process has taken away, with the number of
        // its own that a file has by each name. Only opening the file asks.
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
