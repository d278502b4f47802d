//! Messages as RETR and TOP send them: CRLF, dot-stuffing, TOP (RFC 1939 §3, §5 RETR, §7 TOP, §11).

use memchr::memchr;

use super::BodyLines;

/// How much of a message is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, as RETR sends it.
    Whole,
    /// The header, the blank line and the first lines of the body, as TOP sends them.
    Top(BodyLines),
}

/// Whether the encoder needs more of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Yes, if there is more.
    More,
    /// No: everything that was requested is encoded.
    Complete,
}

/// Turns stored bytes into the body of a multi-line reply, chunk by chunk.
///
/// - Every LF without a CR before it becomes CRLF. A CR alone is a byte like any other.
/// - A `.` at the start of a line is doubled, on the first line too (RFC 1939 §3).
/// - A last line without an end gets one.
/// - The output of a chunk is at most twice its length and one octet.
#[derive(Debug)]
pub struct Encoder {
    part: Part,
    /// Octets of the current line so far, saturating.
    line: usize,
    after_cr: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Header(BodyLines),
    Body(BodyLines),
    Done,
}

impl Encoder {
    /// An encoder at the start of a message.
    pub fn new(extent: Extent) -> Self {
        let part = match extent {
            Extent::Whole => Part::Whole,
            Extent::Top(lines) => Part::Header(lines),
        };
        Self { part, line: 0, after_cr: false }
    }

    /// Appends the encoded form of the next bytes of the message.
    pub fn encode(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) -> Progress {
        // Enough for ordinary mail; the buffer grows if more is needed.
        out.reserve(chunk.len() + chunk.len() / 32);
        while self.part != Part::Done && !chunk.is_empty() {
            if self.line == 0 && chunk.first() == Some(&b'.') {
                out.push(b'.');
            }
            let (line, rest) = match memchr(b'\n', chunk) {
                Some(end) => chunk.split_at_checked(end).unwrap_or((chunk, b"")),
                None => (chunk, &b""[..]),
            };
            if let Some(last) = line.last() {
                out.extend_from_slice(line);
                self.line = self.line.saturating_add(line.len());
                self.after_cr = *last == b'\r';
            }
            chunk = match rest.split_first() {
                Some((_lf, rest)) => {
                    self.end_line(out);
                    rest
                }
                None => rest,
            };
        }
        if self.part == Part::Done { Progress::Complete } else { Progress::More }
    }

    /// Ends the last line if need be, and appends the final dot.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.line > 0 {
            // The stored line has no end; a CR that it may end with is a byte of the line.
            self.after_cr = false;
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        let blank = self.line == usize::from(self.after_cr);
        out.extend_from_slice(if self.after_cr { b"\n" } else { b"\r\n" });
        self.line = 0;
        self.after_cr = false;
        self.part = match self.part {
            Part::Header(BodyLines(0)) if blank => Part::Done,
            Part::Header(lines) if blank => Part::Body(lines),
            Part::Body(BodyLines(1)) => Part::Done,
            Part::Body(BodyLines(left)) => Part::Body(BodyLines(left.saturating_sub(1))),
            part @ (Part::Whole | Part::Header(_) | Part::Done) => part,
        };
    }
}

#[cfg(test)]
mod tests;
