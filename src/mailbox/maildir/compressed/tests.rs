//! Complete and damaged files of every format. The tools and Dovecot made the fixtures; the
//! encoders of the crates make all other files.

use std::fs;
use std::io::Write;
use std::path::Path;

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use lzma_rust2::{XzOptions, XzWriter};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const FORMATS: [Format; 6] =
    [Format::Gzip, Format::Bzip2, Format::Xz, Format::Zstd, Format::Lz4, Format::DovecotLz4];

pub(in super::super) fn encoded(format: Format, contents: &[u8]) -> Vec<u8> {
    match format {
        Format::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(contents).unwrap();
            encoder.finish().unwrap()
        }
        Format::Bzip2 => {
            let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(contents).unwrap();
            encoder.finish().unwrap()
        }
        Format::Xz => {
            let mut encoder = XzWriter::new(Vec::new(), XzOptions::with_preset(0)).unwrap();
            encoder.write_all(contents).unwrap();
            encoder.finish().unwrap()
        }
        Format::Zstd => compress_to_vec(contents, CompressionLevel::Fastest),
        Format::Lz4 => lz4(BlockMode::Linked, contents),
        Format::DovecotLz4 => {
            let mut bytes = [&lz4::DOVECOT_MAGIC[..], &[0, 1, 0, 0]].concat();
            for chunk in contents.chunks(64 << 10) {
                let data = lz4_flex::block::compress(chunk);
                bytes.extend_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(&data);
            }
            bytes
        }
    }
}

fn lz4(mode: BlockMode, contents: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(mode)
        .block_checksums(true)
        .content_checksum(true)
        .content_size(Some(contents.len() as u64));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn to_end(mut decoder: Decoder) -> io::Result<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 10_000]);
    loop {
        let length = decoder.fill(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..length]);
        if length < buffer.len() {
            return Ok(bytes);
        }
    }
}

fn decoded(format: Format, bytes: &[u8]) -> io::Result<Vec<u8>> {
    to_end(Decoder::new(format, file(bytes), bytes.len() as u64))
}

/// The error when some bytes are not a message.
fn refusal(format: Format, bytes: &[u8]) -> String {
    let error = decoded(format, bytes).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    error.to_string()
}

/// Text with near and distant repetitions.
fn text(length: usize) -> Vec<u8> {
    let lines =
        (0..).flat_map(|line: u32| format!("line {}\r\n.{line}\n", line % 700).into_bytes());
    lines.take(length).collect()
}

/// Bytes that no encoder can compress.
pub(in super::super) fn noise(length: usize) -> Vec<u8> {
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some(state.to_be_bytes()[0])
    };
    (0..length).scan(1, |state, _| next(state)).collect()
}

/// The messages of a fixture, by their numbers.
fn fixture(name: &str) -> Vec<(u32, Vec<u8>)> {
    let maildir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/maildirs").join(name);
    let mut messages = Vec::new();
    for folder in ["new", "cur"] {
        for entry in fs::read_dir(maildir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if let Some((number, _)) = name.split_once('.').filter(|(number, _)| !number.is_empty())
            {
                messages.push((number.parse::<u32>().unwrap(), fs::read(&path).unwrap()));
            }
        }
    }
    messages.sort();
    messages
}

#[test]
fn files_of_the_tools_and_of_dovecot_are_read() {
    let plain = fixture("awkward");
    let mut seen = Vec::new();
    for (number, bytes) in fixture("compressed") {
        let Contents::Compressed(format) = Contents::of(&bytes) else { panic!("{number}") };
        let expected = plain.iter().find(|(of, _)| *of == number);
        // The files without a counterpart in `awkward` were written by Dovecot.
        let by_dovecot = &b"Subject: written by Dovecot\n\n.dot\nno line end"[..];
        let expected = expected.map_or(by_dovecot, |(_, contents)| contents);
        let contents = decoded(format, &bytes).unwrap();
        assert_eq!(contents.escape_ascii().to_string(), expected.escape_ascii().to_string());
        seen.push(format);
    }
    assert!(FORMATS.iter().all(|format| seen.contains(format)));
}

