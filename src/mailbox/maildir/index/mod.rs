//! `restante.index`: the last listing. With it a login counts only new messages, and reads no
//! directory that has not changed.
//!
//! The index is a cache. A file that another user has made, or that is not exactly as it was
//! written, counts as absent; then the listing is made from the messages. Integers are
//! little-endian.
//!
//! ```abnf
//! file     = magic basis count [mark] *entry checksum
//! magic    = "restante index" separator version
//! separator = " " / ";" / "!" / "_" ; before the flags in the names; a space for ":"
//! version  = "5" / "7"             ; with a mark, it is 7; the mark of 6 had no checksum
//! basis    = 56OCTET               ; of the listing, see `stamp`; zeros for none
//! count    = 8OCTET                ; how many entries follow; see `entry`
//! mark     = 24OCTET               ; of `restante.uids`, see `uids`; nothing without that file
//! checksum = 4OCTET                ; CRC-32 of everything before
//! ```

use std::collections::BTreeSet;
use std::io::{self, BufWriter, IoSliceMut, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{OFlags, Stat};
use rustix::io::ReadWriteFlags;

use super::super::Position;
use super::entry::{Entry, FEWEST_BYTES, Key, MOST_BYTES};
use super::listing::Listing;
use super::lock::Root;
use super::own_file;
use super::separator::Separator;
use super::sightings::Sightings;
use super::stamp::{Basis, Moment};
use super::system::{Output, preadv2, read_exact_at};
use super::uids::{MARK_WORDS, Mark};
use super::wait::Wait;

/// The index that an earlier session wrote; empty when there is none.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The messages of that session.
    pub(super) listing: Listing,
    /// The basis of the listing, if the folders did not change while it was taken.
    pub(super) basis: Option<Basis>,
    /// What that session knew of `restante.uids`.
    pub(super) state: KnownState,
    /// Whether there is a file that cannot be used, for a Maildir without `restante.uids`: clients
    /// have been shown unique-ids that are made of the file names.
    pub(super) is_lost: bool,
    /// When it was written, by the clock of the file system.
    written: Option<Moment>,
}

/// What an index says about `restante.uids`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum KnownState {
    /// Nothing: there is no index, or none that can be used.
    #[default]
    Unknown,
    /// There was no such file: the unique-ids were made of the file names.
    Absent,
    /// It had this mark.
    Present(Mark),
}

impl Index {
    /// Reads the index of a Maildir. A missing or damaged one is empty.
    pub(super) fn read(root: &Root) -> Self {
        let (path, separator) = (root.path().display(), root.separator());
        match read(root) {
            Ok(Some((bytes, _))) if is_of_another_kind(&bytes, separator) => {
                tracing::debug!(%path, "the index is of another kind and not used");
                Self { is_lost: !has_mark(&bytes), ..Self::default() }
            }
            Ok(Some((bytes, written))) => {
                let is_lost = !has_mark(&bytes);
                Self::parse(bytes, separator).map_or_else(
                    || {
                        tracing::warn!(%path, "the index is damaged and not used");
                        Self { is_lost, ..Self::default() }
                    },
                    |index| Self { written: Some(written), ..index },
                )
            }
            Ok(None) => Self::default(),
            Err(error) => {
                tracing::warn!(%path, %error, "the index cannot be read");
                Self::default()
            }
        }
    }

    /// Reads a small index without waiting; `None` if it is damaged, larger, or not in memory.
    pub(super) fn read_at_once(root: &Root) -> Option<Self> {
        let opened = own_file::open(root, INDEX_FILE, OFlags::RDONLY, Wait::Never);
        let (file, stat) = opened.ok()??;
        let mut bytes = vec![0; size(&stat).filter(|size| *size <= SMALL)?];
        let buffers = &mut [IoSliceMut::new(&mut bytes)];
        let read = preadv2(&file, buffers, 0, ReadWriteFlags::NOWAIT).ok()?;
        (read == bytes.len()).then(|| Self::parse(bytes, root.separator()))?
    }

    /// A time at which the folders had been read: whatever has come since is not older. Mail may come
    /// before the index is written, so that time is only used where no better one is known.
    pub(super) fn listed(&self) -> Option<Moment> {
        self.basis.as_ref().map(Basis::clock).or(self.written)
    }

