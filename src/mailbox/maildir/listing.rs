//! The listing of a maildrop: compact, because a session keeps it all the time, and byte for byte
//! as in the index. `entry` is the format of one message.

use std::collections::BTreeSet;
use std::io;

use super::super::{Failure, Position};
use super::entry::{Entry, IdText, Namesake, Sizes};
use super::folder::Folder;
use super::inode::Inode;
use super::name;
use super::separator::Separator;

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
                hash = name::hash(&[unique, b"/", &number].concat());
                IdText::Hash(&hash)
            }
            _ if name::is_unique_id(unique) => IdText::Name,
            Namesake::None | Namesake::Itself | Namesake::First => {
                hash = name::hash(unique);
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
mod tests {
    use std::collections::HashSet;

    use super::super::entry::Form;
    use super::super::name::HASH_LENGTH;
    use super::*;

    const SIZES: Sizes = Sizes { physical: 100, octets: 104, form: Form::Plain };

    /// The same listing from its bytes, with something before and after them.
    fn parsed(listing: &Listing) -> Option<Listing> {
        let bytes = [b"before", listing.as_bytes(), b"after"].concat();
        let end = bytes.len() - 5;
        Listing::parse(bytes, 6, end)
    }

    #[test]
    fn a_message_takes_at_most_64_bytes() {
        let mut builder = Builder::default();
        for message in 0..10_000_u32 {
            let name = format!("17000{message:05}.Vfd00I1a2b3cM393923.mail:2,S");
            let place = (Folder::Cur, name.as_bytes());
            let inode = Inode::new(u64::from(12_000_000 + message));
            builder.push(place, inode, Namesake::None, SIZES).unwrap();
        }
        let listing = builder.finish();
        assert!(listing.memory() <= 64 * 10_000, "{}", listing.memory());
        let memory = parsed(&listing).unwrap().memory();
        assert!(memory <= 64 * 10_000, "{memory}");
    }

    #[test]
    fn octets_are_added_up_and_never_beyond_what_can_be_counted() {
        let huge = Sizes { physical: 1, octets: u64::MAX >> 1, form: Form::Compressed };
        let mut builder = Builder::default();
        for (name, sizes) in [(b"1.a", SIZES), (b"2.b", huge)] {
            builder.push((Folder::Cur, name), None, Namesake::None, sizes).unwrap();
        }
        let listing = builder.finish();
        assert_eq!(listing.total_octets(), 104 + (u64::MAX >> 1));
        assert_eq!(parsed(&listing).unwrap().total_octets(), listing.total_octets());
        assert_eq!(listing.without(&BTreeSet::from([1].map(Position))).total_octets(), 104);
        let mut builder = Builder::default();
        builder.push((Folder::Cur, b"1.a"), None, Namesake::None, huge).unwrap();
        builder.push((Folder::Cur, b"2.b"), None, Namesake::None, huge).unwrap();
        let one_more =
            builder.push((Folder::Cur, b"3.c"), None, Namesake::None, SIZES).unwrap_err();
        assert_eq!(one_more.to_string(), "list the messages: more octets than can be counted");
        // As only a forged index can have it.
        let twice = [listing.as_bytes(); 3].concat();
        let end = twice.len();
        assert!(Listing::parse(twice, 0, end).is_none());
    }

    #[test]
    fn rows_give_back_what_was_put_in() {
        let long = format!("5.{}:2,S", "x".repeat(80));
        let names: [(Folder, &[u8]); 5] = [
            (Folder::Cur, b"1.a,S=3:2,S"),
            (Folder::New, b"2.b"),
            (Folder::New, b"3.\xff c"),
            (Folder::Cur, long.as_bytes()),
            (Folder::Cur, b":2,"),
        ];
        let mut builder = Builder::default();
        for place in names {
            builder.push(place, None, Namesake::None, SIZES).unwrap();
        }
        let listing = builder.finish();
        assert_eq!(listing.count(), 5);
        for (at, place) in (0..).zip(names) {
            let entry = listing.entry(Position(at));
            assert_eq!((entry.folder, entry.name), place);
            assert_eq!(entry.sizes, SIZES);
            assert_eq!(entry.telling_inode(), None);
        }
        let ids =
            (0..5).map(|at| listing.entry(Position(at)).unique_id().as_str()).collect::<Vec<_>>();
        assert_eq!(ids[0], "1.a");
        assert_eq!(ids[1], "2.b");
        assert_eq!(ids[3].as_bytes(), name::hash(&long.as_bytes()[..82]));
        assert!(ids[2..].iter().all(|id| id.len() == HASH_LENGTH));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 5);
    }

    #[test]
    fn a_name_that_is_the_hash_of_another_gets_a_hash_of_its_own() {
        let hash = name::hash(b"a b");
        let mut builder = Builder::default();
        for name in [&b"a b"[..], &hash] {
            builder.push((Folder::New, name), None, Namesake::None, SIZES).unwrap();
        }
        let listing = builder.finish();
        assert_eq!(listing.entry(Position(0)).unique_id().as_str().as_bytes(), hash);
        assert_eq!(listing.entry(Position(1)).unique_id().as_str().as_bytes(), name::hash(&hash));
    }

    #[test]
    fn bytes_give_the_listing_back() {
        let long = [b'x'; 255];
        let mut builder = Builder::default();
        for (physical, added, name, inode, namesake) in [
            (0, 0, &b"1.a"[..], 0, Namesake::None),
            (127, 1, b"2.b:2,S", 1, Namesake::Itself),
            (128, 128, b"2.b c:2,", 1 << 63, Namesake::First),
            (1 << 62, 1 << 61, b"2.b c", u64::MAX, Namesake::Later),
            (16_383, 16_384, &long, 1 << 62, Namesake::None),
        ] {
            let sizes = Sizes { physical, octets: physical + added, form: Form::Plain };
            builder.push((Folder::New, name), Inode::new(inode), namesake, sizes).unwrap();
        }
        let listing = builder.finish();
        let parsed = parsed(&listing).unwrap();
        assert!(parsed.entries().eq(listing.entries()));
        assert_eq!(parsed.as_bytes(), listing.as_bytes());
        let rest = parsed.without(&BTreeSet::from([0, 3].map(Position)));
        let kept = [1, 2, 4].map(|at| listing.entry(Position(at)));
        assert!(rest.entries().eq(kept));
        assert_eq!(Builder::default().finish().as_bytes(), b"");
    }

    /// Names in an index are opened and removed, and somebody else may have written it.
    #[test]
    fn a_name_that_leads_elsewhere_is_not_taken_in() {
        for (name, sound) in [
            ("1.a", true),
            ("..", false),
            (".hidden", false),
            ("../../other/cur/1.a", false),
            ("a/b", false),
            ("/etc/passwd", false),
            ("a\0b", false),
            ("a\nb", false),
            ("", false),
            (&"x".repeat(255), true),
            (&"x".repeat(256), false),
        ] {
            let mut builder = Builder::default();
            let place = (Folder::Cur, name.as_bytes());
            builder.push(place, None, Namesake::None, SIZES).unwrap();
            assert_eq!(parsed(&builder.finish()).is_some(), sound, "{name:?}");
        }
    }
}
