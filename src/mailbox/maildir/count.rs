//! Counting the octets of messages that are not in the index. This reads each message once, when it
//! is seen first.

use std::fs::File;
use std::io;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::compressed::{Contents, Decoder, Format};
use super::entry::{Form, Sizes};
use super::folder::{Folder, of_reading};
use super::folders::Folders;
use super::inode::{Inode, may_be};
use super::permits::Permits;
use super::system::{duplicate, fstat, read_exact_at, seek};
use super::time_limit::TimeLimit;
use crate::protocol::OctetCounter;

/// A file to count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uncounted<'a> {
    pub(super) folder: Folder,
    pub(super) name: &'a [u8],
    /// The inode that it must have, when other files share its unique name.
    pub(super) inode: Option<Inode>,
}

/// The result of counting a file; `NotFound` when it has been removed or renamed.
pub(super) type Counted = io::Result<Sizes>;

/// Counts files; the results are in the order of the files. Many files are counted by several
/// threads, if permits are left.
pub(super) fn all(
    folders: &Folders<'_>,
    files: &[Uncounted<'_>],
    limit: &TimeLimit,
) -> Vec<Counted> {
    let mut counted = Vec::new();
    counted.resize_with(files.len(), || Err(io::ErrorKind::NotFound.into()));
    let helpers = HELPERS.acquire_up_to(files.len().div_ceil(BATCH).saturating_sub(1));
    let batches = Mutex::new(files.chunks(BATCH).zip(counted.chunks_mut(BATCH)));
    let count = || {
        let mut counter = Counter::new(folders, limit);
        loop {
            let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((files, counted)) = batch else { break };
            for (file, counted) in files.iter().zip(counted) {
                *counted = counter.count(file);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..helpers.count() {
            // If the system has no thread to spare, this one counts all files.
            thread::Builder::new().spawn_scoped(scope, count).ok();
        }
        count();
    });
    counted
}

/// Counts the octets of the message in the first `size` bytes of a file, as RETR sends them
/// (RFC 1939 §11).
///
/// # Errors
/// `UnexpectedEof` when the file is shorter, `InvalidData` when it holds no message that can be
/// read, `TimedOut` when it takes longer than the `limit`.
pub(super) fn sizes(
    file: &File,
    size: u64,
    buffer: &mut Vec<u8>,
    limit: &TimeLimit,
) -> io::Result<Sizes> {
    let mut timer = limit.begin();
    buffer.resize(BUFFER, 0);
    let mut counter = OctetCounter::new();
    let mut offset = 0;
    let mut data = Data { file, size, end: 0 };
    while offset < size {
        timer.check(offset)?;
        let start = data.next(offset)?;
        counter.update_zeros(start - offset);
        offset = start;
        let most = usize::try_from(data.end - offset).map_or(BUFFER, |left| left.min(BUFFER));
        let part = buffer.get_mut(..most).unwrap_or_default();
        read_exact_at(file, part, offset)?;
        if offset == 0 {
            match Contents::of(part) {
                Contents::Plain => {}
                Contents::Compressed(format) => {
                    return decompressed(format, duplicate(file)?, size, buffer);
                }
                Contents::Unreadable(why) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
            }
        }
        counter.update(part);
        offset += part.len() as u64;
    }
    Ok(Sizes { physical: size, octets: counter.finish(), form: Form::Plain })
}

/// The stretches of a file that are not holes: reading terabytes of holes would take hours.
struct Data<'a> {
    file: &'a File,
    size: u64,
    /// The end of the stretch that was found last.
    end: u64,
}

impl Data<'_> {
    /// The first byte from `offset` on that is not in a hole; the size if there is none.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter.
    fn next(&mut self, offset: u64) -> io::Result<u64> {
        // Most messages are small and have no holes.
        if self.size <= BUFFER as u64 {
            self.end = self.size;
        }
        if offset < self.end {
            return Ok(offset);
        }
        let start = match seek(self.file, SeekFrom::Data(offset)) {
            Ok(start) => start.min(self.size),
            // A hole up to the end of the file; the file may have been truncated.
            Err(Errno::NXIO) if fstat(self.file)?.st_size.cast_unsigned() < self.size => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Err(Errno::NXIO) => self.size,
            // This file system does not report holes.
            Err(_) => {
                self.end = self.size;
                return Ok(offset);
            }
        };
        let hole = seek(self.file, SeekFrom::Hole(start));
        self.end = hole.ok().filter(|end| *end > start).map_or(self.size, |end| end.min(self.size));
        Ok(start)
    }
}

