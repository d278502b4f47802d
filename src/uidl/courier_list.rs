//! `courierpop3dsizelist`, where Courier keeps the unique-ids of a Maildir; versions 0 to 3.
//!
//! ```text
//! /3 NEXT UIDVALIDITY
//! FILE-NAME OCTETS N:UIDVALIDITY:UTF8
//! ```
//!
//! - Version 2 has no `:UTF8`; version 1 has no `:UIDVALIDITY`; version 0 has no header, and lines
//!   of a file name and octets. A file name may have spaces.
//! - The unique-id is `UIDN-UIDVALIDITY`, or `UIDN` without UIDVALIDITY. In version 0 and if N is 0,
//!   it is the base name.
//! - Today's Courier discards versions 0 and 1. They are read, because clients know these ids.
//! - Like Courier, this ignores lines that are no record, and octets after the last newline.

use std::collections::HashMap;
use std::io::{self, BufRead};

use memchr::memrchr;

use super::lines::{LineEnd, Lines, base_name, decimal};

/// A `courierpop3dsizelist`.
#[derive(Debug)]
pub struct CourierList {
    /// The number of the next message; 0 in version 0.
    pub next: u64,
    /// The UIDVALIDITY of new messages; 0 if the header has none.
    pub uid_validity: u64,
    /// The unique-ids of existing messages by their base names.
    pub ids: HashMap<Box<[u8]>, CourierId>,
    /// How many lines are no record.
    pub ignored_lines: u64,
}

/// A unique-id of Courier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CourierId {
    /// A number, and the UIDVALIDITY if it is not 0.
    Number(u64, u64),
    /// The base name, escaped.
    BaseName,
}

/// A `courierpop3dsizelist` that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// Its version is not known.
    #[error("line 1: version {0} is not supported; versions 0 to 3 are")]
    UnsupportedVersion(u64),
    /// The first line begins like a header, but is none.
    #[error("line 1: there is no version and next number after the slash")]
    InvalidHeader,
}

impl CourierList {
    /// Reads a list, and keeps the ids of the base names that are `wanted`.
    ///
    /// # Errors
    ///
    /// `input` cannot be read, or its header is invalid.
    pub fn read(
        input: impl BufRead,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Result<Self, CourierError> {
        let mut list = Self { next: 0, uid_validity: 0, ids: HashMap::new(), ignored_lines: 0 };
        let (mut lines, mut version) = (Lines::new(input, LONGEST_LINE), Version::Zero);
        while let Some(line) = lines.next_line()? {
            if let (1, [b'/', header @ ..]) = (line.number, line.octets) {
                (version, list.next, list.uid_validity) = parse_header(header)?;
                continue;
            }
            if line.end == LineEnd::EndOfFile {
                break;
            }
            let record = Some(line.octets).filter(|_| line.end == LineEnd::Newline);
            match record.and_then(|record| parse_record(record, version)) {
                Some((name, id)) if wanted(name) => _ = list.ids.entry(name.into()).or_insert(id),
                Some(_) => {}
                None => list.ignored_lines = list.ignored_lines.saturating_add(1),
            }
        }
        Ok(list)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Zero,
    One,
    /// Both have a UIDVALIDITY in each record.
    TwoOrThree,
}

/// The version, the next number, and the UIDVALIDITY or 0.
fn parse_header(text: &[u8]) -> Result<(Version, u64, u64), CourierError> {
    let mut fields = text.split(|octet| *octet == b' ').map(decimal::<u64>);
    let mut field = || fields.next().flatten();
    match (field(), field()) {
        (Some(1), Some(next)) => Ok((Version::One, next, 0)),
        (Some(2 | 3), Some(next)) => Ok((Version::TwoOrThree, next, field().unwrap_or(0))),
        (Some(other), Some(_)) => Err(CourierError::UnsupportedVersion(other)),
        _ => Err(CourierError::InvalidHeader),
    }
}

fn parse_record(line: &[u8], version: Version) -> Option<(&[u8], CourierId)> {
    let (rest, last) = split_last_field(line)?;
    let (file_name, octets, id) = match version {
        Version::Zero => (rest, last, CourierId::BaseName),
        Version::One | Version::TwoOrThree => {
            let (file_name, octets) = split_last_field(rest)?;
            (file_name, octets, parse_id(last, version)?)
        }
    };
    decimal::<u64>(octets)?;
    Some((base_name(file_name), id)).filter(|(base_name, _)| !base_name.is_empty())
}

/// `N`, `N:UIDVALIDITY` or `N:UIDVALIDITY:UTF8`.
fn parse_id(text: &[u8], version: Version) -> Option<CourierId> {
    let mut numbers = text.split(|octet| *octet == b':').map(decimal::<u64>);
    let number = numbers.next()??;
    let uid_validity = if version == Version::One { 0 } else { numbers.next()?? };
    Some(if number == 0 { CourierId::BaseName } else { CourierId::Number(number, uid_validity) })
}

fn split_last_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, space_and_field) = line.split_at(memrchr(b' ', line)?);
    Some((head, space_and_field.get(1..)?))
}

