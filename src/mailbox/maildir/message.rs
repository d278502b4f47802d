//! Reading one message in chunks: on the worker thread if the system has it in memory, on another
//! thread if that would wait for the disk, or if the message is compressed.
//!
//! The file is read, never mapped: the process would crash if a mapped file were truncated.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Arc, Weak};

use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;

use tracing::Span;

use super::super::{Failure, Message, MessageError, Position};
use super::compressed::{Contents, Decoder};
use super::count;
use super::entry::{Form, Sizes};
use super::folder::{Location, OpenFile};
use super::folders::Folders;
use super::inode::may_be;
use super::open_maildrop::OpenMaildrop;
use super::search::{NotFound, Target, Visit, search};
use super::system::{fadvise, preadv2, read_exact_at};
use super::time_limit::TimeLimit;

/// A message file, open for reading from its start to the end that it had when it was opened.
#[derive(Debug)]
pub struct MaildirMessage {
    octets: u64,
    /// `None` after a read that failed or was cancelled.
    reader: Option<Reader>,
    /// Whether the chunk that was read on opening has yet to be returned.
    primed: bool,
}

#[derive(Debug)]
struct Reader {
    /// The rest of the message; `None` at its end.
    rest: Option<Rest>,
    /// Never shrunk, so that it is zeroed once and not for each chunk.
    buffer: Vec<u8>,
    /// The length of the chunk in the buffer.
    length: usize,
}

/// The part of a message that has yet to be read.
#[derive(Debug)]
struct Rest {
    /// For the log.
    path: String,
    bytes: Bytes,
    /// The maildrop of the message.
    maildrop: Weak<OpenMaildrop>,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Bytes {
    Stored { file: File, offset: u64, size: u64 },
    Compressed { decoder: Box<Decoder>, at: Position },
}

impl MaildirMessage {
    /// Opens a message without waiting and reads the first chunk. `None` if that is not possible,
    /// or if the file is not at its last known location with its listed size.
    pub(super) fn open_cached(maildrop: &Arc<OpenMaildrop>, at: Position) -> Option<Self> {
        let entry = maildrop.listing.entry(at);
        let sizes = entry.sizes;
        if sizes.form == Form::Compressed {
            return None;
        }
        let Location { folder, name } = maildrop.location(at);
        let OpenFile { file, inode, size, .. } =
            maildrop.maildir.open_cached(folder, &name).ok()?;
        if !may_be(entry.inode, inode) || size != sizes.physical {
            return None;
        }
        let mut buffer = vec![0; chunk_size(size, FIRST_CHUNK)];
        let length = read_cached(&file, &mut buffer, 0);
        if length < buffer.len() || Contents::of(&buffer) != Contents::Plain {
            return None;
        }
        let path = || maildrop.maildir.describe(folder, &name);
        let reader = Reader::begun(maildrop, file, size, buffer, path);
        Some(Self { octets: sizes.octets, reader: Some(reader), primed: true })
    }

    /// Opens a message, even if its file has been renamed, and reads the first chunk.
    pub(super) fn open(maildrop: &Arc<OpenMaildrop>, at: Position) -> Result<Self, MessageError> {
        let (location, file) = find(maildrop, at)?.ok_or(MessageError::Gone)?;
        let path = || maildrop.maildir.describe(location.folder, &location.name);
        let read = file.and_then(|file| read_first(maildrop, at, file, path));
        let (octets, reader) = read.map_err(|error| {
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidData)
            {
                maildrop.drop_from_index(at);
            }
            MessageError::Unreadable(not_read(&path(), error))
        })?;
        Ok(Self { octets, reader: Some(reader), primed: true })
    }
}

impl Drop for MaildirMessage {
    /// Closing a file may block, so a thread does it where the file system may be remote.
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take()
            && let Some(maildrop) = reader.maildrop()
            && !maildrop.maildir.has_reliable_ctime()
        {
            drop(maildrop.threads().start(move || drop(reader)));
        }
    }
}

impl Message for MaildirMessage {
    fn octets(&self) -> u64 {
        self.octets
    }

