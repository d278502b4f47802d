//! What was removed, as it is shown to a witness once nobody waits for it any more.
//!
//! - The Message-ID is read from the file while its last descriptor is still open: no name leads to it
//!   any more, and it costs the client no time.
//! - One that does not stand in the first [`HEAD`] bytes, or in a file that was not held, is left out.
//! - Whoever clears up a large maildrop shows so many messages at once that others would get no word
//!   in: such removals take turns, and pause.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::super::{Position, RemovalObserver, RemovedMessage};
use super::compressed::{Contents, Decoder, Format};
use super::open_maildrop::OpenMaildrop;
use super::removal::UnlinkedFiles;
use super::system::{duplicate, fstat, pread};
use memchr::memchr;

/// Messages that were removed. It holds no lock, so the next session need not wait for it.
#[derive(Debug)]
pub(super) struct RemovalReport(Vec<ReportEntry>);

#[derive(Debug)]
struct ReportEntry {
    at: Position,
    unique_id: Box<str>,
    octets: u64,
}

impl RemovalReport {
    /// Those at the given positions of a listing.
    pub(super) fn of(maildrop: &OpenMaildrop, unlinked: &BTreeSet<Position>) -> Self {
        let entry = |at: &Position| {
            let entry = maildrop.listing.entry(*at);
            let (unique_id, octets) = (entry.unique_id().as_str().into(), entry.sizes.octets);
            ReportEntry { at: *at, unique_id, octets }
        };
        Self(unlinked.iter().map(entry).collect())
    }

    /// Shows them, each with what can still be read of it.
    pub(super) fn notify(&self, unlinked_files: &UnlinkedFiles, observer: &RemovalObserver) {
        let mut head = vec![0; HEAD];
        for (nth, ReportEntry { at, unique_id, octets }) in self.0.iter().enumerate() {
            if nth > 0 && nth % BATCH == 0 {
                pause();
            }
            let file = unlinked_files.file(*at);
            let message_id = file.and_then(|file| read_message_id(file, &mut head));
            observer.notify(&RemovedMessage {
                unique_id,
                octets: *octets,
                message_id: message_id.as_deref(),
            });
        }
    }
}

/// Lets others have their turn; those who pause do so one after the other.
fn pause() {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    thread::park_timeout(PAUSE);
}

/// So many messages are shown at once, and so long is the pause after them: some 6000 a second, which
/// every log takes, however many removals there are at the same time.
const BATCH: usize = 256;
const PAUSE: Duration = Duration::from_millis(40);

fn read_message_id(file: &OwnedFd, head: &mut [u8]) -> Option<String> {
    let length = read_head(file, head)?;
    message_id(head.get(..length)?)
}

/// Reads how a message begins. What takes more than a moment to decompress is left alone.
fn read_head(file: &OwnedFd, head: &mut [u8]) -> Option<usize> {
    // What cannot be read in one go is as good as not there.
    let length = pread(file, &mut *head, 0).ok()?;
    match Contents::of(head.get(..length)?) {
        Contents::Plain => Some(length),
        Contents::Compressed(
            format @ (Format::Gzip | Format::Zstd | Format::Lz4 | Format::DovecotLz4),
        ) => {
            let size = u64::try_from(fstat(file).ok()?.st_size).ok()?;
            let file = duplicate(file).ok()?;
            Decoder::within(MOMENT, format, file, size).fill(head).ok()
        }
        Contents::Compressed(Format::Bzip2 | Format::Xz) | Contents::Unreadable(_) => None,
    }
}

/// The Message-ID in the first bytes of a message, if they are the header of one.
fn message_id(head: &[u8]) -> Option<String> {
    let mut rest = head;
    loop {
        let end = memchr(b'\n', rest)?;
        let (line, after) = rest.split_at_checked(end + 1)?;
        let line = line.trim_ascii_end();
        let colon = memchr(b':', line)?;
        let (name, value) = line.split_at_checked(colon)?;
        rest = after;
        if !name.trim_ascii_end().eq_ignore_ascii_case(b"message-id") {
            rest = skip_folded(rest)?;
            continue;
        }
        let value = match value.get(1..)?.trim_ascii_start() {
            [] => folded(rest)?,
            value => value,
        };
        let value = value.get(..LONGEST.min(value.len()))?;
        return Some(String::from_utf8_lossy(value).into_owned());
    }
}

/// What follows the lines that belong to the one before.
fn skip_folded(mut rest: &[u8]) -> Option<&[u8]> {
    while matches!(rest.first(), Some(b' ' | b'\t')) {
        rest = rest.get(memchr(b'\n', rest)? + 1..)?;
    }
    Some(rest)
}

/// The first line, if it belongs to the one before and is whole.
fn folded(rest: &[u8]) -> Option<&[u8]> {
    let line = rest.get(..memchr(b'\n', rest)?)?.trim_ascii();
    (matches!(rest.first(), Some(b' ' | b'\t')) && !line.is_empty()).then_some(line)
}

/// How long a message may take to be decompressed for that.
const MOMENT: Duration = Duration::from_millis(50);

/// How much of a message is read for that.
const HEAD: usize = 8 << 10;

/// How much of a Message-ID is shown; twice what any program makes.
const LONGEST: usize = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids() {
        for (head, expected) in [
            (&b"Message-ID: <1@example.org>\r\n\r\n"[..], Some("<1@example.org>")),
            (b"message-id:<1@example.org>\n", Some("<1@example.org>")),
            (b"Message-Id :  <1@example.org> \t\r\n", Some("<1@example.org>")),
            (b"Message-ID:\r\n\t<1@example.org>\r\n", Some("<1@example.org>")),
            (b"Subject: a\n b: c\n\td\nMESSAGE-ID: <1@a>\n", Some("<1@a>")),
            (b"Subject: a\n Message-ID: <1@a>\n\n", None),
            (b"Subject: a\n\nMessage-ID: <1@a>\n", None),
            (b"X-Message-ID: <1@a>\n\n", None),
            (b"Message-ID: <1@exam", None),
            (b"Message-ID:\n", None),
            (b"Message-ID:\n\n <1@a>\n", None),
            (b"\x1f\x8b\x08\nMessage-ID: <1@a>\n", None),
            (b"", None),
            (b"\n", None),
            (b"no header\n", None),
        ] {
            assert_eq!(message_id(head).as_deref(), expected, "{}", head.escape_ascii());
        }
        let long = [b"Message-ID: ".to_vec(), vec![b'x'; 900], b"\n".to_vec()].concat();
        assert_eq!(message_id(&long).unwrap().len(), LONGEST);
        assert_eq!(message_id(b"Message-ID: \xff\n").as_deref(), Some("\u{fffd}"));
    }
}
