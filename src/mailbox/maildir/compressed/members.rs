//! gzip (RFC 1952), bzip2 and xz: formats whose files are members, one after the other, each with
//! its own checksums and end.
//!
//! A member is followed by another one or by the end of the file; in gzip and xz also by zeros,
//! which tapes add. Anything else is an error: it may be the rest of the message. gzip(1) warns
//! and goes on, Dovecot refuses the file.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;

use super::source::{LARGEST_WINDOW, Source, damaged};

/// Reads gzip.
pub(super) struct Gzip(Option<GzDecoder<Source>>);

impl Gzip {
    pub(super) fn new(source: Source) -> Self {
        Self(Some(GzDecoder::new(source)))
    }
}

impl Read for Gzip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.0 else { return Ok(0) };
            let length = member.read(buffer)?;
            if length > 0 {
                return Ok(length);
            }
            let source = member.get_mut();
            let more = match source.fill_buf()?.first() {
                None => false,
                Some(0) => {
                    skip_zeros(source)?;
                    false
                }
                Some(0x1f) => true,
                Some(_) => return Err(damaged(SOMETHING_ELSE)),
            };
            let ended = self.0.take().map(GzDecoder::into_inner);
            self.0 = ended.filter(|_| more).map(GzDecoder::new);
        }
    }
}

/// Reads bzip2.
pub(super) struct Bzip2(Option<BzDecoder<Source>>);

impl Bzip2 {
    pub(super) fn new(source: Source) -> Self {
        Self(Some(BzDecoder::new(source)))
    }
}

impl Read for Bzip2 {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.0 else { return Ok(0) };
            let length = member.read(buffer)?;
            if length > 0 {
                return Ok(length);
            }
            let more = match member.get_mut().fill_buf()?.first() {
                None => false,
                Some(b'B') => true,
                Some(_) => return Err(damaged(SOMETHING_ELSE)),
            };
            let ended = self.0.take().map(BzDecoder::into_inner);
            self.0 = ended.filter(|_| more).map(BzDecoder::new);
        }
    }
}

/// Reads xz.
pub(super) fn xz(source: Source) -> XzReader<Source> {
    XzReader::new_mem_limit(source, true, LARGEST_WINDOW / 1024 + XZ_OVERHEAD)
}

/// Skips zeros up to the end of the file; other bytes are an error.
fn skip_zeros(source: &mut Source) -> io::Result<()> {
    loop {
        let bytes = source.fill_buf()?;
        let length = bytes.len();
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(damaged(SOMETHING_ELSE));
        }
        if length == 0 {
            return Ok(());
        }
        source.consume(length);
    }
}

const SOMETHING_ELSE: &str = "something else after its end";

/// The memory that the decoder counts in addition to its dictionary, in KiB.
const XZ_OVERHEAD: u32 = 104;