fn decompressed(format: Format, file: File, size: u64, buffer: &mut [u8]) -> io::Result<Sizes> {
    let mut decoder = Decoder::within(LONGEST, format, file, size);
    let mut counter = OctetCounter::new();
    loop {
        let length = decoder.fill(buffer)?;
        counter.update(buffer.get(..length).unwrap_or_default());
        if length < buffer.len() {
            return Ok(Sizes { physical: size, octets: counter.finish(), form: Form::Compressed });
        }
    }
}

/// Counts one file after the other.
pub(super) struct Counter<'a> {
    folders: &'a Folders<'a>,
    limit: &'a TimeLimit,
    buffer: Vec<u8>,
}

impl<'a> Counter<'a> {
    pub(super) fn new(folders: &'a Folders<'a>, limit: &'a TimeLimit) -> Self {
        Self { folders, limit, buffer: Vec::new() }
    }

    pub(super) fn count(&mut self, file: &Uncounted<'_>) -> Counted {
        match self.count_once(file) {
            // It was truncated while it was read.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.count_once(file),
            counted => counted,
        }
    }

    fn count_once(&mut self, file: &Uncounted<'_>) -> Counted {
        let open = self.folders.open_file(file.folder, file.name)?;
        if !may_be(file.inode, open.inode) {
            return Err(io::ErrorKind::NotFound.into());
        }
        sizes(&open.file, open.size, &mut self.buffer, self.limit).map_err(of_reading)
    }
}

/// Threads that help to count, one for each processor, shared by all logins: other sessions need
/// the processors, too.
static HELPERS: LazyLock<Permits> =
    LazyLock::new(|| Permits::new(thread::available_parallelism().map_or(1, usize::from)));

/// The files that a thread takes at a time: few enough that all threads end together, enough that
/// a small Maildir is counted by one thread.
const BATCH: usize = 256;

const BUFFER: usize = 64 << 10;

/// A message that takes longer to decompress is left out: a small file may expand to terabytes.
/// This is long enough for some ten gigabytes.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn counted(file: &File, size: u64) -> io::Result<u64> {
        sizes(file, size, &mut Vec::new(), &TimeLimit::bounded()).map(|sizes| sizes.octets)
    }

    /// Reading this would take hours. Skipped where the file system does not allow such a size.
    #[test]
    fn holes_are_counted_and_not_read() {
        let file = tempfile::tempfile().unwrap();
        let size = 1 << 43;
        if file.set_len(size).is_err() {
            return;
        }
        assert_eq!(counted(&file, size).unwrap(), size + 2);
        file.write_all_at(b"Subject: a\n", 0).unwrap();
        file.write_all_at(b"b\r\nc\n", 1 << 40).unwrap();
        file.write_all_at(b"\n", size - 1).unwrap();
        assert_eq!(counted(&file, size).unwrap(), size + 3);
        file.set_len(size / 2).unwrap();
        assert_eq!(counted(&file, size).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn holes_count_as_what_they_read_as() {
        let mut file = tempfile::tempfile().unwrap();
        let mut contents = vec![0; 1 << 20];
        for (at, text) in [(0, &b"a\nb\r"[..]), (300_000, b"\nc\n"), (700_001, b"\r\n\n")] {
            contents[at..at + text.len()].copy_from_slice(text);
            file.write_all_at(text, at as u64).unwrap();
        }
        file.set_len(1 << 20).unwrap();
        let mut whole = tempfile::tempfile().unwrap();
        whole.write_all(&contents).unwrap();
        let expected = counted(&whole, 1 << 20).unwrap();
        assert_eq!(counted(&file, 1 << 20).unwrap(), expected);
        assert_eq!(expected, (1 << 20) + 4 + 2);
        file.write_all(b"a\nb").unwrap();
        assert_eq!(counted(&file, 4).unwrap(), 4 + 1 + 2);
    }
}
