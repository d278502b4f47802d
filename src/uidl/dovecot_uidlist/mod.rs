//! `dovecot-uidlist`, where Dovecot keeps the UIDs of a Maildir; versions 1 and 3.
//!
//! ```text
//! 3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
//! 25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,
//! 25020 W900 PUID12-1276500000 O3 :1276533080.M1P2.kurkku
//! ```
//!
//! A damaged list is read as Dovecot reads it: lines before the first bad line count, lines after
//! it do not; octets after the last newline are ignored.

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::num::NonZeroU32;

use memchr::memchr;

use super::lines::{Line, LineEnd, Lines, base_name, decimal};

#[cfg(test)]
mod tests;

/// A `dovecot-uidlist`.
#[derive(Debug)]
pub struct DovecotList {
    /// UIDVALIDITY, not 0.
    pub uid_validity: u32,
    /// The UID of the next message.
    pub next_uid: u32,
    /// The GUID of the mailbox: 32 hexadecimal digits.
    pub mailbox_guid: Option<Box<str>>,
    /// The records of existing messages by their base names.
    pub records: HashMap<Box<[u8]>, DovecotRecord>,
    /// The line where the list ended too early.
    pub damage: Option<BadLine>,
}

/// A message in a `dovecot-uidlist`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DovecotRecord {
    /// The UID, neither 0 nor `u32::MAX`.
    pub uid: u32,
    /// The place in POP3 listings; `u32::MAX` for messages without one, which come last.
    pub order: u32,
    /// The unique-id, if it does not follow from the format. If it is empty, it is the base name.
    pub uidl: Option<Box<[u8]>>,
    /// The GUID of the message, if it is not the base name.
    pub guid: Option<Box<[u8]>>,
    /// The octets of the file, if its name does not have them.
    pub physical_octets: Option<u64>,
    /// The octets with CRLF line ends, if the file name does not have them.
    pub virtual_octets: Option<u64>,
}

/// A `dovecot-uidlist` of which nothing can be used.
#[derive(Debug, thiserror::Error)]
pub enum DovecotError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// Its first line is not a header.
    #[error("line 1: {0}")]
    Header(#[from] HeaderError),
}

/// What is wrong with the header of a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file is empty, or its first line has no end.
    #[error("there is no complete line")]
    Incomplete,
    /// The line does not begin with a version.
    #[error("it does not begin with a version number")]
    NoVersion,
    /// Dovecot does not read this version either.
    #[error("version {0} is not supported; versions 1 and 3 are")]
    UnsupportedVersion(u8),
    /// The value of a field is invalid.
    #[error("the value of {key} is invalid: \"{value}\"")]
    InvalidValue {
        /// `V`, `N` or `G`.
        key: char,
        /// The value, escaped.
        value: String,
    },
    /// UIDVALIDITY is missing or 0.
    #[error("there is no UIDVALIDITY")]
    NoUidValidity,
    /// The next UID is missing or 0.
    #[error("there is no next UID")]
    NoNextUid,
}

/// A line where a list ended too early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BadLine {
    /// The number of the line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a record of a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The line does not begin with a UID and a space.
    #[error("it does not begin with a UID")]
    NoUid,
    /// UIDs must ascend.
    #[error("UID {uid} is not above {last}, the UID before it")]
    NotAscending {
        /// The UID of this line.
        uid: u32,
        /// The UID of the line before.
        last: u32,
    },
    /// The UID is 4294967295.
    #[error("UID {0} is too high")]
    TooHigh(u32),
    /// In version 1, UIDs must be below the next UID of the header.
    #[error("UID {uid} is not below {next}, the next UID of the header")]
    NotBelowNext {
        /// The UID of this line.
        uid: u32,
        /// The next UID of the header.
        next: u32,
    },
    /// There is no file name after the fields.
    #[error("there is no file name")]
    NoFileName,
    /// The file name is a path.
    #[error("there is a slash in the file name")]
    SlashInFileName,
    /// Dovecot reads lines of up to 4096 octets.
    #[error("it has more than {LONGEST_LINE} octets")]
    TooLong,
}

