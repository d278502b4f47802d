//! lz4: frames, and Dovecot's own format, which is older.
//!
//! `lz4_flex` decompresses the blocks. Its frame reader accepts a file that is truncated between
//! two blocks; so the frames are parsed here, and their end is checked.
//!
//! Dovecot's format has neither an end mark nor a checksum: a file that is truncated between two
//! chunks looks complete, to Dovecot as well.

use std::hash::Hasher;
use std::io::{self, Read};

use lz4_flex::block::decompress_into_with_dict;
use twox_hash::XxHash32;

use super::source::{Source, damaged};

/// Reads frames of lz4.
///
/// ```abnf
/// frame  = magic flags sizes [content-size] header-checksum *block end [content-checksum]
/// block  = length data [block-checksum]   ; the highest bit of the length: not compressed
/// end    = %x00.00.00.00
/// ```
pub(super) struct Lz4 {
    source: Source,
    frame: Option<Frame>,
    blocks: Blocks,
}

/// A frame that is being read.
struct Frame {
    largest_block: usize,
    /// Blocks refer to the contents of earlier blocks.
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    given: u64,
    hash: XxHash32,
}

impl Lz4 {
    pub(super) fn new(source: Source) -> Self {
        Self { source, frame: None, blocks: Blocks::default() }
    }

    fn begin(&mut self) -> io::Result<()> {
        match self.source.number()? {
            FRAME => {
                self.frame = Some(Frame::read(&mut self.source)?);
                self.blocks.forget();
                Ok(())
            }
            SKIPPED..=LAST_SKIPPED => {
                let length = self.source.number()?;
                self.source.skip(length)
            }
            _ => Err(damaged("something else after the end of a frame")),
        }
    }
}

impl Read for Lz4 {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.blocks.give(buffer);
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match &mut self.frame {
                None if self.source.is_at_end()? => return Ok(0),
                None => self.begin()?,
                Some(frame) => {
                    if !frame.read_block(&mut self.source, &mut self.blocks)? {
                        self.frame = None;
                    }
                }
            }
        }
    }
}

impl Frame {
    /// Reads the header, after its magic number.
    fn read(source: &mut Source) -> io::Result<Self> {
        let mut header = Vec::with_capacity(LONGEST_HEADER);
        let mut more = |header: &mut Vec<u8>, length: usize| {
            let start = header.len();
            header.resize(start + length, 0);
            source.read_exact(header.get_mut(start..).unwrap_or_default())
        };
        more(&mut header, 2)?;
        let [flags, sizes] = *header.as_slice() else { return Err(damaged("no header")) };
        if flags & 0b1100_0010 != 0b0100_0000 || sizes & 0b1000_1111 != 0 {
            return Err(damaged("another version of the format"));
        }
        if flags & 1 != 0 {
            return Err(damaged("it needs a dictionary, which is not here"));
        }
        let content_size = if flags & 0b1000 == 0 {
            None
        } else {
            more(&mut header, 8)?;
            header.last_chunk().map(|size| u64::from_le_bytes(*size))
        };
        let checksum = XxHash32::oneshot(0, &header).to_le_bytes()[1];
        more(&mut header, 1)?;
        if header.last() != Some(&checksum) {
            return Err(damaged("the checksum of a header is wrong"));
        }
        let largest_block = match sizes >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err(damaged("another size of blocks")),
        };
        Ok(Self {
            largest_block,
            linked: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: flags & 0b100 != 0,
            content_size,
            given: 0,
            hash: XxHash32::with_seed(0),
        })
    }

    /// Reads the next block. Returns false at the end mark.
    fn read_block(&mut self, source: &mut Source, blocks: &mut Blocks) -> io::Result<bool> {
        let word = source.number()?;
        if word == 0 {
            self.end(source)?;
            return Ok(false);
        }
        let length = (word & !UNCOMPRESSED) as usize;
        if length > self.largest_block {
            return Err(damaged("a block is too big"));
        }
        blocks.read_stored(source, length)?;
        if self.block_checksums && source.number()? != XxHash32::oneshot(0, &blocks.stored) {
            return Err(damaged("the checksum of a block is wrong"));
        }
        if word & UNCOMPRESSED == 0 {
            blocks.decompress(self.largest_block)?;
        } else {
            blocks.copy();
        }
        let content = blocks.rest();
        self.given = self.given.saturating_add(content.len() as u64);
        if self.content_checksum {
            self.hash.write(content);
        }
        if self.linked {
            blocks.remember();
        }
        Ok(true)
    }

    fn end(&mut self, source: &mut Source) -> io::Result<()> {
        if self.content_size.is_some_and(|size| size != self.given) {
            return Err(damaged("a frame is not as long as it says"));
        }
        if self.content_checksum && source.number()? != self.hash.finish_32() {
            return Err(damaged("the checksum is wrong"));
        }
        Ok(())
    }
}

