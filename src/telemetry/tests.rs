//! Logging from the event to the bytes that reach the sink.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tracing::{debug, error, info, info_span, warn};

use super::*;
use crate::protocol::is_invisible;

const FORMS: [Form; 3] = [Form::Text, Form::Json, Form::Journald];

/// Everything that must not reach a sink as it is.
const HOSTILE: &str = "a\r\n<3>b\x1b[31m\x07\x08\x7f\u{9b}31m\u{202e}\u{2028}\u{200b}\u{e0041}\0\t";

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The output of the sink after `events` are logged.
fn logged(form: Form, level: LogLevel, events: impl FnOnce(&Guard)) -> String {
    let memory = Memory::default();
    let (dispatch, guard) = prepare(form, level, false, 1_000, memory.clone()).unwrap();
    tracing::dispatcher::with_default(&dispatch, || events(&guard));
    drop(guard);
    let bytes = memory.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    String::from_utf8(bytes).expect("logs are UTF-8")
}

#[test]
fn hostile_text_reaches_the_sink_escaped() {
    for form in FORMS {
        let log = logged(form, LogLevel::Info, |_| {
            let _span = info_span!("session", peer = %HOSTILE, user = HOSTILE).entered();
            info!("message {HOSTILE}");
            info!(display = %HOSTILE, debug = ?HOSTILE, text = HOSTILE, "fields");
            let error = io::Error::other(HOSTILE);
            error!(error = &error as &dyn std::error::Error, "failed");
        });
        assert_eq!(log.lines().count(), 3, "{form:?}: {log}");
        assert!(log.ends_with('\n'));
        let raw: Vec<char> = log.chars().filter(|&c| c != '\n' && is_invisible(c)).collect();
        assert!(raw.is_empty(), "{form:?}: {raw:?} in {log}");
    }
}

#[test]
fn no_value_makes_an_endless_line() {
    let (plain, hostile) = ("é".repeat(1_000_000), "\x1b\"\\\u{202e}".repeat(1_000_000));
    for form in FORMS {
        let log = logged(form, LogLevel::Info, |_| {
            let _span = info_span!("session", user = %plain).entered();
            info!(display = %plain, debug = ?hostile, text = hostile, after = 7, "said {hostile}");
        });
        assert!(log.len() < 200_000, "{form:?}: {}", log.len());
        assert!(log.contains('…') && log.contains("after"), "{form:?}");
        if let Form::Json = form {
            let object: serde_json::Value = serde_json::from_str(&log).unwrap();
            assert_eq!(object["after"], 7);
            let display = object["display"].as_str().unwrap();
            assert_eq!(display, format!("{}…", "é".repeat(2048)));
        }
    }
}

