//! An entry of a listing: a message as the bytes of `listing` and of the index have it.
//!
//! ```abnf
//! entry    = flags unique physical octets inode [hash] length name
//! flags    = OCTET                 ; bit 0: in new; bits 1-2: namesake; bit 3: hash;
//!                                  ; bit 4: compressed
//! unique   = number                ; how much of the name is the unique name
//! physical = number                ; bytes of the file
//! octets   = number                ; that RETR sends; if it is not compressed, without physical
//! inode    = number                ; which file it is; 0 where that is not known
//! hash     = 64OCTET               ; the unique-id, where no part of the name can be one
//! length   = number                ; of the name
//! name     = 1*OCTET               ; of the file
//! number   = *%x80-FF %x00-7F      ; seven bits an octet, the lowest first (LEB128)
//! ```

use memchr::memchr3;

use super::folder::Folder;
use super::inode::Inode;
use super::name::{self, HASH_LENGTH};
use crate::protocol::UniqueId;

/// A message of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The folder that its file was in.
    pub(super) folder: Folder,
    /// The name that its file had.
    pub(super) name: &'a [u8],
    /// Which file it was; nothing where that is not to be relied on.
    pub(super) inode: Option<Inode>,
    /// What the unique name alone does not tell.
    pub(super) namesake: Namesake,
    /// How big it is.
    pub(super) sizes: Sizes,
    /// How much of the name is the unique name.
    pub(super) unique: usize,
    /// What the unique-id is made of.
    pub(super) id: IdText<'a>,
}

/// Where the characters of a unique-id are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdText<'a> {
    /// They are those of the unique name.
    Name,
    /// They are these.
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

    /// The inode, where the unique name alone does not tell which file it is.
    pub(super) fn telling_inode(&self) -> Option<Inode> {
        self.inode.filter(|_| self.namesake != Namesake::None)
    }

    /// Whether others have, or had, the same unique name.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.namesake, Namesake::First | Namesake::Later)
    }

    /// Its place in the order.
    pub(super) fn key(&self) -> Key<'a> {
        Key::new(self.unique_name())
    }

    fn id_text(&self) -> Option<&'a [u8]> {
        match self.id {
            IdText::Name => self.name.get(..self.unique),
            IdText::Hash(hash) => Some(hash),
        }
    }

    /// Whether it can be what the name and the size of a file were made into. The name is going
    /// to be opened and removed, so it must be one in its folder.
    pub(super) fn is_sound(&self) -> bool {
        self.sizes.are_possible()
            && self.name.first().is_some_and(|first| *first != b'.')
            && self.name.len() <= LONGEST_NAME
            && memchr3(b'/', b'\0', b'\n', self.name).is_none()
            && self.unique <= self.name.len()
            && self.id_text().is_some_and(|text| UniqueId::try_from(text).is_ok())
    }

    /// Takes the first entry off.
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

    /// Appends the entry as it is written.
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
    let mut number = 0;
    for (at, byte) in (0_u32..10).zip(bytes) {
        number |= u64::from(byte & 0x7f).checked_mul(1 << (7 * at))?;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(at as usize + 1..)?));
        }
    }
    None
}

/// How big a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes in the file.
    pub(super) physical: u64,
    /// Octets as RETR sends them.
    pub(super) octets: u64,
    /// What the bytes in the file are.
    pub(super) form: Form,
}

/// How a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Plain,
    /// See `compressed`.
    Compressed,
}

impl Sizes {
    /// Whether there can be such a message.
    fn are_possible(self) -> bool {
        let Self { physical, octets, form } = self;
        match form {
            // At most every byte is a line feed, or the last line end is missing.
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
    /// It does not.
    None,
    /// It has several names itself, all of the same unique name.
    Itself,
    /// It was there before others of the same unique name came, and has kept its unique-id.
    First,
    /// There are, or were, others of the same unique name; its unique-id is a hash.
    Later,
}

/// Where a message is in the order of a listing. All files of one unique name are at one place.
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
}

const IN_NEW: u8 = 1;
const HASHED: u8 = 1 << 3;
const COMPRESSED: u8 = 1 << 4;

/// `NAME_MAX` of Linux: no file has a longer name.
const LONGEST_NAME: usize = 255;

/// What an entry takes at least: a name of one byte.
pub(super) const FEWEST_BYTES: usize = 7;

/// What an entry takes at most, and a little more.
pub(super) const MOST_BYTES: usize = 400;
