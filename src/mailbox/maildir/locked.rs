//! A locked Maildir: a session keeps its directory and its lock file open. The folders are open
//! only while they are used. So a session that waits for its client needs three descriptors, with
//! that of its connection.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::super::Failure;
use super::directories::Directories;
use super::file_id::FileId;
use super::file_system::FileSystem;
use super::folder::{Folder, OpenFile, TO_READ};
use super::lock::Root;
use super::resolve::open_directory;
use super::system::{fstat, openat, openat2};
use super::wait::Wait;
use crate::threads;

/// A Maildir that is locked until this is dropped.
#[derive(Debug)]
pub(super) struct LockedMaildir {
    new: FileId,
    cur: FileId,
    nowait: bool,
    reliable_ctime: bool,
    stable_inodes: bool,
    // The last field, so that the lock is released last.
    root: Root,
}

impl Drop for LockedMaildir {
    /// Closing a file may block where the file system may be remote, so a thread does it.
    fn drop(&mut self) {
        if self.reliable_ctime {
            return;
        }
        if let Some(lock_file) = self.root.take_lock_file() {
            let threads = threads::mail().of(self.root.path());
            drop(threads.start(move || drop(lock_file)));
        }
    }
}

impl LockedMaildir {
    /// Opens the folders of a Maildir that has been locked, for `Folders::new`.
    ///
    /// # Errors
    /// Those of [`Directories::open`].
    pub(super) fn open(root: Root, wait: Wait) -> Result<(Self, Directories), Failure> {
        let directories = Directories::open(root.directory(), root.path(), wait)?;
        let id = |folder: Folder| {
            let stat = fstat(directories.fd(folder));
            stat.map(|stat| FileId::of(&stat)).map_err(|e| failure("look at", &root, folder, e))
        };
        let (new, cur) = (id(Folder::New)?, id(Folder::Cur)?);
        let of_new = FileSystem::of(directories.fd(Folder::New));
        let of_cur = match new.device() == cur.device() {
            true => of_new,
            false => FileSystem::of(directories.fd(Folder::Cur)),
        };
        let file_systems = [of_new, of_cur];
        let nowait = file_systems.into_iter().all(FileSystem::supports_nowait);
        let reliable_ctime = file_systems.into_iter().all(FileSystem::has_reliable_ctime);
        let stable_inodes = file_systems.into_iter().all(FileSystem::has_stable_inodes);
        Ok((Self { new, cur, nowait, reliable_ctime, stable_inodes, root }, directories))
    }

    /// The directory and its lock.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Whether files that are in memory can be opened and read without waiting.
    pub(super) fn supports_nowait(&self) -> bool {
        self.nowait
    }

    /// Whether each change in the folders changes their ctimes, and a rename that of the message.
    pub(super) fn has_reliable_ctime(&self) -> bool {
        self.reliable_ctime
    }

    /// Whether the inode numbers that reading a directory gives are reliable.
    pub(super) fn has_stable_inodes(&self) -> bool {
        self.stable_inodes
    }

    /// Checks that the path still leads to this Maildir.
    ///
    /// # Errors
    /// When it leads to another directory, or to none.
    pub(super) fn check_path(&self) -> Result<(), Failure> {
        let path = self.root.path();
        let is_same = || {
            let found = open_directory(path, OFlags::PATH, Wait::IfNeedBe)?;
            let ours = FileId::of(&fstat(self.root.directory())?);
            if FileId::of(&fstat(found)?) == ours { Ok(()) } else { Err(replaced()) }
        };
        is_same().map_err(|error| Failure::new(format!("look at {}", path.display()), error))
    }