impl DovecotList {
    /// The list of a Maildir that Dovecot has not seen.
    pub fn new(uid_validity: NonZeroU32) -> Self {
        Self {
            uid_validity: uid_validity.get(),
            next_uid: 1,
            mailbox_guid: None,
            records: HashMap::new(),
            damage: None,
        }
    }

    /// Reads a list, and keeps the records of the base names that are `wanted`.
    ///
    /// # Errors
    ///
    /// `input` cannot be read, or does not begin with a header.
    pub fn read(
        input: impl BufRead,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Result<Self, DovecotError> {
        let mut lines = Lines::new(input, LONGEST_LINE);
        let header = Header::read(lines.next_line()?)?;
        let (mut records, mut damage, mut last) = (HashMap::new(), None, 0);
        while let Some(line) = lines.next_line()? {
            if line.end == LineEnd::EndOfFile {
                break;
            }
            match Record::parse(&line, &header, last) {
                Ok(record) => {
                    last = record.uid;
                    // If a file name is repeated, its last line counts.
                    if wanted(record.base_name) {
                        records.insert(record.base_name.into(), record.to_owned());
                    }
                }
                Err(problem) => {
                    damage = Some(BadLine { line: line.number, problem });
                    break;
                }
            }
        }
        Ok(Self {
            uid_validity: header.uid_validity,
            next_uid: header.next_uid.max(last.saturating_add(1)),
            mailbox_guid: header.guid,
            records,
            damage,
        })
    }
}

struct Header {
    version: Version,
    uid_validity: u32,
    /// Dovecot appends records without changing the header, so this may be too low.
    next_uid: u32,
    guid: Option<Box<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Three,
}

impl Header {
    fn read(line: Option<Line<'_>>) -> Result<Self, HeaderError> {
        let line = line.filter(|line| line.end == LineEnd::Newline);
        let header = match before_nul(line.ok_or(HeaderError::Incomplete)?.octets) {
            [b'1', b' ', fields @ ..] => Self::parse_1(fields)?,
            [b'3', b' ', fields @ ..] => Self::parse_3(fields)?,
            [digit @ b'0'..=b'9', b' ', ..] => {
                return Err(HeaderError::UnsupportedVersion(digit - b'0'));
            }
            _ => return Err(HeaderError::NoVersion),
        };
        match header {
            Self { uid_validity: 0, .. } => Err(HeaderError::NoUidValidity),
            Self { next_uid: 0, .. } => Err(HeaderError::NoNextUid),
            header => Ok(header),
        }
    }

    /// `UIDVALIDITY NEXT`.
    fn parse_1(text: &[u8]) -> Result<Self, HeaderError> {
        let mut fields = fields(text);
        Ok(Self {
            version: Version::One,
            uid_validity: number('V', fields.next().unwrap_or_default())?,
            next_uid: number('N', fields.next().unwrap_or_default())?,
            guid: None,
        })
    }

    /// Keys, each with its value.
    fn parse_3(text: &[u8]) -> Result<Self, HeaderError> {
        let mut header = Self { version: Version::Three, uid_validity: 0, next_uid: 0, guid: None };
        for field in fields(text) {
            match field {
                [b'V', value @ ..] => header.uid_validity = number('V', value)?,
                [b'N', value @ ..] => header.next_uid = number('N', value)?,
                [b'G', value @ ..] => header.guid = Some(guid(value)?),
                _ => {}
            }
        }
        Ok(header)
    }
}

fn fields(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|octet| *octet == b' ').filter(|field| !field.is_empty())
}

fn number(key: char, value: &[u8]) -> Result<u32, HeaderError> {
    decimal(value).ok_or_else(|| invalid(key, value))
}

fn guid(value: &[u8]) -> Result<Box<str>, HeaderError> {
    let is_guid = value.len() == 32 && value.iter().all(u8::is_ascii_hexdigit);
    let text = str::from_utf8(value).ok().filter(|_| is_guid);
    text.map(Box::from).ok_or_else(|| invalid('G', value))
}

