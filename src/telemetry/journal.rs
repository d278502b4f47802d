//! The journal's native protocol: an entry is a datagram of `KEY=value` lines, so that
//! `journalctl RESTANTE_USER=mrose@example.org` finds the entries about one user.
//!
//! - `MESSAGE` is the line as in the other forms, with span and fields, for people and for
//!   fail2ban. Each field is also a key, in capitals after `RESTANTE_`.
//! - Text from a peer is escaped as in the other forms. So no value has a line end or can begin
//!   another field, the encoding for binary values is not needed, and `journalctl` shows each value
//!   as text.
//! - Entries are usually far shorter than the longest datagram. One that the system refuses is
//!   counted as lost.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::escape::{Escaping, bounded, debugged};
use super::line::{TextFields, priority};

/// The socket on which the journal receives entries.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends entries to the journal. This may block, so only the thread of the log uses it.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Fails if there is no journal, as in a chroot.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(path)?;
        Ok(Self { socket: UnixDatagram::unbound()?, path: path.to_owned() })
    }

    /// Waits, when it is dropped, until the journal has read the entries.
    pub(super) fn unread(&self) -> io::Result<Unread> {
        Ok(Unread { socket: self.socket.try_clone()?, path: self.path.clone() })
    }
}

impl Write for Journal {
    /// The path is looked up each time, since an update of systemd may replace the socket.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.socket.send_to(entry, &self.path)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Entries that the journal may not have read yet. Dropping it waits until it has, up to a limit.
///
/// When the journal reads an entry, it looks up the unit of the sender. If the process has ended by
/// then, it finds none.
#[derive(Debug)]
pub(super) struct Unread {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Unread {
    /// Sends an entry without fields, which the journal ignores. With the smallest send buffer, the
    /// socket takes no more until this entry has been read.
    fn wait(&self) -> io::Result<()> {
        SockRef::from(&self.socket).set_send_buffer_size(1)?;
        self.socket.set_nonblocking(true)?;
        // Of a connected socket only, the system also checks whether the journal has room.
        self.socket.connect(&self.path)?;
        let ends = Instant::now() + LONGEST_WAIT;
        while let Err(error) = self.socket.send(&NO_FIELDS) {
            if error.kind() != io::ErrorKind::WouldBlock || !self.takes_more(ends)? {
                return Err(error);
            }
        }
        self.takes_more(ends).map(drop)
    }

    /// Whether the socket becomes writable before that time.
    fn takes_more(&self, by: Instant) -> io::Result<bool> {
        let left = Timespec::try_from(by.saturating_duration_since(Instant::now()));
        let left = left.map_err(io::Error::other)?;
        let mut sockets = [PollFd::new(&self.socket, PollFlags::OUT)];
        Ok(poll(&mut sockets, Some(&left))? > 0)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // An error cannot be logged any more.
        drop(self.wait());
    }
}

/// A journal that has not read for this long will not do so soon.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The system counts these octets as more than a quarter of the smallest buffer.
const NO_FIELDS: [u8; 1024] = [b'\n'; 1024];

/// The beginning of an entry.
pub(super) fn heading(priority: u8) -> String {
    format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=restante\n")
}

/// An event as an entry.
pub(super) struct Entry;

impl<S> FormatEvent<S, EntryFields> for Entry
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, EntryFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(&heading(priority(*event.metadata().level())))?;
        let spans = || context.event_scope().into_iter().flat_map(|scope| scope.from_root());
        for span in spans() {
            if let Some(fields) = span.extensions().get::<FormattedFields<EntryFields>>() {
                writer.write_str(halves(fields).1)?;
            }
        }
        writer.write_str("MESSAGE=")?;
        for span in spans() {
            writer.write_str(span.name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<EntryFields>>()
                && let (text, _) = halves(fields)
                && !text.is_empty()
            {
                write!(writer, "{{{text}}}")?;
            }
            writer.write_str(": ")?;
        }
        context.format_fields(writer, event)
    }
}

/// The fields twice: as text, and after a line end as lines of an entry. The text has no line end.
pub(super) struct EntryFields;

impl<'writer> FormatFields<'writer> for EntryFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        TextFields.format_fields(writer.by_ref(), &fields)?;
        writer.write_char('\n')?;
        let mut visitor = EntryVisitor { writer, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let mut added = FormattedFields::<Self>::new(String::new());
        self.format_fields(added.as_writer(), fields)?;
        let ((text, entries), (more_text, more_entries)) = (halves(current), halves(&added));
        let blank = if text.is_empty() || more_text.is_empty() { "" } else { " " };
        current.fields = format!("{text}{blank}{more_text}\n{entries}{more_entries}");
        Ok(())
    }
}

fn halves(fields: &str) -> (&str, &str) {
    fields.split_once('\n').unwrap_or((fields, ""))
}

struct EntryVisitor<'writer> {
    writer: Writer<'writer>,
    result: fmt::Result,
}

impl EntryVisitor<'_> {
    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        self.writer.write_str("RESTANTE_")?;
        for c in field.name().chars() {
            let may_be_there = c.is_ascii_alphanumeric();
            self.writer.write_char(if may_be_there { c.to_ascii_uppercase() } else { '_' })?;
        }
        self.writer.write_char('=')?;
        Escaping(&mut self.writer).write_str(value)?;
        self.writer.write_char('\n')
    }
}

impl Visit for EntryVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.result.is_ok() && field.name() != "message" {
            self.result = self.write(field, &bounded(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "message" {
            self.record_str(field, &debugged(value));
        }
    }
}