#[test]
fn files_that_cannot_be_read_have_a_reason() {
    let reasons = [
        "",
        "gzip that is cut short",
        "encrypted by the mail-crypt plugin of Dovecot",
        "damaged bzip2: ",
        "zstd with a window of more than 128 MiB, which is not taken",
        "xz with a window of more than 128 MiB, which is not taken",
        "damaged zstd: ",
        "compressed in the legacy format of lz4, which has no end",
        "damaged gzip: something else after its end",
    ];
    for ((number, bytes), reason) in fixture("unreadable").iter().zip(reasons) {
        let said = match Contents::of(bytes) {
            Contents::Plain => panic!("{number}"),
            Contents::Compressed(format) => {
                decoded(format, bytes).map_or_else(|error| error.to_string(), |_| String::new())
            }
            Contents::Unreadable(why) => why.to_owned(),
        };
        assert!(said.starts_with(reason) && said.is_empty() == reason.is_empty(), "{said}");
    }
}

#[test]
fn files_without_a_known_format_are_messages() {
    let plain: [&[u8]; 9] = [
        b"",
        b"\x1f",
        b"Received: from x\n",
        b"BZh is how bzip2 begins\n",
        b"BZh91AY\n",
        b"Dovecot-LZ4 is a format\n",
        b"CRYPTED\n",
        b"PK\x03\x04",
        b"(\xb5/",
    ];
    for bytes in plain {
        assert_eq!(Contents::of(bytes), Contents::Plain, "{}", bytes.escape_ascii());
    }
}

#[test]
fn every_format_is_known_by_its_first_bytes_and_gives_its_contents_back() {
    for format in FORMATS {
        for length in [0, 1, 9_999, 10_000, 70_000, 300_000] {
            let contents = text(length);
            let bytes = encoded(format, &contents);
            assert_eq!(Contents::of(&bytes), Contents::Compressed(format));
            assert!(decoded(format, &bytes).unwrap() == contents, "{format} of {length}");
        }
    }
    let independent = lz4(BlockMode::Independent, &text(300_000));
    assert!(decoded(Format::Lz4, &independent).unwrap() == text(300_000));
}

#[test]
fn all_members_of_a_file_are_read() {
    for format in FORMATS.into_iter().filter(|format| *format != Format::DovecotLz4) {
        let parts = [text(5), Vec::new(), text(100_000), text(1)];
        let bytes = parts.iter().flat_map(|part| encoded(format, part)).collect::<Vec<_>>();
        assert!(decoded(format, &bytes).unwrap() == parts.concat(), "{format}");
    }
}

/// Skippable frames, and zeros where tools add them.
#[test]
fn skippable_frames_and_zeros_are_skipped() {
    let skipped = [&[0x5a, 0x2a, 0x4d, 0x18][..], &40_000_u32.to_le_bytes(), &[7; 40_000]].concat();
    let zstd = encoded(Format::Zstd, b"a message\n");
    let bytes = [&skipped[..], &zstd, &skipped, &zstd].concat();
    assert_eq!(Contents::of(&bytes), Contents::Compressed(Format::Zstd));
    assert_eq!(decoded(Format::Zstd, &bytes).unwrap(), b"a message\na message\n");
    let bytes = [&encoded(Format::Lz4, b"a message\n")[..], &skipped].concat();
    assert_eq!(decoded(Format::Lz4, &bytes).unwrap(), b"a message\n");
    assert_eq!(refusal(Format::Lz4, &bytes[..bytes.len() - 1]), "lz4 that is cut short");

    for (format, zeros) in [(Format::Gzip, 1), (Format::Gzip, 100_000), (Format::Xz, 4)] {
        let mut bytes = encoded(format, b"a message\n");
        bytes.resize(bytes.len() + zeros, 0);
        assert_eq!(decoded(format, &bytes).unwrap(), b"a message\n");
        bytes.push(1);
        assert!(refusal(format, &bytes).starts_with("damaged"));
    }
}

