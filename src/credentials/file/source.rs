//! A credential file on disk: read whole, and refused when it is not safe.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use crate::threads::FileStamp;

/// A credential file that has been read.
pub(super) struct Source {
    /// The whole file.
    pub(super) text: Zeroizing<Vec<u8>>,
    /// The state of the file when it was read.
    pub(super) stamp: FileStamp,
    /// Whether every user of the machine may read it.
    pub(super) exposed: bool,
}

/// Why a credential file was not read. To be shown behind the path.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no file.
    #[error("does not exist; restante user add creates it")]
    Missing,
    /// The system does not let it be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is a directory, say.
    #[error("is not a regular file; name a file with one line per user")]
    NotRegular,
    /// Every user of the machine may write to it.
    #[error("can be written by every user of this machine; correct that with chmod o-w")]
    Writable,
    /// It is not read into memory.
    #[error("has {0} octets, more than {MAX_OCTETS}; split it over two [[credentials]]")]
    TooLarge(u64),
}

impl Source {
    /// Reads a file whole.
    pub(super) fn read(path: &Path) -> Result<Self, SourceError> {
        let file = open(path).map_err(|error| match error.kind() == io::ErrorKind::NotFound {
            true => SourceError::Missing,
            false => SourceError::Unreadable(error),
        })?;
        Self::read_open(&file)
    }

    /// Reads an open file from its current position.
    pub(super) fn read_open(mut file: &File) -> Result<Self, SourceError> {
        let metadata = file.metadata().map_err(SourceError::Unreadable)?;
        if !metadata.is_file() {
            return Err(SourceError::NotRegular);
        }
        if metadata.mode() & 0o002 != 0 {
            return Err(SourceError::Writable);
        }
        if metadata.len() > MAX_OCTETS {
            return Err(SourceError::TooLarge(metadata.len()));
        }
        // Large enough at once: a buffer that grows leaves copies of passwords in freed memory.
        let expected = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        let mut text = Zeroizing::new(Vec::with_capacity(expected.saturating_add(1)));
        let read = file.by_ref().take(metadata.len()).read_to_end(&mut text);
        read.map_err(SourceError::Unreadable)?;
        let exposed = metadata.mode() & 0o004 != 0;
        Ok(Self { text, stamp: FileStamp::of(&metadata), exposed })
    }

    /// Whether it is empty: without even a comment.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim_ascii().is_empty()
    }

    /// Whether the text may be the first part of a file that is being written.
    pub(super) fn looks_unfinished(&self) -> bool {
        self.text.last() != Some(&b'\n')
    }
}

/// Opens a file for reading. Does not block on a FIFO.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// More than two million users.
const MAX_OCTETS: u64 = 512 * 1024 * 1024;
