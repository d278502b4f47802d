//! The listing of a maildrop, as compactly as it can be kept for a whole session.

use std::collections::BTreeMap;
use std::io;

use super::super::Failure;
use super::folder::{FileId, Folder};
use super::name::{self, HASH_LENGTH};
use super::scan::Namesake;
use crate::protocol::UniqueId;

/// Messages in their order, with unique-ids and octets; names are in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    rows: Box<[Row]>,
    /// For each row: a byte for the folder, the file name, and the hash if that is the unique-id.
    names: Box<[u8]>,
    namesakes: BTreeMap<u32, Namesake>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    sizes: Sizes,
    at: u32,
    name: u16,
    /// How much of the name is the unique-id; 0 when a hash is.
    unique_id: u16,
}

/// How big a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes in the file.
    pub(super) physical: u64,
    /// Octets as RETR sends them.
    pub(super) octets: u64,
}

impl Listing {
    /// How many messages there are.
    pub(super) fn count(&self) -> u32 {
        // The builder takes no more than that.
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// The unique-id of a message.
    #[expect(clippy::expect_used, reason = "the builder puts nothing else there")]
    pub(super) fn unique_id(&self, at: u32) -> UniqueId<'_> {
        let row = self.row(at);
        let (start, length) = match row.unique_id {
            0 => (usize::from(row.name), HASH_LENGTH),
            length => (0, usize::from(length)),
        };
        let text = self.stored(row).get(start..start + length).unwrap_or_default();
        UniqueId::try_from(text).expect("a checked name or a hash")
    }

    /// How big a message is.
    pub(super) fn sizes(&self, at: u32) -> Sizes {
        self.row(at).sizes
    }

    /// The folder and the name that the file of a message had.
    pub(super) fn place(&self, at: u32) -> (Folder, &[u8]) {
        let row = self.row(at);
        let name = self.stored(row).get(..usize::from(row.name)).unwrap_or_default();
        (self.folder(row), name)
    }

    /// The identity of the file, where its unique name alone does not tell.
    pub(super) fn id(&self, at: u32) -> Option<FileId> {
        self.namesakes.get(&at).and_then(|namesake| namesake.id())
    }

    /// What the index keeps the sizes of a message by.
    pub(super) fn key(&self, at: u32) -> Key<'_> {
        let (folder, name) = self.place(at);
        Key::new(folder, name, self.namesakes.get(&at).copied().unwrap_or(Namesake::None))
    }

    /// The bytes of memory that this takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.rows) + self.names.len() + self.namesakes.len() * 64
    }

    #[expect(clippy::indexing_slicing, reason = "callers promise a position of this listing")]
    fn row(&self, at: u32) -> &Row {
        &self.rows[at as usize]
    }

    fn folder(&self, row: &Row) -> Folder {
        let cur = self.names.get(row.at as usize) == Some(&(Folder::Cur as u8));
        if cur { Folder::Cur } else { Folder::New }
    }

    /// The name of a row, and what follows it.
    fn stored(&self, row: &Row) -> &[u8] {
        self.names.get(row.at as usize + 1..).unwrap_or_default()
    }
}

/// Builds a [`Listing`] from its messages in their order.
#[derive(Debug, Default)]
pub(super) struct Builder {
    rows: Vec<Row>,
    names: Vec<u8>,
    namesakes: BTreeMap<u32, Namesake>,
}

impl Builder {
    /// Adds the next message.
    ///
    /// # Errors
    /// When there are more than a listing can hold: nothing is left out in silence.
    pub(super) fn push(
        &mut self,
        (folder, file_name): (Folder, &[u8]),
        namesake: Namesake,
        sizes: Sizes,
    ) -> Result<(), Failure> {
        let too_many = || {
            let error = io::Error::other("more messages than a listing can hold");
            Failure::new("list the messages", error)
        };
        let position = u32::try_from(self.rows.len()).map_err(|_| too_many())?;
        let at = u32::try_from(self.names.len()).map_err(|_| too_many())?;
        let name = u16::try_from(file_name.len()).map_err(|_| too_many())?;
        self.names.push(folder as u8);
        self.names.extend_from_slice(file_name);
        let unique = name::unique(file_name);
        let unique_id = match namesake {
            Namesake::Later(id) => {
                // No unique name has a slash, so it is not the hash of one.
                let told_apart = [unique, b"/", &id.to_bytes()].concat();
                self.names.extend_from_slice(&name::hash(&told_apart));
                0
            }
            Namesake::None | Namesake::Itself(_) | Namesake::First(_) => {
                if name::is_unique_id(unique) {
                    u16::try_from(unique.len()).map_err(|_| too_many())?
                } else {
                    self.names.extend_from_slice(&name::hash(unique));
                    0
                }
            }
        };
        if namesake.id().is_some() {
            self.namesakes.insert(position, namesake);
        }
        self.rows.push(Row { sizes, at, name, unique_id });
        Ok(())
    }

