//! The text of `restante.uids`: of the whole file, and of a batch.

use std::io::{self, Write};
use std::num::NonZeroU32;

use crc32fast::Hasher;

use super::line::{Header, Line};
use super::parse::End;
use super::{Kind, REMEMBERED, State};

impl State {
    /// Writes the whole file, as one batch. Returns its end.
    pub(super) fn write_to(&self, output: impl Write, now: NonZeroU32) -> io::Result<End> {
        let mut lines = Lines::new(output);
        let Self { generation, origin, .. } = self;
        let header = Header { generation: *generation, origin: origin.clone() };
        lines.write(|text| header.append_to(text))?;
        for line in self.kept(now) {
            lines.write(|text| line.append_to(text))?;
        }
        let checksum = lines.checksum.clone().finalize();
        let end = Line::End { count: lines.count - 1, checksum };
        lines.write(|text| end.append_to(text))?;
        let Lines { octets, count, checksum, .. } = lines;
        Ok(End { octets, lines: count, checksum: checksum.finalize() })
    }

    /// Whether more than half of the lines of the file, with a batch, would not be written again.
    pub(super) fn is_rewrite_due(&self, batch: &Batch, now: NonZeroU32) -> bool {
        let lines = self.end.map_or(0, |end| end.lines) + batch.lines + 1;
        let kept = self.kept(now).count() as u64 + 2;
        lines.saturating_sub(kept) > kept.max(LEAST_USELESS)
    }

    /// The lines about all messages that are still remembered.
    fn kept(&self, now: NonZeroU32) -> impl Iterator<Item = Line<'_>> {
        let oldest = u64::from(now.get()).saturating_sub(REMEMBERED.as_secs());
        self.records.iter().filter_map(move |record| {
            let (id, name) = self.texts(record.start);
            let name = name.into();
            match record.kind {
                Kind::Present => Some(Line::Added { id, name }),
                Kind::Removed(at) if u64::from(at.get()) >= oldest => {
                    Some(Line::Removed { id, name, at })
                }
                Kind::Removed(_) | Kind::Superseded => None,
            }
        })
    }
}

/// The lines of a batch before its end.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: Vec<u8>,
    lines: u64,
}

impl Batch {
    /// Adds a line.
    pub(super) fn push(&mut self, line: &Line<'_>) {
        line.append_to(&mut self.text);
        self.lines += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// The text of the batch where it follows an end, and its own end.
    pub(super) fn after(&self, end: End) -> (Vec<u8>, End) {
        let mut checksum = Hasher::new_with_initial(end.checksum);
        checksum.update(&self.text);
        let mut last = Vec::new();
        let stated = checksum.clone().finalize();
        Line::End { count: self.lines, checksum: stated }.append_to(&mut last);
        checksum.update(&last);
        let text = [&self.text[..], &last].concat();
        let octets = end.octets + text.len() as u64;
        let lines = end.lines + self.lines + 1;
        (text, End { octets, lines, checksum: checksum.finalize() })
    }
}

/// Writes lines.
struct Lines<W> {
    output: W,
    line: Vec<u8>,
    checksum: Hasher,
    octets: u64,
    count: u64,
}

impl<W: Write> Lines<W> {
    fn new(output: W) -> Self {
        Self { output, line: Vec::new(), checksum: Hasher::new(), octets: 0, count: 0 }
    }

    fn write(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.line.clear();
        append(&mut self.line);
        self.checksum.update(&self.line);
        self.octets += self.line.len() as u64;
        self.count += 1;
        self.output.write_all(&self.line)
    }
}

/// A smaller file is not worth rewriting.
const LEAST_USELESS: u64 = if cfg!(test) { 8 } else { 256 };
