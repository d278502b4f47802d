//! The lines of `restante.uids`. The module above has their grammar.

use std::borrow::Cow;
use std::num::NonZeroU32;

use memchr::memchr;

use super::Error;
use crate::protocol::UniqueId;
use crate::uidl::decimal;

/// A line, without its LF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Added { id: &'a [u8], name: Cow<'a, [u8]> },
    Removed { id: &'a [u8], name: Cow<'a, [u8]>, at: NonZeroU32 },
    End { count: u64, checksum: u32 },
}

impl<'a> Line<'a> {
    /// Parses a line that is not the header.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|octet| *octet == b' ');
        let kind = fields.next()?;
        let mut field = || fields.next();
        let parsed = match kind {
            b"+" => Self::Added { id: id(field()?)?, name: unescape(field()?)? },
            b"-" => Self::Removed {
                id: id(field()?)?,
                name: unescape(field()?)?,
                at: decimal(field()?)?,
            },
            b"=" => Self::End { count: decimal(field()?)?, checksum: hexadecimal(field()?)? },
            _ => return None,
        };
        field().is_none().then_some(parsed)
    }

    /// Appends the line, with its LF.
    pub(super) fn append_to(&self, text: &mut Vec<u8>) {
        match self {
            Self::Added { id, name } => append_message(text, b"+ ", id, name),
            Self::Removed { id, name, at } => {
                append_message(text, b"- ", id, name);
                text.extend_from_slice(format!(" {at}").as_bytes());
            }
            Self::End { count, checksum } => {
                text.extend_from_slice(format!("= {count} {checksum:08x}").as_bytes());
            }
        }
        text.push(b'\n');
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) generation: u64,
    pub(super) origin: Vec<u8>,
}

impl Header {
    /// Parses the first line, without its LF.
    ///
    /// # Errors
    /// When it is of another version, or no header.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Error> {
        let damaged = Error::Damaged { line: 1 };
        let Some(fields) = line.strip_prefix(NAME) else { return Err(damaged) };
        let mut fields = fields.split(|octet| *octet == b' ');
        if fields.next() != Some(VERSION) {
            return Err(Error::UnknownVersion);
        }
        let mut header = || {
            let generation = decimal(fields.next()?)?;
            let origin = unescape(fields.next()?)?.into_owned();
            fields.next().is_none().then_some(Self { generation, origin })
        };
        header().ok_or(damaged)
    }

    /// Appends the line, with its LF.
    pub(super) fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(NAME);
        text.extend_from_slice(VERSION);
        text.extend_from_slice(format!(" {} ", self.generation).as_bytes());
        append_escaped(text, &self.origin);
        text.push(b'\n');
    }
}

/// Whether these octets can be a unique-id.
pub(super) fn is_id(octets: &[u8]) -> bool {
    UniqueId::is_valid(octets)
}

fn id(field: &[u8]) -> Option<&[u8]> {
    is_id(field).then_some(field)
}

/// A checksum, only as it is written: each changed octet must make it another one.
fn hexadecimal(field: &[u8]) -> Option<u32> {
    let is_written = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let digits = field.iter().copied().all(is_written).then_some(field)?;
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn append_message(text: &mut Vec<u8>, kind: &[u8], id: &[u8], name: &[u8]) {
    text.extend_from_slice(kind);
    text.extend_from_slice(id);
    text.push(b' ');
    append_escaped(text, name);
}

fn append_escaped(text: &mut Vec<u8>, octets: &[u8]) {
    for octet in octets {
        if octet.is_ascii_graphic() && *octet != b'%' {
            text.push(*octet);
        } else {
            text.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
}

fn unescape(field: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr(b'%', field).is_none() {
        return Some(Cow::Borrowed(field));
    }
    let mut octets = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, mut after)) = rest.split_first() {
        let mut octet = first;
        if first == b'%' {
            let (digits, after_digits) = after.split_first_chunk::<2>()?;
            octet = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
            after = after_digits;
        }
        octets.push(octet);
        rest = after;
    }
    Some(Cow::Owned(octets))
}

const NAME: &[u8] = b"restante uids ";
const VERSION: &[u8] = b"1";

/// More than any name: a file name, with an inode number where files share their unique name.
pub(super) const LONGEST_NAME: usize = 400;

/// More than the longest line, in which each octet of the name is escaped.
pub(super) const LONGEST_LINE: u64 = 2048;
