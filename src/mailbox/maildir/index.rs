//! `restante.index`: the sizes of the messages, so that a second login opens none of them.
//!
//! A cache and no more. It is read whole or not at all: a file that is not exactly as it was
//! written counts as absent, and then sizes are counted anew. Integers are little-endian.
//!
//! ```abnf
//! file    = magic count *message checksum
//! magic   = "restante index 1"
//! count   = 8OCTET                        ; how many messages follow
//! message = physical octets length key
//! physical = 8OCTET                       ; bytes of the file
//! octets  = 8OCTET                        ; as RETR sends them
//! length  = 2OCTET                        ; of the key
//! key     = *OCTET                        ; unique name, or path if that is not unique
//! checksum = 4OCTET                       ; CRC-32 of everything before
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::iter::Peekable;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::listing::{Key, Listing, Sizes};
use super::lock::Root;
use super::seen::Seen;

/// The sizes that an earlier session left, in the order of its listing.
#[derive(Debug, Default)]
pub(super) struct Index {
    messages: Vec<u8>,
}

impl Index {
    /// Reads the index of a Maildir that has about `expected` messages; without a sound one, or
    /// with one that is far too big, it is empty.
    pub(super) fn read(root: &Root, expected: usize) -> Self {
        let path = root.path().display();
        match read(root, expected) {
            Ok(Some(bytes)) => Self::parse(bytes).unwrap_or_else(|| {
                tracing::warn!(%path, "the index is damaged and not used");
                Self::default()
            }),
            Ok(None) => Self::default(),
            Err(error) => {
                tracing::warn!(%path, %error, "the index cannot be read");
                Self::default()
            }
        }
    }

    /// Starts to look sizes up, in the order of the listing.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor { messages: self.messages().peekable(), passed_over: false }
    }

    /// Whether it knows a message that was not seen.
    pub(super) fn knows_more_than(&self, seen: &Seen) -> bool {
        let mut keys = seen.keys().peekable();
        self.messages().any(|(known, _)| {
            while keys.next_if(|seen| seen.unique() < known.unique()).is_some() {}
            keys.peek().is_none_or(|seen| seen.unique() != known.unique())
        })
    }

    fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (count, messages) = content.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let mut rest = messages;
        let mut found = 0_u64;
        while !rest.is_empty() {
            (_, rest) = split(rest)?;
            found += 1;
        }
        if found != u64::from_le_bytes(*count) {
            return None;
        }
        bytes.truncate(bytes.len() - 4);
        bytes.drain(..MAGIC.len() + 8);
        Some(Self { messages: bytes })
    }

    fn messages(&self) -> Messages<'_> {
        Messages { rest: &self.messages }
    }
}

/// Looks sizes up in the order of the listing.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    messages: Peekable<Messages<'a>>,
    passed_over: bool,
}

impl Cursor<'_> {
    /// The sizes of a message; keys must come in their order.
    pub(super) fn find(&mut self, key: &Key<'_>) -> Option<Sizes> {
        while self.messages.next_if(|(known, _)| known < key).is_some() {
            self.passed_over = true;
        }
        self.messages.next_if(|(known, _)| known == key).map(|(_, sizes)| sizes)
    }

    /// Whether the index had messages that nobody asked for.
    pub(super) fn has_more(mut self) -> bool {
        self.passed_over || self.messages.next().is_some()
    }
}