    async fn chunk(&mut self) -> io::Result<&[u8]> {
        if !std::mem::take(&mut self.primed) {
            let ended = || io::Error::other("an earlier read of this message failed");
            let mut reader = self.reader.take().ok_or_else(ended)?;
            if !reader.read_cached() {
                let span = Span::current();
                let maildrop = reader.maildrop().ok_or_else(ended)?;
                let read = move || span.in_scope(|| reader.read().map(|()| reader));
                let read = maildrop.threads().run(read).await?;
                reader =
                    read.map_err(|failure| io::Error::new(failure.source().kind(), failure))?;
            }
            self.reader = Some(reader);
        }
        Ok(self.reader.as_ref().map_or(&[], Reader::chunk))
    }
}

impl Reader {
    /// A reader of a file whose first bytes are in `buffer`.
    fn begun(
        maildrop: &Arc<OpenMaildrop>,
        file: File,
        size: u64,
        buffer: Vec<u8>,
        path: impl FnOnce() -> String,
    ) -> Self {
        let length = buffer.len();
        let offset = length as u64;
        let rest = (offset < size).then(|| Rest {
            path: path(),
            bytes: Bytes::Stored { file, offset, size },
            maildrop: Arc::downgrade(maildrop),
        });
        Self { rest, buffer, length }
    }

    /// The maildrop of the message, until the message has been read to its end.
    fn maildrop(&self) -> Option<Arc<OpenMaildrop>> {
        self.rest.as_ref()?.maildrop.upgrade()
    }

    /// Reads as much of the next chunk as is possible without waiting. Returns false if no byte was
    /// read before the end of the message.
    fn read_cached(&mut self) -> bool {
        self.length = 0;
        match &mut self.rest {
            None => true,
            Some(Rest { bytes: Bytes::Stored { file, offset, size }, .. }) => {
                let room = room(&mut self.buffer, size.saturating_sub(*offset));
                self.length = read_cached(file, room, *offset);
                *offset += self.length as u64;
                if offset >= size {
                    self.rest = None;
                }
                self.length > 0
            }
            // Decompression takes too long for a worker thread.
            Some(Rest { bytes: Bytes::Compressed { .. }, .. }) => false,
        }
    }

    /// Reads the next chunk.
    fn read(&mut self) -> Result<(), Failure> {
        self.try_read().map_err(|error| {
            let path = self.rest.as_ref().map_or("a message", |rest| &rest.path);
            not_read(path, error)
        })
    }

    /// Reads the next chunk; closes the file at its end.
    fn try_read(&mut self) -> io::Result<()> {
        self.length = 0;
        let Some(Rest { bytes, maildrop, .. }) = &mut self.rest else { return Ok(()) };
        let ended = match bytes {
            Bytes::Stored { file, offset, size } => {
                let room = room(&mut self.buffer, size.saturating_sub(*offset));
                // Bytes appended since are not read. A truncated file is an error.
                read_exact_at(file, room, *offset)?;
                self.length = room.len();
                *offset += self.length as u64;
                offset >= size
            }
            Bytes::Compressed { decoder, at } => {
                let room = room(&mut self.buffer, u64::MAX);
                match decoder.fill(room) {
                    Ok(length) => self.length = length,
                    Err(error) => {
                        // Its size is that in the index, so the next login would not notice.
                        if let Some(maildrop) = maildrop.upgrade() {
                            maildrop.drop_from_index(*at);
                        }
                        return Err(error);
                    }
                }
                self.length < room.len()
            }
        };
        if ended {
            self.rest = None;
        }
        Ok(())
    }

