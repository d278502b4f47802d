//! The operations on the folders of a Maildir that a scan needs.
//!
//! [`Folders`](super::folders::Folders) has them, and so has a model of the folders in the tests of
//! `scan`.

use rustix::io::Errno;

use super::super::Failure;
use super::folder::{Folder, Ignored};
use super::inode::Inode;
use super::separator::Separator;
use super::stamp::{Basis, Moment, Stamps};

/// Two directories in which other programs deliver, rename and remove.
pub(super) trait View {
    fn separator(&self) -> Separator;

    /// Reads the names in a folder that may be messages, with their inode numbers.
    ///
    /// # Errors
    /// When it cannot be read to its end: a partial listing is an error.
    fn read(&self, folder: Folder, each: impl FnMut(&[u8], u64)) -> Result<Ignored, Failure>;

    /// As [`stat_as_cached`](super::folders::Folders::stat_as_cached), but never from a stale cache
    /// of the file system.
    fn stat(&self, folder: Folder, name: &[u8]) -> Result<Option<Inode>, Errno>;

    /// The inode with a number that reading a directory gave; `None` where such numbers are not
    /// reliable.
    fn inode(&self, number: u64) -> Option<Inode>;

    fn has_stable_inodes(&self) -> bool;
    fn describe(&self, folder: Folder, name: &[u8]) -> String;
    fn clock(&self) -> Option<Moment>;

    /// The stamps of both folders.
    ///
    /// # Errors
    /// When a folder has been removed.
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
