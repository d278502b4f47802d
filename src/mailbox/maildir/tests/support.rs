//! A Maildir in a temporary directory, and a session with it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::super::lock::{Root, TryLock};
use super::super::{MaildirMaildrop, MaildirStore, PathTemplate};
use crate::login::Identity;
use crate::mailbox::{Failure, Mailbox, Maildrop, Message, MessageError, OpenError, Position};

pub(super) struct Maildir {
    parent: tempfile::TempDir,
}

impl Maildir {
    /// An empty Maildir.
    pub(super) fn new() -> Self {
        let maildir = Self { parent: tempfile::tempdir().unwrap() };
        for folder in ["", "new", "cur", "tmp"] {
            fs::create_dir(maildir.path(folder)).unwrap();
        }
        maildir
    }

    /// A Maildir with these files.
    pub(super) fn with(files: &[(&str, &[u8])]) -> Self {
        let maildir = Self::new();
        for (name, contents) in files {
            maildir.put(name, contents);
        }
        maildir
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.parent.path().join("Maildir").join(name)
    }

    pub(super) fn put(&self, name: impl AsRef<Path>, contents: &[u8]) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// Delivers through `tmp`, as an MDA does.
    pub(super) fn deliver(&self, name: &str, contents: &[u8]) {
        let tmp = self.path("tmp").join(name);
        File::create_new(&tmp).unwrap().write_all(contents).unwrap();
        fs::rename(tmp, self.path("new").join(name)).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Waits until no session has it, and the index of the last one is written.
    pub(super) fn come_to_rest(&self) {
        while !matches!(Root::try_lock(&self.path("")), Ok(TryLock::Locked(_))) {
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Waits until its first index is written, which may be after `open` has returned.
    pub(super) fn wait_for_index(&self) {
        while !self.exists("restante.index") {
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// The names in it that are not directories of every Maildir, sorted.
    pub(super) fn tree(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["", "new", "cur", "tmp"] {
            for entry in fs::read_dir(self.path(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if !["new", "cur", "tmp"].contains(&name.as_str()) {
                    names.push(format!("{folder}/{name}"));
                }
            }
        }
        names.sort();
        names
    }

    pub(super) fn store(&self) -> MaildirStore {
        MaildirStore::new(PathTemplate::new(self.parent.path().join("Maildir")))
    }

    pub(super) async fn try_open(&self) -> Result<MaildirMaildrop, OpenError> {
        // Long enough for an earlier session's index to be written.
        let wait = Duration::from_secs(30);
        self.store()
            .open_within(&Identity::for_test("mrose"), &CancellationToken::default(), wait, || {})
            .await
    }

    pub(super) async fn open(&self) -> MaildirMaildrop {
        self.try_open().await.unwrap()
    }

    /// The error of opening it.
    pub(super) async fn failure(&self) -> Failure {
        match self.try_open().await {
            Err(OpenError::Unavailable(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }
}

/// A runtime for tests that start threads.
pub(super) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Unique-ids and octets of a listing.
pub(super) fn listing(maildrop: &MaildirMaildrop) -> Vec<(String, u64)> {
    positions(maildrop)
        .map(|at| (maildrop.unique_id(at).as_str().to_owned(), maildrop.octets(at)))
        .collect()
}

/// The unique-ids of a listing.
pub(super) fn unique_ids(maildrop: &MaildirMaildrop) -> Vec<String> {
    listing(maildrop).into_iter().map(|(unique_id, _)| unique_id).collect()
}

pub(super) fn positions(maildrop: &MaildirMaildrop) -> impl Iterator<Item = Position> + use<> {
    (0..maildrop.count()).map(Position)
}

/// Reads a message to its end.
pub(super) async fn read(maildrop: &MaildirMaildrop, at: u32) -> Result<Vec<u8>, MessageError> {
    let mut message = maildrop.message(Position(at)).await?;
    Ok(rest(&mut message).await.unwrap())
}

/// Reads what is left of a message.
pub(super) async fn rest(message: &mut impl Message) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let chunk = message.chunk().await?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(chunk);
    }
}
