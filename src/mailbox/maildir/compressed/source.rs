//! A buffered reader for decoders, of a file from its start to the size that it had when it was
//! opened.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, Read};

use tokio::time::Instant;

use super::super::system::read_exact_at;

/// Reads a file in pieces. It returns fewer bytes than requested only at the end: some decoders
/// rely on that.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    /// The offset of the end of the buffer in the file.
    offset: u64,
    size: u64,
    buffer: Vec<u8>,
    /// The number of bytes of the buffer that have been consumed.
    taken: usize,
    until: Option<Instant>,
}

impl Source {
    /// Reads the first `size` bytes of a file, until a deadline.
    pub(super) fn new(file: File, size: u64, until: Option<Instant>) -> Self {
        Self { file, offset: 0, size, buffer: Vec::new(), taken: 0, until }
    }

    /// Whether all bytes have been consumed.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.fill_buf()?.is_empty())
    }

    /// Reads a 32-bit number in little-endian order.
    pub(super) fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Skips bytes. Fewer bytes are an error.
    pub(super) fn skip(&mut self, length: u32) -> io::Result<()> {
        let mut left = u64::from(length);
        while left > 0 {
            let here = self.fill_buf()?.len();
            if here == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let step = usize::try_from(left).map_or(here, |left| left.min(here));
            self.consume(step);
            left -= step as u64;
        }
        Ok(())
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.buffer.len() && self.offset < self.size {
            in_time(self.until)?;
            let left = self.size - self.offset;
            self.buffer.resize(usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER)), 0);
            self.taken = self.buffer.len();
            // Bytes appended since are not read. A truncated file is an error.
            read_exact_at(&self.file, &mut self.buffer, self.offset)?;
            self.taken = 0;
            self.offset += self.buffer.len() as u64;
        }
        Ok(self.buffer.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, length: usize) {
        self.taken = self.taken.saturating_add(length).min(self.buffer.len());
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            let length = self.fill_buf()?.read(room)?;
            if length == 0 {
                break;
            }
            self.consume(length);
            filled += length;
        }
        Ok(filled)
    }
}

/// Fails after the deadline.
pub(super) fn in_time(until: Option<Instant>) -> io::Result<()> {
    match until {
        Some(until) if Instant::now() >= until => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// An error that says that the file is damaged.
pub(super) fn damaged(why: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The largest window of xz and zstd that is accepted. A decoder keeps it in memory. The highest
/// levels of both stay within it.
pub(super) const LARGEST_WINDOW: u32 = 128 << 20;

const BUFFER: usize = 32 << 10;