/// Reads what Dovecot writes.
///
/// ```abnf
/// file  = magic largest *chunk     ; largest: of a chunk when it is decompressed
/// chunk = length data              ; numbers have four octets, the highest first
/// ```
pub(super) struct DovecotLz4 {
    source: Source,
    /// `None` until the header has been read.
    largest: Option<usize>,
    blocks: Blocks,
}

impl DovecotLz4 {
    pub(super) fn new(source: Source) -> Self {
        Self { source, largest: None, blocks: Blocks::default() }
    }

    fn number(&mut self) -> io::Result<usize> {
        let number = self.source.number()?.swap_bytes() as usize;
        if number > LARGEST_CHUNK {
            return Err(damaged("a chunk is too big"));
        }
        Ok(number)
    }
}

impl Read for DovecotLz4 {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.blocks.give(buffer);
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let Some(largest) = self.largest else {
                let mut magic = [0; DOVECOT_MAGIC.len()];
                self.source.read_exact(&mut magic)?;
                self.largest = Some(self.number()?);
                continue;
            };
            if self.source.is_at_end()? {
                return Ok(0);
            }
            let length = self.number()?;
            self.blocks.read_stored(&mut self.source, length)?;
            self.blocks.decompress(largest)?;
        }
    }
}

/// The current block.
#[derive(Default)]
struct Blocks {
    /// Its bytes in the file.
    stored: Vec<u8>,
    /// The decompressed bytes. Never shrunk.
    content: Vec<u8>,
    length: usize,
    given: usize,
    /// The last decompressed bytes before it, to which a linked block may refer.
    history: Vec<u8>,
}

impl Blocks {
    fn read_stored(&mut self, source: &mut Source, length: usize) -> io::Result<()> {
        self.stored.resize(length, 0);
        source.read_exact(&mut self.stored)
    }

    fn decompress(&mut self, most: usize) -> io::Result<()> {
        if self.content.len() < most {
            self.content.resize(most, 0);
        }
        let room = self.content.get_mut(..most).unwrap_or_default();
        let length = decompress_into_with_dict(&self.stored, room, &self.history);
        self.length = length.map_err(damaged)?;
        self.given = 0;
        Ok(())
    }

    /// Takes a block that is not compressed.
    fn copy(&mut self) {
        self.length = self.stored.len();
        self.given = 0;
        if self.content.len() < self.length {
            self.content.resize(self.length, 0);
        }
        let room = self.content.get_mut(..self.length).unwrap_or_default();
        room.copy_from_slice(&self.stored);
    }

    /// Copies as many bytes as there are and as fit.
    fn give(&mut self, buffer: &mut [u8]) -> usize {
        let rest = self.rest();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        self.given += length;
        length
    }

    /// The bytes that have not been copied.
    fn rest(&self) -> &[u8] {
        self.content.get(self.given..self.length).unwrap_or_default()
    }

    /// Keeps the bytes to which the next block may refer.
    fn remember(&mut self) {
        let content = self.content.get(..self.length).unwrap_or_default();
        let recent = content.len().saturating_sub(HISTORY);
        self.history.extend_from_slice(content.get(recent..).unwrap_or_default());
        let old = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..old);
    }

    fn forget(&mut self) {
        self.history.clear();
    }
}

/// The first bytes of Dovecot's files.
pub(super) const DOVECOT_MAGIC: &[u8; 15] = b"Dovecot-LZ4\x0d\x2a\x9b\xc5";

const FRAME: u32 = 0x184d_2204;
/// Skippable frames have magic numbers from this one to the next.
const SKIPPED: u32 = 0x184d_2a50;
const LAST_SKIPPED: u32 = SKIPPED + 0xf;

const UNCOMPRESSED: u32 = 1 << 31;

/// The longest distance of a match.
const HISTORY: usize = 64 << 10;

/// The limit of Dovecot.
const LARGEST_CHUNK: usize = 1 << 20;

const LONGEST_HEADER: usize = 16;