fn invalid(key: char, value: &[u8]) -> HeaderError {
    HeaderError::InvalidValue { key, value: value.escape_ascii().to_string() }
}

/// A record as it is in its line.
struct Record<'a> {
    uid: u32,
    fields: Fields<'a>,
    base_name: &'a [u8],
}

/// The first field of each key; Dovecot ignores others.
#[derive(Default)]
struct Fields<'a> {
    uidl: Option<&'a [u8]>,
    order: Option<&'a [u8]>,
    guid: Option<&'a [u8]>,
    physical_octets: Option<&'a [u8]>,
    virtual_octets: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    fn parse(line: &Line<'a>, header: &Header, last: u32) -> Result<Self, Problem> {
        if line.end == LineEnd::TooLong {
            return Err(Problem::TooLong);
        }
        let (uid, rest) = take_uid(before_nul(line.octets))?;
        if uid <= last {
            return Err(Problem::NotAscending { uid, last });
        }
        if uid == u32::MAX {
            return Err(Problem::TooHigh(uid));
        }
        if header.version == Version::One && uid >= header.next_uid {
            return Err(Problem::NotBelowNext { uid, next: header.next_uid });
        }
        let (fields, file_name) = match header.version {
            Version::One => (Fields::default(), rest),
            Version::Three => take_fields(rest)?,
        };
        if memchr(b'/', file_name).is_some() {
            return Err(Problem::SlashInFileName);
        }
        Ok(Self { uid, fields, base_name: base_name(file_name) })
    }

    fn to_owned(&self) -> DovecotRecord {
        DovecotRecord {
            uid: self.uid,
            order: self.fields.order.and_then(decimal).unwrap_or(u32::MAX),
            uidl: self.fields.uidl.map(Box::from),
            guid: self.fields.guid.map(Box::from),
            physical_octets: self.fields.physical_octets.and_then(decimal),
            virtual_octets: self.fields.virtual_octets.and_then(decimal),
        }
    }
}

/// The UID at the beginning of a line, and the text after it.
fn take_uid(line: &[u8]) -> Result<(u32, &[u8]), Problem> {
    let digits = line.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (digits, rest) = line.split_at(digits);
    // As in Dovecot, the number wraps.
    let uid = digits.iter().fold(0_u32, |uid, digit| {
        uid.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0')))
    });
    match rest {
        [b' ', ..] if uid != 0 => Ok((uid, trim_spaces(rest))),
        _ => Err(Problem::NoUid),
    }
}

/// The fields of a record, and the file name after the colon that begins it.
///
/// A value may have colons: only a colon after a space ends the fields.
fn take_fields(mut text: &[u8]) -> Result<(Fields<'_>, &[u8]), Problem> {
    let mut fields = Fields::default();
    loop {
        match text {
            [] | [b':'] => return Err(Problem::NoFileName),
            [b':', file_name @ ..] => return Ok((fields, file_name)),
            _ => {}
        }
        let (field, rest) = text.split_at(memchr(b' ', text).unwrap_or(text.len()));
        match field {
            [b'P', value @ ..] => _ = fields.uidl.get_or_insert(value),
            [b'O', value @ ..] => _ = fields.order.get_or_insert(value),
            [b'G', value @ ..] => _ = fields.guid.get_or_insert(value),
            [b'S', value @ ..] => _ = fields.physical_octets.get_or_insert(value),
            [b'W', value @ ..] => _ = fields.virtual_octets.get_or_insert(value),
            _ => {}
        }
        text = trim_spaces(rest);
    }
}

fn trim_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|octet| **octet == b' ').count();
    text.get(spaces..).unwrap_or_default()
}

/// Dovecot does not see what comes after a NUL in a line.
fn before_nul(line: &[u8]) -> &[u8] {
    line.split(|octet| *octet == 0).next().unwrap_or(line)
}

const LONGEST_LINE: u64 = 4096;
