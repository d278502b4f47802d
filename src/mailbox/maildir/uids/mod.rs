//! `restante.uids`: the unique-ids that clients have been shown, for Maildirs whose unique-ids are
//! not made of the file names.
//!
//! Unlike the index, this file is not a cache. A unique-id is written to it and synced before a
//! client sees it. Once shown it never changes, and no other message gets it.
//!
//! ```abnf
//! file       = header 1*batch
//! header     = "restante uids 1" SP generation SP origin LF
//! generation = 1*DIGIT             ; 1, and one more each time that the file is rewritten
//! origin     = name                ; the sources of the unique-ids when the file was made first
//! batch      = *(added / removed) end ; written at once
//! added      = "+" SP id SP name LF   ; a message, in the order of first listing
//! removed    = "-" SP id SP name SP time LF
//! end        = "=" SP count SP checksum LF
//! count      = 1*DIGIT             ; the lines of this batch before its end
//! checksum   = 8HEXDIG             ; CRC-32 of all octets of the file before this line
//! id         = 1*255VCHAR          ; %x21-7E
//! name       = *(%x21-24 / %x26-7E / "%" 2HEXDIG) ; the unique name of the file; if files share
//!                                  ; it, a slash and the inode number follow, but for the first
//! time       = 1*DIGIT             ; when the removal was noticed, in seconds since 1970
//! ```
//!
//! - Whatever follows the last sound end was being written when the server or the machine stopped.
//!   No client was shown it. It is ignored, and cut off before the next batch is appended.
//! - A checksum continues the one before it. So a sound batch after one that is not sound proves
//!   that the file is damaged, and was not merely cut: then it is not used at all.
//! - A removed message is remembered for 90 days. If a file of the same name comes back, it gets
//!   another unique-id, because clients do not fetch one again that they have seen.
//! - When more than half of its lines are of no use any more, the file is rewritten.
//!
//! What the file cannot tell alone:
//! - A file from another Maildir has none of the names that are here. All its messages count as
//!   removed, and those that are here as new; `Reconciled` has both. They get no unique-id that the
//!   file knows. The guard compares the times of the files.
//! - An older copy of the file, say from a backup, is sound. So the index keeps a [`Mark`]: the end
//!   that the last session saw. A later file has that end, with the same checksum; an older copy
//!   does not, even if more has been appended to it elsewhere. A file that has been rewritten has
//!   no earlier ends. Then only its generation is compared.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use super::own_file;
use super::stamp::Moment;

mod file;
mod line;
mod parse;
mod reconcile;
mod text;

use self::file::Found;
pub(super) use self::file::sync_directory;
use self::parse::End;
pub(super) use self::reconcile::Reconciled;

/// The messages that `restante.uids` remembers.
///
/// The default is that of a Maildir without this file.
#[derive(Debug, Default)]
pub(super) struct State {
    generation: u64,
    origin: Vec<u8>,
    /// The unique-ids and names of the records.
    bytes: Vec<u8>,
    /// In the order of first listing.
    records: Vec<Record>,
    /// All records in the order of their unique-ids. A removal follows its message.
    by_id: Vec<u32>,
    /// The present messages in the order of their names.
    by_name: Vec<u32>,
    /// Whether there are names with an inode number.
    has_long_names: bool,
    /// The last sound end; `None` without a file.
    end: Option<End>,
    /// The file as it was read.
    file: Option<Found>,
    /// When the last batch was written, as far as that is known.
    written: Option<Moment>,
    /// Whether it is the file with the mark that it was read with, or a later one.
    continues_last: bool,
}

/// A line about a message.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Where its unique-id and name begin.
    start: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Present,
    /// Removed at this time, in seconds since 1970.
    Removed(NonZeroU32),
    /// It was present, and another record says that it has been removed.
    Superseded,
}

/// A sound end of the file, by which a later session finds out whether it has the same file, or one
/// that continues it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    generation: u64,
    /// The octets up to the end.
    octets: u64,
    /// Their CRC-32.
    checksum: u32,
}

impl Mark {
    fn of(generation: u64, end: &End) -> Self {
        Self { generation, octets: end.octets, checksum: end.checksum }
    }

