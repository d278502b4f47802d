//! Reading the lines of a list one at a time, each of a bounded length, and the numbers in them.

use std::io::{self, BufRead, Read as _};
use std::str::FromStr;

/// The lines of a list.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    max_octets: u64,
    number: u64,
    buffer: Vec<u8>,
}

/// A line without its line ending, or the first octets of a line that is too long.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) octets: &'a [u8],
    pub(super) end: LineEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// LF or CRLF.
    Newline,
    EndOfFile,
    TooLong,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `max_octets` octets.
    pub(super) fn new(input: R, max_octets: u64) -> Self {
        Self { input, max_octets, number: 0, buffer: Vec::new() }
    }

    /// The next line; `None` at the end of the list.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let mut bounded = self.input.by_ref().take(self.max_octets.saturating_add(1));
        if bounded.read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        let (octets, end) = match self.buffer.strip_suffix(b"\n") {
            Some(line) => (line.strip_suffix(b"\r").unwrap_or(line), LineEnd::Newline),
            None if bounded.limit() > 0 => (self.buffer.as_slice(), LineEnd::EndOfFile),
            None => {
                self.input.skip_until(b'\n')?;
                (self.buffer.as_slice(), LineEnd::TooLong)
            }
        };
        Ok(Some(Line { number: self.number, octets, end }))
    }
}

/// The part of a file name in a list by which the message is found.
pub(super) fn base_name(file_name: &[u8]) -> &[u8] {
    file_name.split(|octet| *octet == b':').next().unwrap_or(file_name)
}

/// The number that `digits` are; `None` if there are no digits, other octets, or too many digits.
pub fn decimal<T: FromStr>(digits: &[u8]) -> Option<T> {
    // Unlike `parse`, this accepts no sign.
    let digits = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_digits_only() {
        assert_eq!(decimal::<u32>(b"007"), Some(7));
        for bad in [&b""[..], b"+1", b"-1", b" 1", b"1x", b"4294967296"] {
            assert_eq!(decimal::<u32>(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn lines_are_bounded() {
        let mut lines = Lines::new(&b"1\n22\r\n\n4444\n55555\n666"[..], 4);
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            read.push((line.number, line.octets.escape_ascii().to_string(), line.end));
        }
        let expected = [
            (1, "1", LineEnd::Newline),
            (2, "22", LineEnd::Newline),
            (3, "", LineEnd::Newline),
            (4, "4444", LineEnd::Newline),
            (5, "55555", LineEnd::TooLong),
            (6, "666", LineEnd::EndOfFile),
        ];
        assert_eq!(read, expected.map(|(number, text, end)| (number, text.to_owned(), end)));
    }
}
