//! Reporting removed messages to an observer, after the client has got its reply.
//!
//! - The Message-ID is read from the unlinked file through the descriptor that is still open. That
//!   costs the client no time.
//! - A Message-ID that is not in the first [`HEAD`] bytes, or whose file is not open, is left out.
//! - Reports of many messages take turns and pause, so that they do not flood the log.

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

/// Messages that were removed. Holds no lock, so the next session does not wait for it.
#[derive(Debug)]
pub(super) struct RemovalReport(Vec<ReportEntry>);

#[derive(Debug)]
struct ReportEntry {
    at: Position,
    unique_id: Box<str>,
    octets: u64,
}

impl RemovalReport {
    /// The messages at the given positions.
    pub(super) fn of(maildrop: &OpenMaildrop, unlinked: &BTreeSet<Position>) -> Self {
        let entry = |at: &Position| {
            let entry = maildrop.listing.entry(*at);
            let (unique_id, octets) = (entry.unique_id().as_str().into(), entry.sizes.octets);
            ReportEntry { at: *at, unique_id, octets }
        };
        Self(unlinked.iter().map(entry).collect())
    }

    /// Passes each message to the observer, with its Message-ID if that can be read.
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

/// Pauses. Concurrent reports pause one after the other.
fn pause() {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    thread::park_timeout(PAUSE);
}

/// The number of messages between two pauses, and the length of a pause: some 6000 messages a
/// second for all reports together, which any log can take.
const BATCH: usize = 256;
const PAUSE: Duration = Duration::from_millis(40);

fn read_message_id(file: &OwnedFd, head: &mut [u8]) -> Option<String> {
    let length = read_head(file, head)?;
    message_id(head.get(..length)?)
}

/// Reads the start of a message; `None` if it takes too long to decompress.
fn read_head(file: &OwnedFd, head: &mut [u8]) -> Option<usize> {
    // One read is enough.
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

/// The Message-ID in the header at the start of a message.
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

/// The time limit for decompressing the start of a message.
const MOMENT: Duration = Duration::from_millis(50);

/// The number of bytes read for the Message-ID.
const HEAD: usize = 8 << 10;

/// The longest Message-ID that is reported in full: twice as long as programs make them.
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
