//! Messages that are stored compressed: recognised by their first bytes, and decompressed.
//!
//! Dovecot's zlib plugin and scripts of administrators write such files; their names do not show
//! it. A message is decompressed as a stream. The format bounds the memory for that, and
//! [`LARGEST_WINDOW`] where a file may ask for more. All members or frames of a file are read. A
//! damaged, truncated or encrypted file is an error, never a shorter message, and never sent as it
//! is stored.
//!
//! - `source`: the bytes of a file, for decoders. `members`: gzip, bzip2, xz. `zstd`. `lz4`.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use tokio::time::Instant;

use self::lz4::{DovecotLz4, Lz4};
use self::members::{Bzip2, Gzip, xz};
use self::source::{LARGEST_WINDOW, Source};
use self::zstd::Zstd;

mod lz4;
mod members;
mod source;
#[cfg(test)]
pub(super) mod tests;
mod zstd;

/// The kind of a file, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// A message that is not compressed.
    Plain,
    /// A compressed message.
    Compressed(Format),
    /// A file in a known format that is not supported, with the reason.
    Unreadable(&'static str),
}

impl Contents {
    /// The kind of a file with these first bytes.
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Compressed(Format::Gzip),
            // The first block, or the end of an empty file.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                Self::Compressed(Format::Bzip2)
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Compressed(Format::Xz),
            // A frame, or a skippable frame before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Self::Compressed(Format::Zstd)
            }
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Compressed(Format::Lz4),
            [0x02, 0x21, 0x4c, 0x18, ..] => {
                Self::Unreadable("compressed in the legacy format of lz4, which has no end")
            }
            _ if head.starts_with(lz4::DOVECOT_MAGIC) => Self::Compressed(Format::DovecotLz4),
            _ if head.starts_with(CRYPT_MAGIC) => {
                Self::Unreadable("encrypted by the mail-crypt plugin of Dovecot")
            }
            _ => Self::Plain,
        }
    }
}

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    /// The frames of lz4.
    Lz4,
    /// Dovecot's format, which is older than the frames of lz4.
    DovecotLz4,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::DovecotLz4 => "Dovecot's lz4",
        })
    }
}

/// Decompresses a message.
pub(super) struct Decoder {
    format: Format,
    content: Box<dyn Read + Send>,
    until: Option<Instant>,
}

impl Decoder {
    /// Decompresses the first `size` bytes of a file.
    pub(super) fn new(format: Format, file: File, size: u64) -> Self {
        Self::with(format, Source::new(file, size, None), None)
    }

    /// Decompresses the first `size` bytes of a file, with an error if that takes longer than
    /// `limit`: a small file may expand for ever.
    pub(super) fn within(limit: Duration, format: Format, file: File, size: u64) -> Self {
        let until = Instant::now().checked_add(limit);
        Self::with(format, Source::new(file, size, until), until)
    }

    fn with(format: Format, source: Source, until: Option<Instant>) -> Self {
        let content: Box<dyn Read + Send> = match format {
            Format::Gzip => Box::new(Gzip::new(source)),
            Format::Bzip2 => Box::new(Bzip2::new(source)),
            Format::Xz => Box::new(xz(source)),
            Format::Zstd => Box::new(Zstd::new(source)),
            Format::Lz4 => Box::new(Lz4::new(source)),
            Format::DovecotLz4 => Box::new(DovecotLz4::new(source)),
        };
        Self { format, content, until }
    }

    /// Fills the buffer with the next bytes. Returns less than its length only at the end.
    ///
    /// # Errors
    /// `InvalidData` when the file is not a complete file of its format; else those of reading it.
    /// After an error, do not call this again.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.content.read(room) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) => return Err(explained(self.format, &error)),
            }
            source::in_time(self.until).map_err(|error| explained(self.format, &error))?;
        }
        Ok(filled)
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("format", &self.format).finish_non_exhaustive()
    }
}

/// Converts an error of a decoder: one of the system is returned, any other is about the file.
#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of the standard library")]
fn explained(format: Format, error: &io::Error) -> io::Error {
    let origin = origin(error);
    if let Some(code) = origin.raw_os_error() {
        return io::Error::from_raw_os_error(code);
    }
    let why = match origin.kind() {
        io::ErrorKind::UnexpectedEof => format!("{format} that is cut short"),
        io::ErrorKind::OutOfMemory => format!(
            "{format} with a window of more than {} MiB, which is not taken",
            LARGEST_WINDOW >> 20
        ),
        io::ErrorKind::TimedOut => format!("{format} that takes too long to decompress"),
        _ => format!("damaged {format}: {error}"),
    };
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The error of reading that a decoder has wrapped.
fn origin(error: &io::Error) -> &io::Error {
    let mut origin = error;
    let mut cause = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    while let Some(error) = cause {
        origin = error.downcast_ref().unwrap_or(origin);
        cause = error.source();
    }
    origin
}

const CRYPT_MAGIC: &[u8] = b"CRYPTED\x03\x07";
