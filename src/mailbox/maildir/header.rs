//! Reading fields in the header of a message, without the rest of the message.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use memchr::memchr;
use tokio::time::Instant;

use super::compressed::{Contents, Decoder, Format};
use super::system::{duplicate, fstat, pread};

/// Reads the start of a message. Returns the number of octets; `None` if it cannot be decompressed
/// at any time.
///
/// # Errors
/// When it cannot be read now, or not in ten seconds.
pub(super) fn read(file: impl AsFd, head: &mut [u8]) -> io::Result<Option<usize>> {
    let (length, contents) = read_stored(&file, head)?;
    decompressed(PATIENCE, file, head, length, contents)
}

/// Reads the start of a message, if that takes but a moment. `None` if it does not, or if the message
/// cannot be read.
pub(super) fn read_quickly(file: impl AsFd, head: &mut [u8]) -> Option<usize> {
    match read_stored(&file, head).ok()? {
        // The first octets take as long as a block of nearly a megabyte.
        (_, Contents::Compressed(Format::Bzip2 | Format::Xz)) => None,
        (length, contents) => decompressed(MOMENT, file, head, length, contents).ok()?,
    }
}

/// Reads the start of a message as it is stored.
fn read_stored(file: impl AsFd, head: &mut [u8]) -> io::Result<(usize, Contents)> {
    // One read is enough.
    let length = pread(file, &mut *head, 0)?;
    Ok((length, Contents::of(head.get(..length).unwrap_or_default())))
}

fn decompressed(
    limit: Duration,
    file: impl AsFd,
    head: &mut [u8],
    length: usize,
    contents: Contents,
) -> io::Result<Option<usize>> {
    let format = match contents {
        Contents::Plain => return Ok(Some(length)),
        Contents::Unreadable(_) => return Ok(None),
        Contents::Compressed(format) => format,
    };
    let size = u64::try_from(fstat(&file)?.st_size).unwrap_or_default();
    let file = duplicate(&file)?;
    let start = Instant::now();
    match Decoder::within(limit, format, file, size).fill(head) {
        Ok(length) => Ok(Some(length)),
        // The file is damaged.
        Err(error) if error.kind() == io::ErrorKind::InvalidData && start.elapsed() < limit => {
            Ok(None)
        }
        Err(error) => Err(error),
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

/// The time limits for decompressing the start of a message. A block of bzip2 takes some 0.1 s, and
/// longer on a busy machine; a login that reads many of them must not fail because of one.
const PATIENCE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not read now may have the field.
    #[test]
    fn an_error_is_not_a_missing_field() {
        let mut head = [0; 64];
        let directory = std::fs::File::open("/").unwrap();
        assert!(read(&directory, &mut head).is_err());
        let damaged = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(damaged.path(), b"\x1f\x8bxxxx").unwrap();
        let mut within = |limit| {
            let (length, contents) = read_stored(damaged.as_file(), &mut head)?;
            decompressed(limit, damaged.as_file(), &mut head, length, contents)
        };
        assert_eq!(within(Duration::from_secs(60)).unwrap(), None);
        assert!(within(Duration::ZERO).is_err());
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