/// Writes the index of a Maildir anew, with those messages of the listing that `keep` says.
///
/// Readers see the old one or the new one. Nothing is synced: what a crash leaves of it fails the
/// checksum.
pub(super) fn write(root: &Root, listing: &Listing, keep: impl Fn(u32) -> bool) -> io::Result<()> {
    // The lock is ours, so nobody else uses this name; a crash leaves at most one such file. It is
    // made anew, because a file that is there may have another name elsewhere.
    match unlinkat(root.directory(), NEW_FILE, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(root.directory(), NEW_FILE, flags, Mode::RUSR | Mode::WUSR)?;
    let written = write_to(File::from(file), listing, keep)
        .and_then(|()| Ok(renameat(root.directory(), NEW_FILE, root.directory(), INDEX_FILE)?));
    if written.is_err() {
        // A full disk is not to keep half a cache; if even this fails, nothing is lost.
        unlinkat(root.directory(), NEW_FILE, AtFlags::empty()).ok();
    }
    written
}

fn write_to(file: File, listing: &Listing, keep: impl Fn(u32) -> bool) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(64 << 10, Checksummed::new(file));
    let kept = || (0..listing.count()).filter(|at| keep(*at));
    output.write_all(MAGIC)?;
    output.write_all(&(kept().count() as u64).to_le_bytes())?;
    for at in kept() {
        let Sizes { physical, octets } = listing.sizes(at);
        let key = listing.key(at).to_bytes();
        let length = u16::try_from(key.len()).map_err(io::Error::other)?;
        output.write_all(&physical.to_le_bytes())?;
        output.write_all(&octets.to_le_bytes())?;
        output.write_all(&length.to_le_bytes())?;
        output.write_all(&key)?;
    }
    let Checksummed { mut file, checksum } =
        output.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.write_all(&checksum.finalize().to_le_bytes())
}

fn read(root: &Root, expected: usize) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(root.directory(), INDEX_FILE, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > most_bytes(expected) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "far too big for its messages"));
    }
    let mut bytes = Vec::with_capacity(size);
    File::from(file).take(size as u64).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// More than an index of so many messages has, even after a great part of them was removed.
fn most_bytes(expected: usize) -> usize {
    expected.saturating_mul(2).saturating_add(10_000).saturating_mul(MOST_BYTES_A_MESSAGE)
}

/// The messages of an index, as long as they are sound.
#[derive(Clone, Debug)]
struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = (Key<'a>, Sizes);

    fn next(&mut self) -> Option<Self::Item> {
        let (message, rest) = split(self.rest)?;
        self.rest = rest;
        Some(message)
    }
}

