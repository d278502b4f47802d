//! zstd (RFC 8878): frames, one after the other.
//!
//! Dovecot writes frames without a checksum; those of zstd(1) have one.

use std::io::{self, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::source::{LARGEST_WINDOW, Source, damaged};

/// Reads zstd.
pub(super) struct Zstd {
    source: Source,
    decoder: FrameDecoder,
    /// The bytes of the current frame that have been returned; `None` between frames.
    given: Option<u64>,
}

impl Zstd {
    pub(super) fn new(source: Source) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(LARGEST_WINDOW.into());
        Self { source, decoder, given: None }
    }

    /// Starts the next frame, or skips a skippable one.
    fn begin(&mut self) -> io::Result<()> {
        match self.decoder.init(&mut self.source) {
            Ok(()) => self.given = Some(0),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => self.source.skip(length)?,
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    /// Checks a frame that has been returned completely.
    fn end(&mut self, given: u64) -> io::Result<()> {
        // Zero may mean that it is unknown.
        let announced = self.decoder.content_size();
        if announced != 0 && announced != given {
            return Err(damaged("a frame is not as long as it says"));
        }
        let expected = self.decoder.get_checksum_from_data();
        if expected.is_some() && expected != self.decoder.get_calculated_checksum() {
            return Err(damaged("the checksum is wrong"));
        }
        self.given = None;
        Ok(())
    }
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.given {
                None if self.source.is_at_end()? => return Ok(0),
                None => self.begin()?,
                Some(given) if self.decoder.can_collect() > 0 => {
                    let length = self.decoder.read(buffer)?;
                    self.given = Some(given.saturating_add(length as u64));
                    return Ok(length);
                }
                Some(given) if self.decoder.is_finished() => self.end(given)?,
                Some(_) => {
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    self.decoder.decode_blocks(&mut self.source, one).map_err(failed)?;
                }
            }
        }
    }
}

fn failed(error: FrameDecoderError) -> io::Error {
    if matches!(error, FrameDecoderError::WindowSizeTooBig { .. }) {
        return io::ErrorKind::OutOfMemory.into();
    }
    io::Error::other(error)
}