#[test]
fn json_has_all_fields() {
    let log = logged(Form::Json, LogLevel::Info, |_| {
        let _span = info_span!("session", peer = %HOSTILE).entered();
        info!(user = HOSTILE, octets = 320_u64, "ended {HOSTILE}");
    });
    let object: serde_json::Value = serde_json::from_str(&log).expect("a line is an object");
    assert_eq!(object["message"], format!("ended {HOSTILE}"));
    assert_eq!(object["user"], HOSTILE);
    assert_eq!(object["octets"], 320);
    assert_eq!(object["level"], "INFO");
    assert_eq!(object["spans"][0]["peer"], HOSTILE);
    assert!(object["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{log}");
}

#[test]
fn a_value_cannot_add_fields() {
    let log = logged(Form::Journald, LogLevel::Info, |_| {
        let _span = info_span!("session", peer = "192.0.2.1:995").entered();
        info!(user = %"mrose why=quit", other = %r#""a" why="b""#, quoted = ?"a b", "ended");
    });
    assert_eq!(
        log,
        "<6>session{peer=192.0.2.1:995}: ended user=\"mrose why=quit\" \
         other=\"\\\"a\\\" why=\\\"b\\\"\" quoted=\"a b\"\n"
    );
}

#[test]
fn a_journal_entry_has_the_line_and_its_fields() {
    let log = logged(Form::JournalEntry, LogLevel::Info, |_| {
        let span = info_span!("session", peer = "192.0.2.1:995", user = tracing::field::Empty);
        let _entered = span.enter();
        info!(octets = 320_u64, reply = "-ERR [AUTH] no", "ended");
        span.record("user", "mrose");
        warn!("again");
    });
    assert_eq!(
        log,
        "PRIORITY=6\nSYSLOG_IDENTIFIER=restante\nRESTANTE_PEER=192.0.2.1:995\n\
         MESSAGE=session{peer=192.0.2.1:995}: ended octets=320 reply=\"-ERR [AUTH] no\"\n\
         RESTANTE_OCTETS=320\nRESTANTE_REPLY=-ERR [AUTH] no\n\
         PRIORITY=4\nSYSLOG_IDENTIFIER=restante\n\
         RESTANTE_PEER=192.0.2.1:995\nRESTANTE_USER=mrose\n\
         MESSAGE=session{peer=192.0.2.1:995 user=mrose}: again\n"
    );
}

#[test]
fn hostile_text_cannot_add_fields_to_a_journal_entry() {
    let log = logged(Form::JournalEntry, LogLevel::Info, |_| {
        let _span = info_span!("session", peer = %HOSTILE, user = "a\nPRIORITY=0").entered();
        info!(display = %"a\n_UID=0", debug = ?HOSTILE, text = HOSTILE, "message {HOSTILE}\nA=b");
    });
    let keys: Vec<_> = log.lines().map(|line| line.split_once('=').unwrap().0).collect();
    let fields = ["PEER", "USER", "MESSAGE", "DISPLAY", "DEBUG", "TEXT"]
        .map(|name| if name == "MESSAGE" { name.to_owned() } else { format!("RESTANTE_{name}") });
    assert_eq!(keys[..2], ["PRIORITY", "SYSLOG_IDENTIFIER"]);
    assert_eq!(keys[2..], fields);
    assert!(!log.chars().any(|c| c != '\n' && is_invisible(c)), "{log}");
}

#[test]
fn each_entry_is_a_datagram_and_one_that_is_too_long_is_counted_as_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    assert!(Journal::open(&path).is_err());
    let socket = UnixDatagram::bind(&path).unwrap();
    let journal = Journal::open(&path).unwrap();
    let (dispatch, guard) =
        prepare(Form::JournalEntry, LogLevel::Info, false, 100, journal).unwrap();
    let mut datagram = vec![0; 1 << 20];
    let mut next = || {
        let octets = socket.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..octets].to_vec()).unwrap()
    };
    let heading = journal::heading(6);
    tracing::dispatcher::with_default(&dispatch, || {
        info!("first");
        // Many times as long as the longest command.
        info!(text = "x".repeat(64 << 10), "second");
        // Each value is short enough, but all together are too long.
        let spans: Vec<_> =
            (0..100).map(|_| info_span!("span", text = "x".repeat(4096)).entered()).collect();
        info!("third");
        spans.into_iter().rev().for_each(drop);
        info!("fourth");
    });
    assert_eq!(next(), format!("{heading}MESSAGE=first\n"));
    assert!(next().contains("MESSAGE=second "));
    assert_eq!(next(), format!("{heading}MESSAGE=fourth\n"));
    let lost = next();
    assert!(lost.starts_with("PRIORITY=4\n") && lost.ends_with("\nRESTANTE_LOST=1\n"), "{lost}");
    drop(guard);
}

#[test]
fn dropping_the_guard_waits_until_the_journal_has_read_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut journal = Journal::open(&path).unwrap();
    let unread = journal.unread().unwrap();
    let (begin, begun) = mpsc::channel();
    let journald = socket.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let mut entries = Vec::new();
        begun.recv().unwrap();
        let mut datagram = [0; 4096];
        loop {
            let octets = journald.recv(&mut datagram).unwrap();
            match &datagram[..octets] {
                entry if entry.iter().all(|&octet| octet == b'\n') => return entries,
                entry => entries.push(entry.to_vec()),
            }
        }
    });
    // No more than the system queues (net.unix.max_dgram_qlen).
    for number in 0..8 {
        journal.write_all(format!("MESSAGE={number}\n").as_bytes()).unwrap();
    }
    begin.send(()).unwrap();
    drop(unread);
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.recv(&mut [0; 4096]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(reading.join().unwrap().len(), 8);
}