    /// Starts a look-up of messages in the order of the listing.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor { listing: &self.listing, at: 0 }
    }

    /// Whether it has a message that was not seen.
    pub(super) fn knows_more_than(&self, seen: &Sightings) -> bool {
        let mut keys = seen.keys().peekable();
        self.listing.entries().any(|entry| {
            let known = entry.key();
            while keys.next_if(|seen| *seen < known).is_some() {}
            keys.peek().is_none_or(|seen| *seen != known)
        })
    }

    fn parse(bytes: Vec<u8>, separator: Separator) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>()?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (version, words) = after_name(content, separator)?;
        let mut words = words.chunks_exact(8).map(|word| word.try_into().map(u64::from_le_bytes));
        let mut word = || words.next()?.ok();
        let basis = [word()?, word()?, word()?, word()?, word()?, word()?, word()?];
        let count = word()?;
        let state = match version {
            Version::WithoutMark => KnownState::Absent,
            Version::WithMark => {
                KnownState::Present(Mark::from_words([word()?, word()?, word()?])?)
            }
        };
        let (start, end) = (version.header(), content.len());
        let listing = Listing::parse(bytes, start, end)?;
        let complete = u64::from(listing.count()) == count;
        let basis = Basis::from_words(basis);
        complete.then(|| Self { listing, basis, state, ..Self::default() })
    }
}

/// The two versions that are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    WithoutMark,
    WithMark,
}

impl Version {
    fn digit(self) -> u8 {
        match self {
            Self::WithoutMark => b'5',
            Self::WithMark => b'7',
        }
    }

    /// The octets before the entries.
    fn header(self) -> usize {
        match self {
            Self::WithoutMark => HEADER,
            Self::WithMark => HEADER + 8 * MARK_WORDS,
        }
    }
}

/// Whether it says that there was `restante.uids`. If its head is damaged, it does not.
fn has_mark(bytes: &[u8]) -> bool {
    let version = bytes.strip_prefix(NAME).and_then(|rest| rest.get(1));
    version.is_some_and(|version| VERSIONS_WITH_MARK.contains(version))
}

/// The version of an index for this separator, and the octets after it.
fn after_name(bytes: &[u8], separator: Separator) -> Option<(Version, &[u8])> {
    [Version::WithoutMark, Version::WithMark]
        .into_iter()
        .find_map(|version| Some((version, bytes.strip_prefix(&magic(separator, version))?)))
}

/// Looks messages up in the order of the listing.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    listing: &'a Listing,
    at: u32,
}

impl<'a> Cursor<'a> {
    /// All entries with a unique name. Calls must be in the order of the keys.
    pub(super) fn find(
        &mut self,
        key: &Key<'_>,
    ) -> impl Iterator<Item = Entry<'a>> + Clone + use<'a> {
        self.skip_while(|known| known < *key);
        let start = self.at;
        self.skip_while(|known| known == *key);
        let listing = self.listing;
        (start..self.at).map(|at| listing.entry(Position(at)))
    }

    fn skip_while(&mut self, skip: impl Fn(Key<'_>) -> bool) {
        while self.at < self.listing.count() && skip(self.listing.entry(Position(self.at)).key()) {
            self.at += 1;
        }
    }
}

/// Replaces the index of a Maildir.
///
/// Readers see the old index or the new one. It is not synced: after a crash, a part of it fails
/// the checksum. An index that is too large to be read is not written; the old one is then removed,
/// because it may have entries that are wrong.
pub(super) fn write(
    root: &Root,
    listing: &Listing,
    basis: Option<&Basis>,
    mark: Option<Mark>,
) -> io::Result<()> {
    if size_of(listing) <= LARGEST {
        return own_file::replace(root, INDEX_FILE, NEW_FILE, |file| {
            write_to(file, root.separator(), listing, basis, mark)
        });
    }
    if is_first_time(root.path()) {
        let (path, messages) = (root.path().display(), listing.count());
        tracing::warn!(%path, messages, "too many messages for an index; logins will take longer");
    }
    remove(root)
}

/// Removes the index of a Maildir.
pub(super) fn remove(root: &Root) -> io::Result<()> {
    own_file::remove(root, INDEX_FILE)
}

/// The most octets that the index of a listing can have.
fn size_of(listing: &Listing) -> usize {
    Version::WithMark.header() + listing.as_bytes().len() + CHECKSUM
}

/// Whether this is the first time that this Maildir has too many messages.
fn is_first_time(path: &Path) -> bool {
    static LOGGED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    LOGGED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned())
}

