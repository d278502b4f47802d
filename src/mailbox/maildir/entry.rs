//! An entry of a listing: one message in the bytes of a `listing` and of the index.
//!
//! ```abnf
//! entry    = flags unique physical octets inode [hash] length name
//! flags    = OCTET                 ; bit 0: in new; bits 1-2: namesake; bit 3: hash;
//!                                  ; bit 4: compressed
//! unique   = number                ; length of the unique name at the start of the name
//! physical = number                ; bytes of the file
//! octets   = number                ; as RETR sends them; if not compressed, less physical
//! inode    = number                ; of the file; 0 where it is not reliable
//! hash     = 64OCTET               ; the unique-id, where no part of the name can be one
//! length   = number                ; of the name
//! name     = 1*OCTET               ; of the file
//! number   = *%x80-FF %x00-7F      ; seven bits an octet, the lowest first (LEB128)
//! ```

use memchr::memchr3;

use super::folder::Folder;
use super::inode::Inode;
use super::name;
use crate::protocol::UniqueId;
use crate::uidl::by_name::{self, HASH_LENGTH};

/// A message of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The folder of its file, when it was listed.
    pub(super) folder: Folder,
    /// The name of its file, when it was listed.
    pub(super) name: &'a [u8],
    /// The inode of its file; `None` where inode numbers are not reliable.
    pub(super) inode: Option<Inode>,
    /// Whether other files have its unique name.
    pub(super) namesake: Namesake,
    /// Its size in the file, and as RETR sends it.
    pub(super) sizes: Sizes,
    /// The length of the unique name at the start of the name.
    pub(super) unique: usize,
    /// The unique-id.
    pub(super) id: IdText<'a>,
}

/// The characters of a unique-id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdText<'a> {
    /// The unique name.
    Name,
    /// A hash, where the unique name cannot be a unique-id.
    Hash(&'a [u8; HASH_LENGTH]),
}

impl<'a> Entry<'a> {
    /// The unique-id.
    #[expect(clippy::expect_used, reason = "an entry that is not sound is not taken in")]
    pub(super) fn unique_id(&self) -> UniqueId<'a> {
        self.id_text().and_then(|text| UniqueId::try_from(text).ok()).expect("a sound entry")
    }

    /// The unique name of the file.
    pub(super) fn unique_name(&self) -> &'a [u8] {
        self.name.get(..self.unique).unwrap_or_default()
    }

    /// The inode, where the unique name alone does not identify the file.
    pub(super) fn telling_inode(&self) -> Option<Inode> {
        self.inode.filter(|_| self.namesake != Namesake::None)
    }

    /// Whether other files have, or had, the same unique name.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.namesake, Namesake::First | Namesake::Later)
    }

    /// The key by which listings are sorted.
    pub(super) fn key(&self) -> Key<'a> {
        Key::new(self.unique_name())
    }

    fn id_text(&self) -> Option<&'a [u8]> {
        match self.id {
            IdText::Name => self.name.get(..self.unique),
            IdText::Hash(hash) => Some(hash),
        }
    }

    /// Whether it is a valid entry. Its name will be opened and removed, so it must be the name of
    /// a file in its folder.
    pub(super) fn is_sound(&self) -> bool {
        self.sizes.are_possible()
            && self.name.first().is_some_and(|first| *first != b'.')
            && self.name.len() <= LONGEST_NAME
            && memchr3(b'/', b'\0', b'\n', self.name).is_none()
            && self.unique <= self.name.len()
            && self.id_text().is_some_and(by_name::is_short_id)
    }

    /// Parses the first entry; returns it and the bytes after it.
    pub(super) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&flags, rest) = bytes.split_first()?;
        let (unique, rest) = split_number(rest)?;
        let (physical, rest) = split_number(rest)?;
        let (octets, rest) = split_number(rest)?;
        let (inode, mut rest) = split_number(rest)?;
        let namesake = match flags >> 1 & 0b11 {
            0 => Namesake::None,
            1 => Namesake::Itself,
            2 => Namesake::First,
            _ => Namesake::Later,
        };
        let id = if flags & HASHED == 0 {
            IdText::Name
        } else {
            let (hash, after) = rest.split_first_chunk()?;
            rest = after;
            IdText::Hash(hash)
        };
        let (length, rest) = split_number(rest)?;
        let (name, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let folder = if flags & IN_NEW == 0 { Folder::Cur } else { Folder::New };
        let (form, octets) = if flags & COMPRESSED == 0 {
            (Form::Plain, physical.checked_add(octets)?)
        } else {
            (Form::Compressed, octets)
        };
        let sizes = Sizes { physical, octets, form };
        let unique = usize::try_from(unique).ok()?;
        let inode = Inode::new(inode);
        Some((Self { folder, name, inode, namesake, sizes, unique, id }, rest))
    }

    /// Appends the entry to the bytes of a listing.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        let folder = match self.folder {
            Folder::Cur => 0,
            Folder::New => IN_NEW,
        };
        let kind = match self.namesake {
            Namesake::None => 0,
            Namesake::Itself => 1,
            Namesake::First => 2,
            Namesake::Later => 3,
        };
        let hashed = match self.id {
            IdText::Name => 0,
            IdText::Hash(_) => HASHED,
        };
        let Sizes { physical, octets, form } = self.sizes;
        let (compressed, octets) = match form {
            Form::Plain => (0, octets.saturating_sub(physical)),
            Form::Compressed => (COMPRESSED, octets),
        };
        bytes.push(folder | kind << 1 | hashed | compressed);
        append_number(bytes, self.unique as u64);
        append_number(bytes, physical);
        append_number(bytes, octets);
        append_number(bytes, Inode::number(self.inode));
        if let IdText::Hash(hash) = self.id {
            bytes.extend_from_slice(hash);
        }
        append_number(bytes, self.name.len() as u64);
        bytes.extend_from_slice(self.name);
    }
}