    /// Whether no message has been added.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The listing.
    pub(super) fn finish(self) -> Listing {
        Listing {
            rows: self.rows.into_boxed_slice(),
            names: self.names.into_boxed_slice(),
            namesakes: self.namesakes,
        }
    }
}

/// What tells a message from all others of its Maildir, whatever flags it gets.
///
/// Ordered as the listing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    number: u64,
    unique: &'a [u8],
    /// Where the file is, when others share the unique name.
    place: Option<(Folder, &'a [u8])>,
}

impl<'a> Key<'a> {
    /// The key of a file.
    pub(super) fn new(folder: Folder, file_name: &'a [u8], namesake: Namesake) -> Self {
        let unique = name::unique(file_name);
        let place = match namesake {
            Namesake::None | Namesake::Itself(_) => None,
            Namesake::First(_) | Namesake::Later(_) => Some((folder, file_name)),
        };
        Self { number: name::number(unique), unique, place }
    }

    /// Reads a key that was written by [`to_bytes`](Self::to_bytes).
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Self {
        for folder in Folder::READING_ORDER {
            let rest = bytes.strip_prefix(folder.name().as_bytes());
            if let Some(file_name) = rest.and_then(|rest| rest.strip_prefix(b"/")) {
                let unique = name::unique(file_name);
                let place = Some((folder, file_name));
                return Self { number: name::number(unique), unique, place };
            }
        }
        Self { number: name::number(bytes), unique: bytes, place: None }
    }

    /// The unique name, or the path from the Maildir; no unique name has a slash.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        match self.place {
            Some((folder, file_name)) => path(folder, file_name),
            None => self.unique.to_vec(),
        }
    }

    /// The unique name with its place in the order.
    pub(super) fn unique(self) -> (u64, &'a [u8]) {
        (self.number, self.unique)
    }
}

fn path(folder: Folder, file_name: &[u8]) -> Vec<u8> {
    [folder.name().as_bytes(), b"/", file_name].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SIZES: Sizes = Sizes { physical: 100, octets: 104 };

    #[test]
    fn a_message_takes_at_most_64_bytes() {
        let mut builder = Builder::default();
        for message in 0..10_000_u32 {
            let name = format!("17000{message:05}.Vfd00I1a2b3cM393923.mail:2,S");
            builder.push((Folder::Cur, name.as_bytes()), Namesake::None, SIZES).unwrap();
        }
        let listing = builder.finish();
        assert!(listing.memory() <= 64 * 10_000, "{}", listing.memory());
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
            builder.push(place, Namesake::None, SIZES).unwrap();
        }
        let listing = builder.finish();
        assert_eq!(listing.count(), 5);
        for (at, place) in (0..).zip(names) {
            assert_eq!(listing.place(at), place);
            assert_eq!(listing.sizes(at), SIZES);
            assert_eq!(listing.id(at), None);
        }
        let ids = (0..5).map(|at| listing.unique_id(at).as_str()).collect::<Vec<_>>();
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
            builder.push((Folder::New, name), Namesake::None, SIZES).unwrap();
        }
        let listing = builder.finish();
        assert_eq!(listing.unique_id(0).as_str().as_bytes(), hash);
        assert_eq!(listing.unique_id(1).as_str().as_bytes(), name::hash(&hash));
    }

    #[test]
    fn keys_survive_being_written() {
        for (name, namesake) in [
            (&b"17.x:2,S"[..], false),
            (b"17.x:2,S", true),
            (b"cur", false),
            (b"new", true),
            (b"", false),
            (b":2,", true),
        ] {
            let mut key = Key::new(Folder::Cur, name, Namesake::None);
            if namesake {
                key.place = Some((Folder::Cur, name));
            }
            assert_eq!(Key::from_bytes(&key.to_bytes()), key, "{}", name.escape_ascii());
        }
    }
}