    fn chunk(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

/// The part of the buffer for the next chunk, when `left` bytes are left.
fn room(buffer: &mut Vec<u8>, left: u64) -> &mut [u8] {
    let size = chunk_size(left, CHUNK);
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    buffer.get_mut(..size).unwrap_or_default()
}

/// The size of the next chunk, at most `most`, when `left` bytes are left.
fn chunk_size(left: u64, most: usize) -> usize {
    usize::try_from(left).map_or(most, |left| left.min(most))
}

/// Reads what the system has in memory; returns the number of bytes. It is 0 at the end of the
/// file, if reading would wait for the disk, and if the file system does not support
/// `RWF_NOWAIT`.
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> usize {
    let buffers = &mut [IoSliceMut::new(buffer)];
    preadv2(file, buffers, offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

/// Asks the system to read the first chunks of messages into memory. Errors are ignored: they will
/// occur again when the message is opened.
pub(super) fn read_ahead(maildrop: &OpenMaildrop, messages: Range<u32>) {
    for at in messages.map(|at| maildrop.in_listing(Position(at))) {
        let Location { folder, name } = maildrop.location(at);
        if let Ok(OpenFile { file, .. }) = maildrop.maildir.open_file(folder, &name) {
            let _advice = fadvise(file, 0, NonZeroU64::new(FIRST_CHUNK as u64), Advice::WillNeed);
        }
    }
}

/// Finds the file of a message and opens it. Returns its location, or `None` when it is gone.
fn find(
    maildrop: &OpenMaildrop,
    at: Position,
) -> Result<Option<(Location, io::Result<OpenFile>)>, MessageError> {
    let location = maildrop.location(at);
    if let Found::Itself(file) = try_open(maildrop, at, &location) {
        return Ok(Some((location, file)));
    }
    let entry = maildrop.listing.entry(at);
    let target = Target { unique: entry.unique_name(), inode: entry.telling_inode(), id: () };
    let mut found = None;
    let mut visits = 0;
    let folders = Folders::open(&maildrop.maildir).map_err(MessageError::Unreadable)?;
    let NotFound { unstable, .. } = search(&folders, vec![target], |(), locations| {
        visits += 1;
        let mut others = Vec::new();
        for location in locations {
            match try_open(maildrop, at, location) {
                Found::Itself(file) => {
                    maildrop.moved_to(at, location);
                    found = Some((location.clone(), file));
                    return Visit::Done;
                }
                Found::Another(file) => others.push((location, file)),
                Found::None => {}
            }
        }
        // One pass may miss a file that is renamed meanwhile.
        if visits < 2 || others.len() < locations.len() || entry.telling_inode().is_some() {
            return Visit::Retry;
        }
        found = replacement(maildrop, at, others);
        Visit::Done
    })
    .map_err(MessageError::Unreadable)?;
    if !unstable.is_empty() {
        found = Some((location, Err(io::Error::other("it is renamed all the time"))));
    }
    Ok(found)
}

/// What is at a location.
enum Found {
    /// The file that was listed; it may be impossible to open.
    Itself(io::Result<OpenFile>),
    Another(OpenFile),
    None,
}

fn try_open(maildrop: &OpenMaildrop, at: Position, location: &Location) -> Found {
    match maildrop.maildir.open_file(location.folder, &location.name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::None,
        Ok(file) if !may_be(maildrop.file(at).inode, file.inode) => Found::Another(file),
        result => Found::Itself(result),
    }
}

/// The file that is read in place of the one that was listed: the same message, edited. `None` if
/// several files have the unique name.
fn replacement(
    maildrop: &OpenMaildrop,
    at: Position,
    mut others: Vec<(&Location, OpenFile)>,
) -> Option<(Location, io::Result<OpenFile>)> {
    let (location, file) = others.pop().filter(|_| others.is_empty())?;
    maildrop.moved_to(at, location);
    maildrop.replaced_by(at, file.inode);
    Some((location.clone(), Ok(file)))
}

/// The octets of a message that has been opened, and its first chunk.
fn read_first(
    maildrop: &Arc<OpenMaildrop>,
    at: Position,
    open: OpenFile,
    path: impl Fn() -> String,
) -> io::Result<(u64, Reader)> {
    let mut buffer = vec![0; chunk_size(open.size, CHUNK)];
    read_exact_at(&open.file, &mut buffer, 0)?;
    let contents = Contents::of(&buffer);
    let octets = current_octets(maildrop, at, &open, contents, &path)?;
    let OpenFile { file, size, .. } = open;
    let format = match contents {
        Contents::Plain => {
            return Ok((octets, Reader::begun(maildrop, file, size, buffer, path)));
        }
        Contents::Compressed(format) => format,
        Contents::Unreadable(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
    };
    let decoder = Box::new(Decoder::new(format, file, size));
    let bytes = Bytes::Compressed { decoder, at };
    let rest = Rest { path: path(), bytes, maildrop: Arc::downgrade(maildrop) };
    let mut reader = Reader { rest: Some(rest), buffer, length: 0 };
    reader.try_read()?;
    Ok((octets, reader))
}

/// The octets of a message: those of the listing, unless the file is another by now.
fn current_octets(
    maildrop: &OpenMaildrop,
    at: Position,
    open: &OpenFile,
    contents: Contents,
    path: impl Fn() -> String,
) -> io::Result<u64> {
    let entry = maildrop.listing.entry(at);
    let listed = entry.sizes;
    let form = match contents {
        Contents::Plain => Form::Plain,
        Contents::Compressed(_) | Contents::Unreadable(_) => Form::Compressed,
    };
    let is_listed_file = may_be(entry.inode, open.inode);
    if is_listed_file && (open.size, form) == (listed.physical, listed.form) {
        return Ok(listed.octets);
    }
    maildrop.drop_from_index(at);
    let limit = TimeLimit::bounded();
    let Sizes { octets, .. } = count::sizes(&open.file, open.size, &mut Vec::new(), &limit)?;
    // The same octets in another file: a program has compressed the message.
    if octets != listed.octets {
        let (path, listed) = (path(), listed.octets);
        tracing::warn!(path, listed, octets, "a message has changed since it was listed");
    }
    Ok(octets)
}

fn not_read(path: &str, error: io::Error) -> Failure {
    Failure::new(format!("read {path}"), error)
}

/// Most messages are not larger, and TOP seldom needs more.
const FIRST_CHUNK: usize = 16 << 10;
const CHUNK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn reader(file: File, size: u64) -> Reader {
        let bytes = Bytes::Stored { file, offset: 0, size };
        let rest = Rest { path: "new/1.a".to_owned(), bytes, maildrop: Weak::new() };
        Reader { rest: Some(rest), buffer: Vec::new(), length: 0 }
    }

    /// The bytes, and how many chunks had to be waited for.
    fn read(mut reader: Reader) -> (Vec<u8>, usize) {
        let (mut bytes, mut waits) = (Vec::new(), 0);
        loop {
            if !reader.read_cached() {
                waits += 1;
                reader.read().unwrap();
            }
            if reader.chunk().is_empty() {
                return (bytes, waits);
            }
            bytes.extend_from_slice(reader.chunk());
        }
    }

    fn forget(file: &File, offset: u64) {
        file.sync_all().unwrap();
        fadvise(file, offset, None, Advice::DontNeed).unwrap();
    }

    #[test]
    fn the_same_bytes_come_from_memory_and_from_the_disk() {
        let contents = (0..400_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&contents).unwrap();
        for forgotten_from in [None, Some(1 << 20), Some(100_000), Some(0)] {
            if let Some(offset) = forgotten_from {
                forget(&file, offset);
            }
            let (bytes, _waits) = read(reader(file.try_clone().unwrap(), contents.len() as u64));
            assert!(bytes == contents, "forgotten from {forgotten_from:?}");
        }
    }

    #[test]
    fn a_file_system_without_nowait_is_read_by_waiting() {
        let contents = fs::read("/proc/version").unwrap();
        let file = File::open("/proc/version").unwrap();
        assert_eq!(read(reader(file, contents.len() as u64)), (contents, 1));
    }

    #[test]
    fn a_file_that_is_cut_is_never_at_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[b'x'; 100_000]).unwrap();
        let mut reader = reader(file.try_clone().unwrap(), 100_000);
        reader.read().unwrap();
        assert_eq!(reader.chunk().len(), CHUNK);
        file.set_len(80_000).unwrap();
        if reader.read_cached() {
            assert_eq!(reader.chunk().len(), 80_000 - CHUNK);
        }
        assert!(!reader.read_cached());
        let failure = reader.read().unwrap_err();
        assert_eq!(failure.source().kind(), io::ErrorKind::UnexpectedEof);
        assert!(failure.to_string().contains("new/1.a"), "{failure}");
    }
}