    /// The mark in words, as the index keeps it.
    pub(super) fn to_words(self) -> [u64; MARK_WORDS] {
        [self.generation, self.octets, self.checksum.into()]
    }

    /// Reads the words of [`to_words`](Self::to_words).
    pub(super) fn from_words([generation, octets, checksum]: [u64; MARK_WORDS]) -> Option<Self> {
        Some(Self { generation, octets, checksum: u32::try_from(checksum).ok()? })
    }
}

/// The words of a mark.
pub(super) const MARK_WORDS: usize = 3;

/// A message that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered<'a> {
    pub(super) id: &'a [u8],
    /// The unique name of its file.
    pub(super) name: &'a [u8],
    /// When the removal was noticed; `None` if it is still there.
    pub(super) removed: Option<SystemTime>,
}

impl State {
    /// Whether there is a file.
    pub(super) fn exists(&self) -> bool {
        self.end.is_some()
    }

    /// Whether files that are present share this unique name, or have shared it.
    pub(super) fn has_long_names_of(&self, unique: &[u8]) -> bool {
        self.has_long_names && {
            let prefix = [unique, b"/"].concat();
            let first = self.by_name.partition_point(|at| *self.name(*at) < *prefix);
            self.by_name.get(first).is_some_and(|at| self.name(*at).starts_with(&prefix))
        }
    }

    /// The mark of the file; without a file, one that no file has.
    pub(super) fn mark(&self) -> Mark {
        self.end.map_or_else(Mark::default, |end| Mark::of(self.generation, &end))
    }

    /// Whether it is the file with the mark that it was read with, or has been written to since.
    pub(super) fn continues_last(&self) -> bool {
        self.continues_last
    }

    /// When the last batch was written; `None` if the file has something else after it.
    pub(super) fn written(&self) -> Option<Moment> {
        self.written
    }

    /// The sources of the unique-ids when the file was made first.
    #[cfg(test)]
    fn origin(&self) -> &[u8] {
        &self.origin
    }

    /// The messages, with the removed ones, in the order of first listing.
    pub(super) fn messages(&self) -> impl Iterator<Item = Remembered<'_>> {
        let listed = self.records.iter().filter(|record| record.kind != Kind::Superseded);
        listed.map(|record| self.remembered(*record))
    }

    /// The message that is present under a unique name.
    pub(super) fn by_name(&self, name: &[u8]) -> Option<Remembered<'_>> {
        Some(self.remembered(self.record(self.present(name)?)))
    }

    /// The place, in the order of first listing, of the message that is present under a unique name.
    pub(super) fn place(&self, name: &[u8]) -> Option<u32> {
        self.present(name)
    }

    /// Finds many messages by their names.
    pub(super) fn search(&self) -> Search<'_> {
        Search { state: self, next: 0 }
    }

    /// The message that has, or had, a unique-id.
    pub(super) fn by_id(&self, id: &[u8]) -> Option<Remembered<'_>> {
        let end = self.by_id.partition_point(|at| self.id(*at) <= id);
        let at = *self.by_id.get(end.checked_sub(1)?)?;
        (self.id(at) == id).then(|| self.remembered(self.record(at)))
    }

    /// The record of the message that is present under a unique name.
    fn present(&self, name: &[u8]) -> Option<u32> {
        self.by_name.get(self.nth_name(name)?).copied()
    }

    /// The index of a name in `by_name`.
    fn nth_name(&self, name: &[u8]) -> Option<usize> {
        self.by_name.binary_search_by(|at| self.name(*at).cmp(name)).ok()
    }

    fn remembered(&self, record: Record) -> Remembered<'_> {
        let (id, name) = self.texts(record.start);
        let removed = match record.kind {
            Kind::Removed(at) => {
                Some(SystemTime::UNIX_EPOCH + Duration::from_secs(at.get().into()))
            }
            Kind::Present | Kind::Superseded => None,
        };
        Remembered { id, name, removed }
    }

    fn id(&self, at: u32) -> &[u8] {
        self.texts(self.record(at).start).0
    }

    fn name(&self, at: u32) -> &[u8] {
        self.texts(self.record(at).start).1
    }

    #[expect(clippy::indexing_slicing, reason = "callers have the position of a record")]
    fn record(&self, at: u32) -> Record {
        self.records[at as usize]
    }

    /// Adds a record at the end, without the look-ups. Returns its position.
    fn push(&mut self, kind: Kind, id: &[u8], name: &[u8]) -> Result<u32, Error> {
        let at = u32::try_from(self.records.len()).map_err(|_| Error::TooLarge)?;
        let start = u32::try_from(self.bytes.len()).map_err(|_| Error::TooLarge)?;
        let lengths = [id.len(), name.len()].map(u16::try_from);
        let [Ok(of_id), Ok(of_name)] = lengths else { return Err(Error::TooLarge) };
        self.bytes.extend_from_slice(&of_id.to_le_bytes());
        self.bytes.extend_from_slice(&of_name.to_le_bytes());
        self.bytes.extend_from_slice(id);
        self.bytes.extend_from_slice(name);
        self.has_long_names |= name.contains(&b'/');
        self.records.push(Record { start, kind });
        Ok(at)
    }

    /// The unique-id and the name that [`push`](Self::push) has written.
    fn texts(&self, start: u32) -> (&[u8], &[u8]) {
        let split = || {
            let (of_id, rest) = self.bytes.get(start as usize..)?.split_first_chunk()?;
            let (of_name, rest) = rest.split_first_chunk()?;
            let (id, rest) = rest.split_at_checked(u16::from_le_bytes(*of_id).into())?;
            Some((id, rest.get(..u16::from_le_bytes(*of_name).into())?))
        };
        split().unwrap_or_default()
    }

    /// The memory that this takes.
    #[cfg(test)]
    fn memory(&self) -> usize {
        let positions = self.by_id.capacity() + self.by_name.capacity();
        self.bytes.capacity()
            + self.records.capacity() * size_of::<Record>()
            + positions * size_of::<u32>()
    }
}