fn append_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(0x80 | number.to_le_bytes()[0]);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut shift, mut rest) = (0, 0, bytes);
    while let Some((byte, after)) = rest.split_first() {
        let bits = u64::from(byte & 0x7f);
        // The tenth octet has the last bit.
        if shift >= 63 && (shift > 63 || bits > 1) {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((number, after));
        }
        (shift, rest) = (shift + 7, after);
    }
    None
}

/// The sizes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes in the file.
    pub(super) physical: u64,
    /// Octets as RETR sends them.
    pub(super) octets: u64,
    /// How the file stores the message.
    pub(super) form: Form,
}

/// How a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As delivered.
    Plain,
    /// In a format of `compressed`.
    Compressed,
}

impl Sizes {
    /// Whether a message can have these sizes.
    fn are_possible(self) -> bool {
        let Self { physical, octets, form } = self;
        match form {
            // Each byte may be a line feed, and the last line end may be missing.
            Form::Plain => {
                (physical..=physical.saturating_mul(2).saturating_add(1)).contains(&octets)
            }
            Form::Compressed => true,
        }
    }
}

/// Whether a file shares its unique name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namesake {
    /// No other file does.
    None,
    /// The file itself has several names, all with the same unique name.
    Itself,
    /// It was there before the other files, and has kept its unique-id.
    First,
    /// Other files were there before; its unique-id is a hash.
    Later,
}

/// The key by which listings are sorted. All files of one unique name have the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a> {
    delivered: u64,
    unique: &'a [u8],
}

impl<'a> Key<'a> {
    /// The key of a unique name.
    pub(super) fn new(unique: &'a [u8]) -> Self {
        Self { delivered: name::delivery_time(unique), unique }
    }

    /// The unique name.
    pub(super) fn unique(&self) -> &'a [u8] {
        self.unique
    }
}

const IN_NEW: u8 = 1;
const HASHED: u8 = 1 << 3;
const COMPRESSED: u8 = 1 << 4;

/// `NAME_MAX` of Linux: no file has a longer name.
const LONGEST_NAME: usize = 255;

/// The smallest entry: a name of one byte.
pub(super) const FEWEST_BYTES: usize = 7;

/// A little more than the largest entry.
pub(super) const MOST_BYTES: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_at_most_64_bits() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u32::MAX.into(), 1 << 63, u64::MAX] {
            let mut bytes = Vec::new();
            append_number(&mut bytes, number);
            for cut in 0..bytes.len() {
                assert_eq!(split_number(&bytes[..cut]), None, "{number}");
            }
            bytes.push(7);
            assert_eq!(split_number(&bytes), Some((number, &[7][..])));
        }
        let nine = [0xff; 9];
        for too_large in [&[2][..], &[0x81, 0], &[0x80, 0], &[0x80, 0x80]] {
            assert_eq!(split_number(&[&nine, too_large].concat()), None, "{too_large:?}");
        }
    }
}