/// Takes the first message off, if it is sound.
fn split(bytes: &[u8]) -> Option<((Key<'_>, Sizes), &[u8])> {
    let (physical, rest) = bytes.split_first_chunk::<8>()?;
    let (octets, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let physical = u64::from_le_bytes(*physical);
    let octets = u64::from_le_bytes(*octets);
    // At most every byte is a line feed, or the last line end is missing.
    let possible = physical..=physical.saturating_mul(2).saturating_add(1);
    possible.contains(&octets).then(|| ((Key::from_bytes(key), Sizes { physical, octets }), rest))
}

/// A file that what is written to it is checksummed on the way.
#[derive(Debug)]
struct Checksummed {
    file: File,
    checksum: crc32fast::Hasher,
}

impl Checksummed {
    fn new(file: File) -> Self {
        Self { file, checksum: crc32fast::Hasher::new() }
    }
}

impl Write for Checksummed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.checksum.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

const INDEX_FILE: &str = "restante.index";
const NEW_FILE: &str = "restante.index.new";
const MAGIC: &[u8; 16] = b"restante index 1";

/// Sizes, length, and the path of the longest file name that Linux allows.
const MOST_BYTES_A_MESSAGE: usize = 18 + 4 + 255;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::folder::Folder;
    use super::super::listing::Builder;
    use super::super::lock::Attempt;
    use super::super::scan::Namesake;
    use super::*;

    fn root(path: &Path) -> Root {
        match Root::try_lock(path).unwrap() {
            Attempt::Locked(root) => root,
            Attempt::InUse(_) => panic!("in use"),
        }
    }

    fn listing(messages: &[(&str, u64)]) -> Listing {
        let mut builder = Builder::default();
        for &(name, physical) in messages {
            let sizes = Sizes { physical, octets: physical + 1 };
            builder.push((Folder::New, name.as_bytes()), Namesake::None, sizes).unwrap();
        }
        builder.finish()
    }

    /// The bytes of an index.
    fn written(messages: &[(&str, u64)]) -> Vec<u8> {
        let maildir = tempfile::tempdir().unwrap();
        write(&root(maildir.path()), &listing(messages), |_| true).unwrap();
        fs::read(maildir.path().join(INDEX_FILE)).unwrap()
    }

    fn key(name: &str) -> Key<'_> {
        Key::new(Folder::Cur, name.as_bytes(), Namesake::None)
    }

    #[test]
    fn what_was_written_is_found_in_order() {
        let maildir = tempfile::tempdir().unwrap();
        let root = root(maildir.path());
        let listing = listing(&[("1.a", 10), ("2.b", 20), ("3.c", 1 << 40), ("odd", 0)]);
        write(&root, &listing, |at| at != 1).unwrap();
        let index = Index::read(&root, 4);
        let mut cursor = index.cursor();
        let mut find = |name| cursor.find(&key(name)).map(|sizes| sizes.physical);
        assert_eq!(find("0.before"), None);
        assert_eq!(find("1.a:2,S"), Some(10));
        assert_eq!(find("1.a"), None, "found only once");
        assert_eq!(find("2.b"), None);
        assert_eq!(find("3.c,S=5"), Some(1 << 40));
        assert_eq!(find("odd"), Some(0));
        assert!(!cursor.has_more());
        let mut cursor = index.cursor();
        assert_eq!(cursor.find(&key("3.c")).map(|sizes| sizes.octets), Some((1 << 40) + 1));
        assert!(cursor.has_more(), "1.a was passed over");
    }

    #[test]
    fn sizes_that_cannot_be_make_an_index_unsound() {
        let maildir = tempfile::tempdir().unwrap();
        let root = root(maildir.path());
        for (octets, sound) in [(9, false), (10, true), (21, true), (22, false)] {
            let mut builder = Builder::default();
            let sizes = Sizes { physical: 10, octets };
            builder.push((Folder::New, b"1.a"), Namesake::None, sizes).unwrap();
            write(&root, &builder.finish(), |_| true).unwrap();
            let index = Index::read(&root, 1);
            assert_eq!(index.cursor().find(&key("1.a")).is_some(), sound, "{octets}");
        }
    }

    /// Every error of one byte is noticed, wherever it is.
    #[test]
    fn one_wrong_byte_makes_an_index_unsound() {
        let bytes = written(&[("1.a", 10), ("2.b", 20)]);
        assert!(Index::parse(bytes.clone()).is_some());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(Index::parse(damaged).is_none(), "bit {bit} of byte {at}");
            }
            assert!(Index::parse(bytes[..at].to_vec()).is_none(), "cut after {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Index::parse(bytes).is_none());
        }

        /// Even with the right checksum: whatever it says, reading it ends and finds no nonsense.
        #[test]
        fn any_content_can_be_read(
            content in proptest::collection::vec(any::<u8>(), 0..300),
            splices in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
            valid in any::<bool>(),
        ) {
            let mut bytes = if valid {
                let mut bytes = written(&[("1.a", 10), ("2.b", 20), ("3.c", 30)]);
                bytes.truncate(bytes.len() - 4);
                bytes
            } else {
                [&MAGIC[..], &(content.len() as u64 / 20).to_le_bytes(), &content].concat()
            };
            for (at, byte) in splices {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            let checksum = crc32fast::hash(&bytes).to_le_bytes();
            bytes.extend_from_slice(&checksum);
            let index = Index::parse(bytes).unwrap_or_default();
            let mut cursor = index.cursor();
            for name in ["1.a", "2.b", "3.c", "4.d"] {
                if let Some(sizes) = cursor.find(&key(name)) {
                    prop_assert!(sizes.octets >= sizes.physical);
                }
            }
        }
    }
}
