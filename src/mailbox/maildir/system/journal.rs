//! Simulated power cuts, which undo all changes of a directory or file since its last sync.
//!
//! The process that will be killed records its changes, and keeps the files that it removes under a
//! second name elsewhere. Another process reads the record, and undoes what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The journal of a process.
pub(crate) struct Journal {
    directory: PathBuf,
    file: File,
    kept: u32,
}

/// Which of the changes that were not synced are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// All of them.
    All,
    /// Every other one, because a disk writes in any order. A file that was written keeps its new
    /// length, with zeros in the place of its contents.
    EveryOther,
}

impl Journal {
    /// A journal in a separate directory on the file system of the Maildir.
    pub(crate) fn new(directory: &Path) -> Self {
        let file = OpenOptions::new().create_new(true).append(true).open(log_in(directory));
        Self { directory: directory.to_owned(), file: file.unwrap(), kept: 0 }
    }

    /// Keeps a file that is about to lose its name, if it is there.
    pub(super) fn keep(&mut self, directory: impl AsFd, name: &str) -> Option<PathBuf> {
        self.kept += 1;
        let kept = self.directory.join(self.kept.to_string());
        fs::hard_link(path_of(directory).join(name), &kept).ok()?;
        Some(kept)
    }

    pub(super) fn unlinked(&mut self, directory: impl AsFd, name: &str, kept: Option<PathBuf>) {
        let kept = kept.unwrap().display().to_string();
        self.enter(&["unlink", &display(path_of(directory)), name, &kept]);
    }

    pub(super) fn renamed(
        &mut self,
        directory: impl AsFd,
        from: &str,
        to: &str,
        kept: Option<PathBuf>,
    ) {
        let kept = kept.map_or_else(String::new, display);
        self.enter(&["rename", &display(path_of(directory)), from, to, &kept]);
    }

    pub(super) fn created(&mut self, directory: impl AsFd, name: &str) {
        self.enter(&["create", &display(path_of(directory)), name]);
    }

    /// Before a file is written to.
    pub(super) fn written(&mut self, file: impl AsFd) {
        let path = path_of(file);
        let metadata = fs::metadata(&path).unwrap();
        let (inode, size) = (metadata.ino().to_string(), metadata.len().to_string());
        self.enter(&["write", &display(path), &inode, &size]);
    }

    pub(super) fn synced(&mut self, file: impl AsFd) {
        self.enter(&["sync", &display(path_of(file))]);
    }

    fn enter(&mut self, fields: &[&str]) {
        writeln!(self.file, "{}", fields.join("\t")).unwrap();
    }
}

/// Undoes the changes of a killed process that a power cut would have undone.
pub(crate) fn cut_power(journal: &Path, lost: Lost) {
    let text = fs::read_to_string(log_in(journal)).unwrap();
    let mut pending = Vec::<Vec<&str>>::new();
    for line in text.lines() {
        let fields = line.split('\t').collect::<Vec<_>>();
        match fields.as_slice() {
            ["sync", path] => pending.retain(|done| done[1] != *path),
            _ => pending.push(fields),
        }
    }
    for (at, done) in pending.iter().enumerate().rev() {
        if lost == Lost::All || at.is_multiple_of(2) {
            undo(done, lost);
        }
    }
}

fn undo(done: &[&str], lost: Lost) {
    let directory = Path::new(done[1]);
    match *done {
        // If another file has the name by now, both files existed.
        ["unlink", _, name, kept] => drop(fs::hard_link(kept, directory.join(name))),
        ["rename", _, from, to, kept] => {
            drop(fs::rename(directory.join(to), directory.join(from)));
            if !kept.is_empty() {
                drop(fs::hard_link(kept, directory.join(to)));
            }
        }
        ["create", _, name] => drop(fs::remove_file(directory.join(name))),
        ["write", path, inode, size] => {
            let (inode, size) = (inode.parse().unwrap(), size.parse().unwrap());
            forget_contents(Path::new(path).parent().unwrap(), inode, size, lost);
        }
        _ => panic!("{done:?}"),
    }
}

/// Discards the contents of a file from an offset on, whatever its name is now.
fn forget_contents(directory: &Path, inode: u64, size: u64, lost: Lost) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.ino() == inode && metadata.is_file() {
            let file = OpenOptions::new().write(true).open(entry.path()).unwrap();
            match lost {
                Lost::All => file.set_len(size).unwrap(),
                Lost::EveryOther => {
                    let zeros = vec![0; usize::try_from(metadata.len() - size).unwrap()];
                    file.write_all_at(&zeros, size).unwrap();
                }
            }
        }
    }
}

fn path_of(file: impl AsFd) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())).unwrap()
}

fn display(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap()
}

fn log_in(directory: &Path) -> PathBuf {
    directory.join("journal")
}
