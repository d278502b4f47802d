//! Parsing `restante.uids`, line by line: once to find the last sound end, and once more up to
//! there.

use std::io::{BufRead, Read};

use crc32fast::Hasher;

use super::line::{Header, LONGEST_LINE, Line};
use super::{Error, Kind, Mark, State};

/// The end of a sound batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The octets of the file up to here.
    pub(super) octets: u64,
    /// Its lines up to here.
    pub(super) lines: u64,
    /// The CRC-32 of these octets.
    pub(super) checksum: u32,
}

impl State {
    /// Parses the file, which `open` opens at its start each time. `last` is the mark that the last
    /// session had.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged and was not merely cut in its last batch.
    pub(super) fn parse<R: BufRead>(
        open: impl Fn() -> R,
        last: Option<Mark>,
    ) -> Result<Self, Error> {
        let mut state = Self::default();
        let (Header { generation, origin }, end) = last_end(open(), |generation, end| {
            let is_rewritten = last.is_some_and(|last| last.generation < generation);
            state.continues_last |= is_rewritten || last == Some(Mark::of(generation, &end));
        })?;
        let mut state = Self { generation, origin, end: Some(end), ..state };
        let mut lines = Lines::new(open());
        // The header.
        lines.next()?;
        while lines.octets < end.octets {
            let damaged = Error::Damaged { line: lines.count + 1 };
            let line = lines.next()?.and_then(|line| Line::parse(line.strip_suffix(b"\n")?));
            match line.ok_or(damaged)? {
                Line::Added { id, name } => state.push(Kind::Present, id, &name)?,
                Line::Removed { id, name, at } => state.push(Kind::Removed(at), id, &name)?,
                Line::End { .. } => continue,
            };
        }
        state.make_look_ups()?;
        state.bytes.shrink_to_fit();
        state.records.shrink_to_fit();
        Ok(state)
    }

    /// Makes the look-ups of all records.
    ///
    /// # Errors
    /// When two messages have one unique-id, or two present ones have one name.
    fn make_look_ups(&mut self) -> Result<(), Error> {
        // This cannot fail: `push` has counted the records.
        let all = 0..u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let mut by_id = all.clone().collect::<Vec<_>>();
        // A stable sort: records of one unique-id stay in their order.
        by_id.sort_by(|a, b| self.id(*a).cmp(self.id(*b)));
        let mut superseded = Vec::new();
        for group in by_id.chunk_by(|a, b| self.id(*a) == self.id(*b)) {
            match *group {
                [_] => {}
                [added, removed] if self.is_removal(added, removed) => superseded.push(added),
                [first, ..] => return Err(Error::Doubled(self.id(first).to_vec())),
                [] => {}
            }
        }
        for at in superseded {
            self.set_kind(at, Kind::Superseded);
        }
        let mut by_name =
            all.filter(|at| self.record(*at).kind == Kind::Present).collect::<Vec<_>>();
        by_name.sort_by(|a, b| self.name(*a).cmp(self.name(*b)));
        let mut names = by_name.chunk_by(|a, b| self.name(*a) == self.name(*b));
        if let Some([name, ..]) = names.find(|of_one_name| of_one_name.len() > 1) {
            return Err(Error::Doubled(self.name(*name).to_vec()));
        }
        (self.by_id, self.by_name) = (by_id, by_name);
        Ok(())
    }

    /// Whether the second record is the removal of the first one.
    fn is_removal(&self, added: u32, removed: u32) -> bool {
        self.record(added).kind == Kind::Present
            && matches!(self.record(removed).kind, Kind::Removed(_))
            && self.name(added) == self.name(removed)
    }

    /// Changes what a record says.
    pub(super) fn set_kind(&mut self, at: u32, kind: Kind) {
        if let Some(record) = self.records.get_mut(at as usize) {
            record.kind = kind;
        }
    }
}

/// Finds the last sound end. Calls `each` with the generation and each sound end.
fn last_end(input: impl BufRead, mut each: impl FnMut(u64, End)) -> Result<(Header, End), Error> {
    let mut lines = Lines::new(input);
    let damaged = |line| Error::Damaged { line };
    let line = lines.next()?.ok_or(damaged(1))?;
    let header = Header::parse(line.strip_suffix(b"\n").unwrap_or(line))?;
    let mut checksum = Hasher::new();
    checksum.update(line);
    let (mut sound, mut unsound) = (None, None);
    let mut first = lines.count + 1;
    while let Some(line) = lines.next()? {
        let Some((count, stated)) = end(line) else {
            checksum.update(line);
            continue;
        };
        let checksum_before = checksum.finalize();
        // Where they differ, the next batch may still continue the checksum that is stated.
        checksum = Hasher::new_with_initial(stated);
        checksum.update(line);
        let is_sound = stated == checksum_before && count == lines.count - first;
        if !is_sound {
            unsound.get_or_insert(first);
        } else if let Some(first) = unsound {
            return Err(damaged(first));
        } else {
            let checksum = checksum.clone().finalize();
            let end = End { octets: lines.octets, lines: lines.count, checksum };
            each(header.generation, end);
            sound = Some(end);
        }
        first = lines.count + 1;
    }
    Ok((header, sound.ok_or(damaged(2))?))
}

/// The count and the checksum in the end of a batch.
fn end(line: &[u8]) -> Option<(u64, u32)> {
    match line.strip_suffix(b"\n").filter(|line| line.starts_with(b"=")).and_then(Line::parse)? {
        Line::End { count, checksum } => Some((count, checksum)),
        Line::Added { .. } | Line::Removed { .. } => None,
    }
}

/// Reads lines.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// The octets of the lines so far.
    octets: u64,
    /// The lines so far.
    count: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, line: Vec::new(), octets: 0, count: 0 }
    }

    /// The next line with its LF. `None` at the end of the file, even within a line.
    ///
    /// A part of a longer line than there can be counts as a line.
    fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.line.clear();
        let read = self.input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line);
        let length = read.map_err(Error::Read)? as u64;
        self.octets += length;
        self.count += 1;
        let is_whole = length == LONGEST_LINE || self.line.ends_with(b"\n");
        Ok(is_whole.then_some(&self.line))
    }
}