    /// Opens a message file.
    ///
    /// # Errors
    /// Those of open(2); when it is not a regular file; and when its folder has been replaced by
    /// another directory.
    pub(super) fn open_file(&self, folder: Folder, name: &[u8]) -> io::Result<OpenFile> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(self.root.directory(), folder.name(), flags, Mode::empty())?;
        self.is_same(&directory, folder)?;
        OpenFile::of(openat(directory, name, TO_READ, Mode::empty())?)
    }

    /// Opens a message file whose name and inode are in memory, without waiting.
    ///
    /// # Errors
    /// When it cannot be opened in this way; [`open_file`](Self::open_file) gives the reason.
    pub(super) fn open_cached(&self, folder: Folder, name: &[u8]) -> io::Result<OpenFile> {
        if !self.nowait {
            return Err(Errno::AGAIN.into());
        }
        let path = [folder.name().as_bytes(), name].join(&b'/');
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | Wait::Never.resolve_flags();
        let directory = self.root.directory();
        let opened = OpenFile::of(openat2(directory, path, TO_READ, Mode::empty(), resolve)?)?;
        // The caller compares the inode, which is valid on this device only.
        if opened.device == self.id(folder).device() { Ok(opened) } else { Err(replaced()) }
    }

    /// The path of a file, escaped for a log line.
    pub(super) fn describe(&self, folder: Folder, name: &[u8]) -> String {
        let path = self.root.path().display();
        format!("{path}/{}/{}", folder.name(), name.escape_ascii())
    }

    /// Checks that an open directory is the folder of the login.
    pub(super) fn is_same(&self, open: impl AsFd, folder: Folder) -> io::Result<()> {
        if FileId::of(&fstat(open)?) == self.id(folder) { Ok(()) } else { Err(replaced()) }
    }

    fn id(&self, folder: Folder) -> FileId {
        match folder {
            Folder::New => self.new,
            Folder::Cur => self.cur,
        }
    }
}

/// The failure to do something with a folder.
pub(super) fn failure(
    what: &str,
    root: &Root,
    folder: Folder,
    error: impl Into<io::Error>,
) -> Failure {
    let path = root.path().join(folder.name());
    Failure::new(format!("{what} {}", path.display()), error.into())
}

fn replaced() -> io::Error {
    io::Error::other("another directory has taken its place since the login")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::folders::Folders;
    use super::super::index::Index;
    use super::super::lock::TryLock;
    use super::super::scan::scan;
    use super::super::view::View;
    use super::*;

    /// A Maildir on a file system where changes may leave no stamp.
    fn without_reliable_ctime(maildir: &Path) -> (LockedMaildir, Directories) {
        for name in ["cur", "new", "tmp"] {
            fs::create_dir(maildir.join(name)).unwrap();
        }
        let TryLock::Locked(root) = Root::try_lock(maildir).unwrap() else { panic!("not locked") };
        let (mut locked, directories) = LockedMaildir::open(root, Wait::IfNeedBe).unwrap();
        locked.reliable_ctime = false;
        (locked, directories)
    }

    /// On FUSE, NFS and `CephFS` cached stamps may look unchanged.
    #[test]
    fn unchanged_stamps_prove_nothing_where_changes_may_leave_no_stamp() {
        let maildir = tempfile::tempdir().unwrap();
        let (locked, directories) = without_reliable_ctime(maildir.path());
        let folders = Folders::new(&locked, directories);
        fs::write(maildir.path().join("cur/1.a:2,"), "a").unwrap();
        let ((), basis) = folders.undisturbed(|| Ok(())).unwrap();
        assert_eq!(basis, None);
        let scan = scan(&folders, &Index::default()).unwrap();
        assert_eq!((scan.files.len(), scan.basis), (1, None));
        assert!(scan.passes > 2, "{}", scan.passes);
    }

    #[test]
    fn a_folder_that_was_replaced_is_not_read_in_its_place() {
        let maildir = tempfile::tempdir().unwrap();
        let (locked, directories) = without_reliable_ctime(maildir.path());
        let folders = Folders::new(&locked, directories);
        fs::rename(maildir.path().join("cur"), maildir.path().join("old")).unwrap();
        fs::create_dir(maildir.path().join("cur")).unwrap();
        let failure = folders.read(Folder::Cur, |_, _| ()).unwrap_err();
        assert!(failure.to_string().contains("cur"), "{failure}");
        folders.read(Folder::New, |_, _| ()).unwrap();
    }
}