impl CourierId {
    /// The unique-id of the message with this base name.
    pub fn text(self, base_name: &[u8]) -> Vec<u8> {
        match self {
            Self::Number(number, 0) => format!("UID{number}").into_bytes(),
            Self::Number(number, uid_validity) => {
                format!("UID{number}-{uid_validity}").into_bytes()
            }
            Self::BaseName => base_name.iter().flat_map(|octet| escape(*octet)).collect(),
        }
    }
}

fn escape(octet: u8) -> Vec<u8> {
    match octet {
        b'\'' | b'"' | b'+' => {}
        octet if octet.is_ascii_graphic() => return vec![octet],
        _ => {}
    }
    format!("+{octet:02X}").into_bytes()
}

/// Courier cuts longer lines, and then does not find the fields at their ends.
const LONGEST_LINE: u64 = 2028;

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids that a list gives, sorted, and how many lines it ignores.
    fn read(list: &str) -> (Vec<String>, u64) {
        let list = CourierList::read(list.as_bytes(), |_| true).unwrap();
        let ids = list.ids.iter().map(|(name, id)| String::from_utf8(id.text(name)).unwrap());
        let mut ids = ids.collect::<Vec<_>>();
        ids.sort_unstable();
        (ids, list.ignored_lines)
    }

    #[test]
    fn versions() {
        for (list, expected, ignored) in [
            ("/3 41 1795743558\nmsg.a00f:2, 350 1:1795743558:0\n", &["UID1-1795743558"][..], 0),
            ("/3 41\na:2, 350 1:7:1\n", &["UID1-7"], 0),
            ("/3 41 7\r\na:2,S 350 1:7:0\r\n", &["UID1-7"], 0),
            ("/3 2 7\na b:2, 3 1:0:0\n", &["UID1"], 0),
            ("/3 2 7\na b:2, 3 0:7:0\n", &["a+20b"], 0),
            ("/2 2 7\na:2, 3 1:7\nb 3 0:7\n", &["UID1-7", "b"], 0),
            ("/1 3\na:2, 3 1\nb:2, 3 2\n", &["UID1", "UID2"], 0),
            ("a,S=3:2, 3\nk\u{e4}se+'\" 3\n", &["a,S=3", "k+C3+A4se+2B+27+22"], 0),
            ("", &[], 0),
            ("/3 3 7\na:2, 3 1:7:0\nb:2, 3 2:7:0", &["UID1-7"], 0),
            ("/3 3 7\na:2, 3 1:7:0\n\nb\nb 1:7\n 3 1:7\nb x 1:7\nb 3 x\nb 3 1\n", &["UID1-7"], 7),
            ("/3 3 7\na 3 1:7:0\na:2,S 4 2:7:0\n", &["UID1-7"], 0),
        ] {
            assert_eq!(read(list), (expected.iter().map(|id| (*id).to_owned()).collect(), ignored));
        }
    }

    #[test]
    fn a_header_must_be_valid() {
        for (list, expected) in [
            ("/9 2 7\n", "line 1: version 9 is not supported; versions 0 to 3 are"),
            ("/0 2 7\n", "line 1: version 0 is not supported; versions 0 to 3 are"),
            ("/x 2 7\n", "line 1: there is no version and next number after the slash"),
            ("/3\n", "line 1: there is no version and next number after the slash"),
        ] {
            let error = CourierList::read(list.as_bytes(), |_| true).unwrap_err();
            assert_eq!(error.to_string(), expected, "{list}");
        }
    }

    #[test]
    fn a_long_line_is_ignored() {
        let list = format!("/3 3 7\n{} 3 1:7:0\nb 3 2:7:0\n", "a".repeat(3000));
        assert_eq!(read(&list), (vec!["UID2-7".to_owned()], 1));
    }
}