#[test]
fn text_has_time_and_level_and_journald_the_priority() {
    let log = |form| {
        logged(form, LogLevel::Debug, |_| {
            error!("one");
            warn!("two");
            info!(octets = 320, "three");
            debug!("four");
        })
    };
    assert_eq!(log(Form::Journald), "<3>one\n<4>two\n<6>three octets=320\n<7>four\n");
    let text = log(Form::Text);
    for (line, rest) in text.lines().zip(["ERROR one", " WARN two", " INFO three octets=320"]) {
        let (time, shown) = line.split_at(27);
        assert!(time.ends_with('Z') && time.contains('T'), "{line}");
        assert_eq!(shown, format!(" {rest}"));
    }
}

#[test]
fn colours_are_for_terminals() {
    let memory = Memory::default();
    let (dispatch, guard) = prepare(Form::Text, LogLevel::Info, true, 10, memory.clone()).unwrap();
    tracing::dispatcher::with_default(&dispatch, || info!("\x1b[31mred"));
    drop(guard);
    let bytes = memory.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = String::from_utf8(bytes).expect("logs are UTF-8");
    assert!(log.ends_with(" \x1b[32m INFO\x1b[0m \\u{1b}[31mred\n"), "{log:?}");
    assert!(!logged(Form::Text, LogLevel::Info, |_| info!("plain")).contains('\x1b'));
}

#[test]
fn the_level_changes_while_running() {
    let log = logged(Form::Journald, LogLevel::Info, |guard| {
        debug!("hidden");
        info!("shown");
        guard.level().set(LogLevel::Debug);
        debug!("shown too");
        guard.level().set(LogLevel::Error);
        warn!("hidden again");
        error!("shown at last");
    });
    assert_eq!(log, "<6>shown\n<7>shown too\n<3>shown at last\n");
}

/// Signals that it waits, and takes a line when it is released.
struct Gate {
    waiting: Sender<()>,
    open: Receiver<()>,
    memory: Memory,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Both fail when the test has dropped its ends: then all lines pass.
        self.waiting.send(()).ok();
        self.open.recv().ok();
        self.memory.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_blocked_sink_does_not_block_logging_and_lost_lines_are_counted() {
    for form in FORMS {
        let memory = Memory::default();
        let (waiting, waits) = mpsc::channel();
        let (opener, open) = mpsc::channel();
        let gate = Gate { waiting, open, memory: memory.clone() };
        let (dispatch, guard) = prepare(form, LogLevel::Info, false, 4, gate).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            info!("first");
            waits.recv().expect("the sink has the first line and blocks on it");
            for _ in 0..10 {
                info!("more");
            }
        });
        drop(opener);
        // The report and the queued lines.
        for _ in 0..5 {
            waits.recv().expect("the sink goes on");
        }
        drop(guard);
        let bytes = memory.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let log = String::from_utf8(bytes).expect("logs are UTF-8");
        let lines: Vec<&str> = log.lines().collect();
        // One in the sink and four in the queue; six were lost, which is reported at once.
        assert_eq!(lines.len(), 6, "{form:?}: {log}");
        assert!(lines[1].contains("lines are missing here"), "{form:?}: {log}");
        assert!(lines[1].contains("lost=6") || lines[1].contains("\"lost\":6"), "{log}");
    }
}

/// Takes `room` bytes, then refuses `refusals` times, then takes all.
struct Full {
    room: usize,
    refusals: usize,
    memory: Memory,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 && self.refusals > 0 {
            self.refusals -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = if self.refusals > 0 { bytes.len().min(self.room) } else { bytes.len() };
        self.room = self.room.saturating_sub(taken);
        self.memory.write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_loses_lines_but_never_joins_two() {
    let memory = Memory::default();
    let full = Full { room: 12, refusals: 2, memory: memory.clone() };
    let (dispatch, guard) = prepare(Form::Journald, LogLevel::Info, false, 100, full).unwrap();
    tracing::dispatcher::with_default(&dispatch, || {
        for line in ["first", "second", "third", "fourth"] {
            info!("{line}");
        }
    });
    drop(guard);
    let bytes = memory.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        "<6>first\n<6>\n<6>fourth\n<4>lines are missing here, the log took no more lost=2\n"
    );
}

#[test]
fn the_journal_is_recognised_by_its_stream() {
    let stat = rustix::fs::fstat(io::stderr().as_fd()).expect("standard error is open");
    let ours = format!("{}:{}", stat.st_dev, stat.st_ino);
    assert!(is_journal(Some(&ours)));
    for other in [None, Some(""), Some(":"), Some("1:1"), Some("garbage")] {
        assert!(!is_journal(other), "{other:?}");
    }
}
