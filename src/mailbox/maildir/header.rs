//! Reading fields in the header of a message, without the rest of the message.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use memchr::memchr;
use tokio::time::Instant;

use super::compressed::{Contents, Decoder, Format};
use super::system::{duplicate, fstat, pread};

/// Reads the start of a message. Returns the number of octets; `None` if it cannot be read, or
/// takes too long to decompress.
pub(super) fn read(file: impl AsFd, head: &mut [u8]) -> Option<usize> {
    read_within(MOMENT, file, head).ok().flatten()
}

/// Reads the start of a message. Returns the number of octets; `None` if it cannot be decompressed
/// at any time.
///
/// # Errors
/// When it cannot be read now, or not in this time.
pub(super) fn read_within(
    limit: Duration,
    file: impl AsFd,
    head: &mut [u8],
) -> io::Result<Option<usize>> {
    // One read is enough.
    let length = pread(&file, &mut *head, 0)?;
    match Contents::of(head.get(..length).unwrap_or_default()) {
        Contents::Plain => Ok(Some(length)),
        Contents::Compressed(
            format @ (Format::Gzip | Format::Zstd | Format::Lz4 | Format::DovecotLz4),
        ) => {
            let size = u64::try_from(fstat(&file)?.st_size).unwrap_or_default();
            let file = duplicate(&file)?;
            let start = Instant::now();
            match Decoder::within(limit, format, file, size).fill(head) {
                Ok(length) => Ok(Some(length)),
                // The file is damaged.
                Err(error)
                    if error.kind() == io::ErrorKind::InvalidData && start.elapsed() < limit =>
                {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        }
        Contents::Compressed(Format::Bzip2 | Format::Xz) | Contents::Unreadable(_) => Ok(None),
    }
}

/// The value of the first field with this name, in lower case, in the header at the start of a
/// message. Of a folded value, it is the first line that is not empty.
pub(super) fn field<'a>(head: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut rest = head;
    loop {
        let end = memchr(b'\n', rest)?;
        let (line, after) = rest.split_at_checked(end + 1)?;
        let line = line.trim_ascii_end();
        let colon = memchr(b':', line)?;
        let (name, value) = line.split_at_checked(colon)?;
        rest = after;
        if !name.trim_ascii_end().eq_ignore_ascii_case(wanted) {
            rest = skip_folded(rest)?;
            continue;
        }
        return match value.get(1..)?.trim_ascii_start() {
            [] => folded(rest),
            value => Some(value),
        };
    }
}

/// Skips folded lines.
fn skip_folded(mut rest: &[u8]) -> Option<&[u8]> {
    while matches!(rest.first(), Some(b' ' | b'\t')) {
        rest = rest.get(memchr(b'\n', rest)? + 1..)?;
    }
    Some(rest)
}

/// The first line, if it is a folded one and complete.
fn folded(rest: &[u8]) -> Option<&[u8]> {
    let line = rest.get(..memchr(b'\n', rest)?)?.trim_ascii();
    (matches!(rest.first(), Some(b' ' | b'\t')) && !line.is_empty()).then_some(line)
}

/// The octets at the start of a message in which its header is searched.
pub(super) const LONGEST: usize = 64 << 10;

/// The time limit for decompressing the start of a message.
const MOMENT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not read now may have the field.
    #[test]
    fn an_error_is_not_a_missing_field() {
        let mut head = [0; 64];
        let directory = std::fs::File::open("/").unwrap();
        assert!(read_within(MOMENT, &directory, &mut head).is_err());
        let damaged = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(damaged.path(), b"\x1f\x8bxxxx").unwrap();
        let time = Duration::from_secs(60);
        assert_eq!(read_within(time, damaged.as_file(), &mut head).unwrap(), None);
        assert!(read_within(Duration::ZERO, damaged.as_file(), &mut head).is_err());
    }

    #[test]
    fn the_first_field_of_a_name_counts() {
        let head = b"X-UIDLs: other\nX-Uidl:  one \r\nX-UIDL: two\nX-Empty:\nX-Folded:\n\ta b\n\n";
        for (name, expected) in [
            (&b"x-uidl"[..], Some(&b"one"[..])),
            (b"x-empty", None),
            (b"x-folded", Some(b"a b")),
            (b"subject", None),
        ] {
            assert_eq!(field(head, name), expected, "{}", name.escape_ascii());
        }
    }
}
