//! gzip (RFC 1952), bzip2 and xz: formats whose files are members, one after the other, each with
//! checksums and an end of its own.
//!
//! After the end of a member comes another one, or the end of the file; after those of gzip and
//! xz also zeros, which tapes and the like add. Anything else is damage: it may be the rest of the
//! message. gzip(1) warns of it and goes on, Dovecot refuses it.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;

use super::source::{LARGEST_WINDOW, Source, damaged};

/// Reads gzip.
pub(super) struct Gzip(Option<Box<GzDecoder<Source>>>);

impl Gzip {
    pub(super) fn new(source: Source) -> Self {
        Self(Some(Box::new(GzDecoder::new(source))))
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
                    pass_zeros(source)?;
                    false
                }
                Some(0x1f) => true,
                Some(_) => return Err(damaged(SOMETHING_ELSE)),
            };
            let ended = self.0.take().map(|member| member.into_inner());
            self.0 = ended.filter(|_| more).map(|source| Box::new(GzDecoder::new(source)));
        }
    }
}

/// Reads bzip2.
pub(super) struct Bzip2(Option<Box<BzDecoder<Source>>>);

impl Bzip2 {
    pub(super) fn new(source: Source) -> Self {
        Self(Some(Box::new(BzDecoder::new(source))))
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
            let ended = self.0.take().map(|member| member.into_inner());
            self.0 = ended.filter(|_| more).map(|source| Box::new(BzDecoder::new(source)));
        }
    }
}

/// Reads xz.
pub(super) fn xz(source: Source) -> XzReader<Source> {
    XzReader::new_mem_limit(source, true, LARGEST_WINDOW / 1024 + XZ_OVERHEAD)
}

/// There is nothing but zeros up to the end.
fn pass_zeros(source: &mut Source) -> io::Result<()> {
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

/// What the decoder counts besides its dictionary, in KiB.
const XZ_OVERHEAD: u32 = 104;
