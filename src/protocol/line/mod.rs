//! Input split into lines of bounded length (RFC 2449 §4, RFC 5034 §4).
//!
//! Lines carry passwords, so the buffer is overwritten before it is freed or reused.

use memchr::memchr;
use zeroize::{Zeroize, Zeroizing};

/// How long a line may be, its line end included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineLimit {
    /// A command: 255 octets (RFC 2449 §4); AUTH and PASS may be as long as a response.
    Command,
    /// A response in a SASL exchange: 16 KiB (RFC 5034 §4 sets no bound).
    Response,
}

/// The longest response.
const RESPONSE: usize = 16 * 1024;

impl LineLimit {
    fn octets(self, line: &[u8]) -> usize {
        match self {
            // DEVIATION: RFC 2449 §4, RFC 5034 §4 — PASS and AUTH should have at most 255 octets,
            // but clients send a password or a token of any length with them. A longer AUTH alone
            // would bound memory no better, and a client that only knows PASS could not use it.
            Self::Command if carries_secret(line) => RESPONSE,
            Self::Command => 255,
            Self::Response => RESPONSE,
        }
    }
}

fn carries_secret(line: &[u8]) -> bool {
    let is = |word: &[u8; 5]| line.get(..5).is_some_and(|own| own.eq_ignore_ascii_case(word));
    is(b"AUTH ") || is(b"PASS ")
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// Longer than the limit. Reported once; the rest of the line is skipped.
    TooLong,
    /// It has a NUL, or a CR that is not part of its end.
    ForbiddenOctet,
}

/// Collects octets from the peer and yields whole lines.
///
/// - A line ends at LF; a CR before it belongs to the line end.
/// - Memory is bounded by the limit and one read. Without unread octets no memory is used.
#[derive(Default)]
pub struct LineDecoder {
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    skipping: bool,
}

impl LineDecoder {
    /// Takes octets from the peer.
    pub fn push(&mut self, octets: &[u8]) {
        self.reclaim();
        let used = self.buffer.len();
        if self.buffer.capacity() < used + octets.len() {
            // A Vec that grows would leave a copy behind; here the old one is overwritten.
            // It grows in few steps, because each buffer that is freed leaves a hole in the heap.
            let room = (4 * used).min(RESPONSE).max(used) + octets.len();
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        self.buffer.extend_from_slice(octets);
    }

    /// Overwrites the lines that were yielded. If no octets are left, frees the memory.
    pub fn reclaim(&mut self) {
        if self.start == self.buffer.len() {
            self.buffer = Zeroizing::default();
            self.start = 0;
        }
        if self.start > 0 {
            let kept = self.move_to_front();
            self.buffer.truncate(kept);
        }
    }

    /// The next line without its end, or `None` until the whole line has come.
    ///
    /// # Errors
    /// [`LineError`], once for each faulty line. The line after it is read as usual.
    pub fn next_line(&mut self, limit: LineLimit) -> Result<Option<&[u8]>, LineError> {
        loop {
            let unread = self.buffer.get(self.start..).unwrap_or_default();
            let Some(end) = memchr(b'\n', unread) else {
                if self.skipping {
                    self.start = self.buffer.len();
                } else if unread.len() >= limit.octets(unread) {
                    self.skipping = true;
                    self.start = self.buffer.len();
                    return Err(LineError::TooLong);
                }
                return Ok(None);
            };
            let from = self.start;
            self.start += end + 1;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if end + 1 > limit.octets(unread) {
                return Err(LineError::TooLong);
            }
            let line = self.buffer.get(from..from + end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.iter().any(|octet| matches!(octet, 0 | b'\r')) {
                return Err(LineError::ForbiddenOctet);
            }
            return Ok(Some(line));
        }
    }

    /// Moves the unread octets to the front and overwrites the rest. Returns how many were moved.
    fn move_to_front(&mut self) -> usize {
        self.buffer.copy_within(self.start.., 0);
        let kept = self.buffer.len() - self.start;
        if let Some(stale) = self.buffer.get_mut(kept..) {
            stale.zeroize();
        }
        self.start = 0;
        kept
    }

    /// The octets that have come and were not yielded yet.
    pub fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
