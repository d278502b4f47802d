//! The listing of a maildrop: compact, because a session keeps it all the time, and byte for byte
//! as in the index. `entry` is the format of one message.

use std::collections::BTreeSet;
use std::ops::Range;
use std::{io, iter};

use super::super::{Failure, Position};
use super::entry::{Entry, IdText, Key, Namesake, Sizes};
use super::folder::Folder;
use super::inode::Inode;
use super::name;
use super::separator::Separator;
use crate::uidl::by_name;

/// Messages in their order.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The entries, and the bytes of the index before and after them.
    bytes: Vec<u8>,
    /// Where each entry begins.
    starts: Vec<u32>,
    /// Where the last one ends.
    end: usize,
    /// The octets of all messages together.
    total_octets: u64,
}

impl Listing {
    /// Parses the entries between `start` and `end`; `None` when one is not valid.
    pub(super) fn parse(bytes: Vec<u8>, start: usize, end: usize) -> Option<Self> {
        let mut rest = bytes.get(start..end)?;
        let mut starts = Vec::with_capacity(rest.len() / LIKELY_BYTES);
        let mut total_octets = 0_u64;
        while !rest.is_empty() {
            starts.push(u32::try_from(end - rest.len()).ok()?);
            let (entry, after) = Entry::split(rest)?;
            if !entry.is_sound() {
                return None;
            }
            total_octets = total_octets.checked_add(entry.sizes.octets)?;
            rest = after;
        }
        starts.shrink_to_fit();
        Some(Self { bytes, starts, end, total_octets })
    }

    /// All entries, in bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        let start = self.starts.first().map_or(self.end, |start| *start as usize);
        self.bytes.get(start..self.end).unwrap_or_default()
    }

    /// A copy without some messages.
    pub(super) fn without(&self, left_out: &BTreeSet<Position>) -> Self {
        let mut rest = Builder::default();
        for at in self.positions().filter(|at| !left_out.contains(at)) {
            // This cannot fail: the copy is not larger.
            rest.append(&self.entry(at)).ok();
        }
        rest.finish()
    }

    /// The number of messages.
    pub(super) fn count(&self) -> u32 {
        // Each has another start, which is a `u32`.
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX)
    }

    /// The octets of all messages together.
    pub(super) fn total_octets(&self) -> u64 {
        self.total_octets
    }

    /// All messages, in their order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.positions().map(|at| self.entry(at))
    }

    /// The messages of each unique name, in the order of these names.
    pub(super) fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let mut rest = (0..self.count()).peekable();
        iter::from_fn(move || {
            let first = rest.next()?;
            let key = self.entry(Position(first)).key();
            let mut end = first + 1;
            while rest.next_if(|at| self.entry(Position(*at)).key() == key).is_some() {
                end += 1;
            }
            Some(Group { key, positions: first..end })
        })
    }

    fn positions(&self) -> impl Iterator<Item = Position> {
        (0..self.count()).map(Position)
    }

    /// A message.
    #[expect(clippy::expect_used, reason = "all entries have been parsed before")]
    #[expect(clippy::indexing_slicing, reason = "callers promise a position of this listing")]
    pub(super) fn entry(&self, at: Position) -> Entry<'_> {
        let bytes = self.bytes.get(self.starts[at.0 as usize] as usize..self.end);
        bytes.and_then(Entry::split).expect("an entry").0
    }

    /// The memory that this takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<u32>()
    }
}

/// The messages of one unique name.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    pub(super) key: Key<'a>,
    positions: Range<u32>,
}

impl Group<'_> {
    /// Their positions.
    pub(super) fn positions(&self) -> impl ExactSizeIterator<Item = Position> + Clone + use<> {
        self.positions.clone().map(Position)
    }
}

/// Builds a [`Listing`] from its messages in their order.
#[derive(Debug, Default)]
pub(super) struct Builder {
    separator: Separator,
    bytes: Vec<u8>,
    starts: Vec<u32>,
    total_octets: u64,
}

impl Builder {
    /// A builder for file names with this separator.
    pub(super) fn new(separator: Separator) -> Self {
        Self { separator, ..Self::default() }
    }

    /// Adds the next message.
    ///
    /// # Errors
    /// When there are more messages than a listing can hold.
    pub(super) fn push(
        &mut self,
        (folder, name): (Folder, &[u8]),
        inode: Option<Inode>,
        namesake: Namesake,
        sizes: Sizes,
    ) -> Result<(), Failure> {
        let unique = name::unique(name, self.separator);
        let hash;
        let id = match namesake {
            Namesake::Later => {
                // A unique name has no slash, so this is never the hash of one.
                let number = Inode::number(inode).to_be_bytes();
                hash = by_name::hash(&[unique, b"/", &number].concat());
                IdText::Hash(&hash)
            }
            _ if by_name::is_unique_id(unique) => IdText::Name,
            Namesake::None | Namesake::Itself | Namesake::First => {
                hash = by_name::hash(unique);
                IdText::Hash(&hash)
            }
        };
        let unique = unique.len();
        self.append(&Entry { folder, name, inode, namesake, sizes, unique, id })
    }

    /// Whether no message has been added.
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The listing.
    pub(super) fn finish(self) -> Listing {
        let Self { mut bytes, mut starts, total_octets, .. } = self;
        bytes.shrink_to_fit();
        starts.shrink_to_fit();
        let end = bytes.len();
        Listing { bytes, starts, end, total_octets }
    }

    fn append(&mut self, entry: &Entry<'_>) -> Result<(), Failure> {
        let too_much = |what: &str| Failure::new("list the messages", io::Error::other(what));
        let start = u32::try_from(self.bytes.len())
            .map_err(|_| too_much("more messages than a listing can hold"))?;
        self.total_octets = self
            .total_octets
            .checked_add(entry.sizes.octets)
            .ok_or_else(|| too_much("more octets than can be counted"))?;
        self.starts.push(start);
        entry.append_to(&mut self.bytes);
        Ok(())
    }
}

/// A likely lower bound of the size of an entry, to allocate memory once.
const LIKELY_BYTES: usize = 24;

#[cfg(test)]
mod tests;