/// A search for messages, which is fastest in the order of their names.
#[derive(Debug)]
pub(super) struct Search<'s> {
    state: &'s State,
    /// The index in `by_name` that follows the message found last.
    next: usize,
}

impl Search<'_> {
    /// Whether a message is present under a unique name.
    pub(super) fn knows(&mut self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }

    /// The record of the message that is present under a unique name.
    fn find(&mut self, name: &[u8]) -> Option<u32> {
        let next = self.state.by_name.get(self.next).copied();
        if let Some(at) = next.filter(|at| self.state.name(*at) == name) {
            self.next += 1;
            return Some(at);
        }
        let nth = self.state.nth_name(name)?;
        self.next = nth + 1;
        self.state.by_name.get(nth).copied()
    }
}

/// Why the unique-ids of a Maildir cannot be read, or those of new messages not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The file cannot be opened, or is not one of the server.
    #[error("cannot open {STATE_FILE}: {0}")]
    Open(#[from] own_file::Error),
    #[error("cannot read {STATE_FILE}: {0}")]
    Read(#[source] std::io::Error),
    /// A later version of the server may have made it.
    #[error("{STATE_FILE} is of a version that this server does not know; update the server")]
    UnknownVersion,
    #[error(
        "{STATE_FILE} is damaged in line {line}; restore it from a backup, or remove it: then the \
         messages get unique-ids from the configured sources again"
    )]
    Damaged {
        /// From 1.
        line: u64,
    },
    /// Two messages in the file have one unique-id, or one name.
    #[error("{STATE_FILE} has {} twice; restore it from a backup", .0.escape_ascii())]
    Doubled(Vec<u8>),
    #[error("{STATE_FILE} has more messages than can be held")]
    TooLarge,
    /// Another program has written to it, or replaced it.
    #[error("{STATE_FILE} has changed since it was read")]
    Changed,
    #[error("cannot write {STATE_FILE}: {0}")]
    Write(#[source] std::io::Error),
}

const STATE_FILE: &str = "restante.uids";

/// How long a removed message is remembered.
const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