/// A truncated file is an error, not a shorter message. The end of a member is the exception: a
/// truncation there cannot be detected.
#[test]
fn a_file_that_is_cut_is_not_a_message() {
    for format in FORMATS {
        let contents = text(300);
        let bytes = encoded(format, &contents);
        let first = if format == Format::DovecotLz4 { 16 } else { 6 };
        for length in first..bytes.len() {
            match decoded(format, &bytes[..length]) {
                // After the header, or without one more chunk.
                Ok(rest) => assert!(format == Format::DovecotLz4 && rest.is_empty(), "{length}"),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}"),
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_not_a_message() {
    for format in FORMATS {
        let bytes = encoded(format, &noise(200_000));
        let file = file(&bytes);
        let decoder = Decoder::new(format, file.try_clone().unwrap(), bytes.len() as u64);
        file.set_len(bytes.len() as u64 / 2).unwrap();
        let error = to_end(decoder).map(|rest| rest.len()).unwrap_err();
        assert_eq!(error.to_string(), format!("{format} that is cut short"));
    }
}

/// Such an error is not about the contents of the file, and must not look like one that is.
#[test]
fn an_error_of_the_system_stays_one() {
    for format in FORMATS {
        let directory = File::open("/").unwrap();
        let error = to_end(Decoder::new(format, directory, 1000)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory, "{format}: {error}");
    }
}

#[test]
fn decompression_has_a_time_limit() {
    for format in FORMATS {
        let bytes = encoded(format, &text(100));
        let decoder = Decoder::within(Duration::ZERO, format, file(&bytes), bytes.len() as u64);
        let error = to_end(decoder).unwrap_err();
        assert_eq!(error.to_string(), format!("{format} that takes too long to decompress"));
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let decoder =
            Decoder::within(Duration::from_secs(600), format, file(&bytes), bytes.len() as u64);
        assert_eq!(to_end(decoder).unwrap(), text(100));
    }
}

#[test]
fn invalid_headers_of_lz4_are_refused() {
    let frame = |flags: u8, sizes: u8| {
        let header = [flags, sizes];
        let checksum = twox_hash::XxHash32::oneshot(0, &header).to_le_bytes()[1];
        [&[0x04, 0x22, 0x4d, 0x18][..], &header, &[checksum]].concat()
    };
    for (bytes, why) in [
        (frame(0b1000_0000, 0x40), "another version of the format"),
        (frame(0b0100_0010, 0x40), "another version of the format"),
        (frame(0b0100_0001, 0x40), "it needs a dictionary, which is not here"),
        (frame(0b0100_0000, 0x30), "another size of blocks"),
        ([frame(0b0110_0000, 0x40), vec![1, 0, 1, 0x80]].concat(), "a block is too big"),
        ([frame(0b0110_0000, 0x40), vec![0; 4], b"more".to_vec()].concat(), "something else after"),
    ] {
        let said = refusal(Format::Lz4, &bytes);
        assert!(said.starts_with(&format!("damaged lz4: {why}")), "{said}");
    }
    let huge = [&lz4::DOVECOT_MAGIC[..], &[0, 16, 0, 1]].concat();
    assert_eq!(refusal(Format::DovecotLz4, &huge), "damaged Dovecot's lz4: a chunk is too big");
}

/// The formats with a checksum that their encoder writes.
const CHECKED: [Format; 4] = [Format::Gzip, Format::Bzip2, Format::Xz, Format::Lz4];

proptest! {
    #[test]
    fn any_contents_come_back(
        contents in vec(any::<u8>(), 0..3000),
        more in vec(0_u8..4, 0..3000),
        format in proptest::sample::select(&FORMATS[..]),
    ) {
        let contents = [contents, more].concat();
        prop_assert_eq!(decoded(format, &encoded(format, &contents)).unwrap(), contents);
    }

    /// A changed file is an error, or still the same message.
    #[test]
    fn a_damaged_file_is_never_another_message(
        length in 0_usize..2000,
        format in proptest::sample::select(&CHECKED[..]),
        at in any::<Index>(),
        bit in 0_u32..8,
    ) {
        let contents = text(length);
        let mut bytes = encoded(format, &contents);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        // The time and the system in a gzip header are not checked.
        if let Ok(read) = decoded(format, &bytes) {
            prop_assert_eq!(read, contents);
        }
    }

    /// Any bytes can follow the first ones: decoding ends, without a panic.
    #[test]
    fn any_bytes_can_be_read(
        length in 0_usize..400,
        format in proptest::sample::select(&FORMATS[..]),
        kept in any::<Index>(),
        junk in vec(any::<u8>(), 0..200),
        splices in vec((any::<Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = encoded(format, &text(length));
        bytes.truncate(kept.index(bytes.len()) + 1);
        bytes.extend(junk);
        for (at, byte) in splices {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Err(error) = decoded(format, &bytes) {
            prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
