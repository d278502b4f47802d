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
use super::header;
use super::open_maildrop::OpenMaildrop;
use super::removal::UnlinkedFiles;
use crate::protocol::UniqueId;

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
        let removed = maildrop.messages().filter(|(at, _)| unlinked.contains(at));
        let entry = |(at, unique_id): (Position, UniqueId<'_>)| {
            let octets = maildrop.listing.entry(at).sizes.octets;
            ReportEntry { at, unique_id: unique_id.as_str().into(), octets }
        };
        Self(removed.map(entry).collect())
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
    let length = header::read_quickly(file, head)?;
    message_id(head.get(..length)?)
}

/// The Message-ID in the header at the start of a message.
fn message_id(head: &[u8]) -> Option<String> {
    let value = header::field(head, b"message-id")?;
    let value = value.get(..LONGEST.min(value.len()))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

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