fn write_to(
    file: OwnedFd,
    separator: Separator,
    listing: &Listing,
    basis: Option<&Basis>,
    mark: Option<Mark>,
) -> io::Result<()> {
    let version = if mark.is_some() { Version::WithMark } else { Version::WithoutMark };
    let mut output = BufWriter::new(Output(file));
    let mut checksum = crc32fast::Hasher::new();
    let mut write = |bytes: &[u8]| {
        checksum.update(bytes);
        output.write_all(bytes)
    };
    write(&magic(separator, version))?;
    for word in basis.map_or([0; 7], |basis| basis.to_words()) {
        write(&word.to_le_bytes())?;
    }
    write(&u64::from(listing.count()).to_le_bytes())?;
    for word in mark.into_iter().flat_map(Mark::to_words) {
        write(&word.to_le_bytes())?;
    }
    write(listing.as_bytes())?;
    output.write_all(&checksum.finalize().to_le_bytes())?;
    output.flush()
}

/// Why an index is not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    File(#[from] own_file::Error),
    #[error("far too big for an index")]
    TooBig,
}

fn read(root: &Root) -> Result<Option<(Vec<u8>, Moment)>, ReadError> {
    let opened = own_file::open(root, INDEX_FILE, OFlags::RDONLY, Wait::IfNeedBe)?;
    let Some((file, stat)) = opened else { return Ok(None) };
    let size = size(&stat).ok_or(ReadError::TooBig)?;
    let mut bytes = vec![0; size.min(HEADER)];
    read_exact_at(&file, &mut bytes, 0).map_err(own_file::Error::System)?;
    if fits(&bytes, size, root.separator()) {
        bytes.resize(size, 0);
        let rest = bytes.get_mut(HEADER..).unwrap_or_default();
        read_exact_at(&file, rest, HEADER as u64).map_err(own_file::Error::System)?;
    }
    Ok(Some((bytes, Moment::of_modification(&stat))))
}

/// Whether an index with this header can have this size. If not, the rest is not read.
fn fits(header: &[u8], size: usize, separator: Separator) -> bool {
    let fits = |(version, words): (Version, &[u8])| {
        let count = usize::try_from(u64::from_le_bytes(*words.last_chunk()?)).ok()?;
        let entries = size.checked_sub(version.header() + CHECKSUM)?;
        let fewest = count.saturating_mul(FEWEST_BYTES);
        Some((fewest..=count.saturating_mul(MOST_BYTES)).contains(&entries))
    };
    after_name(header, separator).and_then(fits).unwrap_or_default()
}

/// Whether it was written by another version, or with another separator: then its unique names are
/// not those of now.
fn is_of_another_kind(bytes: &[u8], separator: Separator) -> bool {
    bytes.starts_with(NAME) && after_name(bytes, separator).is_none()
}

fn magic(separator: Separator, version: Version) -> [u8; MAGIC_LENGTH] {
    let mut magic = [version.digit(); MAGIC_LENGTH];
    let (name, rest) = magic.split_at_mut(NAME.len());
    name.copy_from_slice(NAME);
    if let Some(place) = rest.first_mut() {
        *place = if separator == Separator::Colon { b' ' } else { separator.byte() };
    }
    magic
}

/// The size of the file, if an index can have it.
fn size(stat: &Stat) -> Option<usize> {
    usize::try_from(stat.st_size).ok().filter(|size| *size <= LARGEST)
}

const INDEX_FILE: &str = "restante.index";
const NEW_FILE: &str = "restante.index.new";
const NAME: &[u8; 14] = b"restante index";
const VERSIONS_WITH_MARK: [u8; 2] = *b"67";
const MAGIC_LENGTH: usize = NAME.len() + 2;

/// Seven words of the basis, and the count.
const WORDS: usize = 8;

/// The index of about a thousand messages: it is parsed on a worker thread, which must be quick.
const SMALL: usize = 64 << 10;

/// The octets up to the count, which all versions have.
const HEADER: usize = MAGIC_LENGTH + 8 * WORDS;

/// The octets after the entries.
const CHECKSUM: usize = 4;

/// The index of some two million messages (fewer in tests). A larger one is neither read nor
/// written.
const LARGEST: usize = if cfg!(test) { 1 << 20 } else { 128 << 20 };

#[cfg(test)]
mod tests;
