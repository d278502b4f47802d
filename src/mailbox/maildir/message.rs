//! Reading one message, in chunks and off the worker threads.
//!
//! The file is read, never mapped: one that shrinks while it is mapped ends the process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::super::{Failure, Message, MessageError};
use super::blocking;
use super::chase::{NotFound, Visit, Wanted, chase};
use super::count;
use super::folder::{FileId, Folder, OpenFile, Place};
use super::maildrop::Opened;

/// A message file, open for reading from its start to the end that it had when it was opened.
#[derive(Debug)]
pub struct StoredMessage {
    octets: u64,
    /// Nothing when an earlier read failed or was abandoned half-way.
    reader: Option<Reader>,
    /// The chunk that was read when the message was opened has not been handed out yet.
    primed: bool,
}

#[derive(Debug)]
struct Reader {
    file: File,
    /// For the log.
    path: String,
    size: u64,
    offset: u64,
    buffer: Vec<u8>,
}

impl StoredMessage {
    /// Opens a message of a listing, wherever its file is by now, and reads the first chunk.
    pub(super) fn open(maildrop: &Opened, at: u32) -> Result<Self, MessageError> {
        let unreadable = |error: io::Error| {
            if matches!(error.kind(), io::ErrorKind::PermissionDenied) {
                maildrop.distrust(at);
            }
            MessageError::Unreadable(not_read(&path(maildrop, at), error))
        };
        let file = open(maildrop, at)?.ok_or(MessageError::Gone)?.map_err(unreadable)?;
        let octets = current_octets(maildrop, at, &file).map_err(unreadable)?;
        let OpenFile { file, size, .. } = file;
        let path = path(maildrop, at);
        let mut reader = Reader { file, path, size, offset: 0, buffer: Vec::new() };
        reader.read().map_err(MessageError::Unreadable)?;
        Ok(Self { octets, reader: Some(reader), primed: true })
    }
}

impl Message for StoredMessage {
    fn octets(&self) -> u64 {
        self.octets
    }

    async fn chunk(&mut self) -> io::Result<&[u8]> {
        if !std::mem::take(&mut self.primed) {
            let ended = || io::Error::other("an earlier read of this message failed");
            let mut reader = self.reader.take().ok_or_else(ended)?;
            if reader.offset < reader.size {
                let read = blocking(move || reader.read().map(|()| reader)).await?;
                reader =
                    read.map_err(|failure| io::Error::new(failure.source().kind(), failure))?;
            } else {
                reader.buffer.clear();
            }
            self.reader = Some(reader);
        }
        Ok(self.reader.as_ref().map_or(&[], |reader| &reader.buffer))
    }
}

impl Reader {
    /// Reads the next chunk into the buffer.
    fn read(&mut self) -> Result<(), Failure> {
        let left = self.size.saturating_sub(self.offset);
        self.buffer.resize(usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK)), 0);
        // What has been appended since is not read; what has been cut off is an error.
        self.file
            .read_exact_at(&mut self.buffer, self.offset)
            .map_err(|error| not_read(&self.path, error))?;
        self.offset += self.buffer.len() as u64;
        Ok(())
    }
}

/// Opens the file of a message; nothing when it is gone.
fn open(maildrop: &Opened, at: u32) -> Result<Option<io::Result<OpenFile>>, MessageError> {
    let id = maildrop.listing.entry(at).file_id();
    let place = maildrop.place(at);
    if let Some(file) = try_open(maildrop, id, place.folder, &place.name) {
        return Ok(Some(file));
    }
    let unique = maildrop.listing.entry(at).unique_name();
    let wanted = Wanted { unique, id, token: () };
    let mut opened = None;
    let NotFound { elusive, .. } = chase(&maildrop.folders, vec![wanted], |(), places| {
        opened = places.iter().find_map(|place| {
            let file = try_open(maildrop, id, place.folder, &place.name)?;
            maildrop.moved_to(at, place);
            Some(file)
        });
        if opened.is_some() { Visit::Done } else { Visit::Missed }
    })
    .map_err(MessageError::Unreadable)?;
    if !elusive.is_empty() {
        opened = Some(Err(io::Error::other("it is renamed all the time")));
    }
    Ok(opened)
}

/// Opens a file; nothing when the message is not there.
fn try_open(
    maildrop: &Opened,
    id: Option<FileId>,
    folder: Folder,
    name: &[u8],
) -> Option<io::Result<OpenFile>> {
    match maildrop.folders.open_file(folder, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(file) if id.is_some_and(|id| id != file.id) => None,
        result => Some(result),
    }
}

/// The octets of a message: those of the listing, unless the file has another size by now.
fn current_octets(maildrop: &Opened, at: u32, file: &OpenFile) -> io::Result<u64> {
    let listed = maildrop.listing.entry(at).sizes;
    if file.size == listed.physical {
        return Ok(listed.octets);
    }
    maildrop.distrust(at);
    let octets = count::octets(&file.file, file.size, &mut Vec::new())?;
    tracing::warn!(
        path = path(maildrop, at),
        listed = listed.octets,
        octets,
        "a message has changed since it was listed"
    );
    Ok(octets)
}

/// The path of a message, fit for a log line.
fn path(maildrop: &Opened, at: u32) -> String {
    let Place { folder, name } = maildrop.place(at);
    maildrop.folders.describe(folder, &name)
}

fn not_read(path: &str, error: io::Error) -> Failure {
    Failure::new(format!("read {path}"), error)
}

const CHUNK: usize = 64 << 10;
