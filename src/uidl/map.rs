//! The operator's own list of unique-ids: a file name, a TAB and a unique-id on each line.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, BufRead};

use memchr::memchr;

use super::lines::{LineEnd, Lines};
use super::taken_id::TakenId;
use crate::protocol::NotUniqueId;

/// Unique-ids by base names.
#[derive(Debug)]
pub struct IdMap {
    ids: HashMap<Box<[u8]>, TakenId>,
}

/// A map that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// A line is invalid.
    #[error("line {line}: {problem}")]
    Line {
        /// The number of the line, counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: MapProblem,
    },
}

/// What is wrong with a line of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapProblem {
    /// There is no TAB, or no name before it.
    #[error("there is no name with a TAB after it; write the file name, a TAB and the unique-id")]
    NoName,
    /// The unique-id is illegal.
    #[error("the unique-id is {0}")]
    IllegalId(#[from] NotUniqueId),
    /// Two messages cannot share a unique-id.
    #[error("the unique-id is the same as in line {0}; remove one of these lines")]
    SameId(u64),
    /// A message has only one unique-id.
    #[error("the name is the same as in an earlier line; remove one of these lines")]
    SameName,
    /// Names and unique-ids are much shorter.
    #[error("it has more than {LONGEST_LINE} octets")]
    TooLong,
}

impl IdMap {
    /// Reads a map. `base_name` cuts the flags off a file name.
    ///
    /// # Errors
    ///
    /// `input` cannot be read, or a line of it is invalid.
    pub fn read(input: impl BufRead, base_name: impl Fn(&[u8]) -> &[u8]) -> Result<Self, MapError> {
        let (mut ids, mut lines_of_ids) = (HashMap::new(), HashMap::new());
        let mut lines = Lines::new(input, LONGEST_LINE);
        while let Some(read) = lines.next_line()? {
            let line = read.number;
            let at_line = |problem| MapError::Line { line, problem };
            if read.end == LineEnd::TooLong {
                return Err(at_line(MapProblem::TooLong));
            }
            let (name, id) = parse(read.octets, &base_name).map_err(at_line)?;
            match lines_of_ids.entry(id.clone()) {
                Entry::Occupied(first) => return Err(at_line(MapProblem::SameId(*first.get()))),
                Entry::Vacant(entry) => entry.insert(line),
            };
            if ids.insert(name.into(), id).is_some() {
                return Err(at_line(MapProblem::SameName));
            }
        }
        Ok(Self { ids })
    }

    /// The unique-id of the message with this name.
    pub fn get(&self, name: &[u8]) -> Option<&TakenId> {
        self.ids.get(name)
    }
}

fn parse(line: &[u8], base_name: impl Fn(&[u8]) -> &[u8]) -> Result<(&[u8], TakenId), MapProblem> {
    let (name, tab_and_id) = line.split_at(memchr(b'\t', line).ok_or(MapProblem::NoName)?);
    let name = base_name(name);
    if name.is_empty() {
        return Err(MapProblem::NoName);
    }
    let id = tab_and_id.get(1..).unwrap_or_default();
    Ok((name, TakenId::try_from(id.to_vec())?))
}

const LONGEST_LINE: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::super::lines::base_name;
    use super::*;

    #[test]
    fn names_may_have_flags_and_spaces() {
        let map =
            IdMap::read(&b"1.a:2,S\tone\r\n2.b c,S=4\tt!o\n3.d\tthree"[..], base_name).unwrap();
        let get = |name: &str| map.get(name.as_bytes()).map(TakenId::as_str);
        assert_eq!(get("1.a"), Some("one"));
        assert_eq!(get("2.b c,S=4"), Some("t!o"));
        assert_eq!(get("3.d"), Some("three"));
        assert_eq!(get("2.b c"), None);
    }

    #[test]
    fn errors_name_the_line() {
        let long = format!("a\t{}\n", "x".repeat(2000));
        for (map, expected_line, expected) in [
            ("a\t1\nb 2\n", 2, MapProblem::NoName),
            ("a\t1\n\n", 2, MapProblem::NoName),
            ("\t1\n", 1, MapProblem::NoName),
            (":2,\t1\n", 1, MapProblem::NoName),
            ("a\t\n", 1, MapProblem::IllegalId(NotUniqueId)),
            ("a\t1\nb\t2 \n", 2, MapProblem::IllegalId(NotUniqueId)),
            ("a\t1\tx\n", 1, MapProblem::IllegalId(NotUniqueId)),
            ("a\t1\nb\t2\nc\t1\n", 3, MapProblem::SameId(1)),
            ("a\t1\na:2,S\t2\n", 2, MapProblem::SameName),
            (&long, 1, MapProblem::TooLong),
        ] {
            let MapError::Line { line, problem } =
                IdMap::read(map.as_bytes(), base_name).unwrap_err()
            else {
                panic!("{map}")
            };
            assert_eq!((line, problem), (expected_line, expected), "{map}");
        }
    }
}
