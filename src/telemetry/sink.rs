//! The far end of the log: a thread that writes lines, and counts those that are lost.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::{Form, journal};

/// Starts the thread that writes lines to `out`.
///
/// - The queue takes `queued_lines`; further ones are dropped, and nobody waits.
/// - A line that `out` refuses is lost as well.
/// - After a line that could be written, a line of our own says how many were lost before it.
pub(super) fn start(
    form: Form,
    queued_lines: usize,
    out: impl Write + Send + 'static,
) -> (NonBlocking, WorkerGuard) {
    let dropped = Arc::new(OnceLock::new());
    let sink =
        Sink { out, form, dropped: Arc::clone(&dropped), refused: 0, reported: 0, torn: false };
    let (queue, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(queued_lines)
        .thread_name("log")
        .finish(sink);
    dropped.get_or_init(|| queue.error_counter());
    (queue, guard)
}

struct Sink<W> {
    out: W,
    form: Form,
    /// Lines that found the queue full; known once the queue is there.
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// Lines that `out` did not take.
    refused: usize,
    /// Lost lines that have been reported.
    reported: usize,
    /// The last line was written in part.
    torn: bool,
}

impl<W: Write> Sink<W> {
    /// Writes a line whole, or leaves a mark that it was torn.
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.out.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.torn = !rest.is_empty();
        }
        Ok(())
    }

    fn report(&mut self) -> io::Result<()> {
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        let lost = dropped.saturating_add(self.refused);
        if lost > self.reported {
            let line = lost_line(self.form, lost - self.reported);
            self.put(line.as_bytes())?;
            self.reported = lost;
        }
        Ok(())
    }
}

impl<W: Write> Write for Sink<W> {
    /// Takes one line; it never fails, for there is nobody who could do anything about it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.put(line) {
            Ok(()) => drop(self.report()),
            Err(_) => self.refused = self.refused.saturating_add(1),
        }
        Ok(line.len())
    }

    /// Called when no more lines are waiting: a short rest, so that the next ones are written
    /// together and do not each wake this thread.
    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        thread::park_timeout(REST);
        flushed
    }
}

/// The line that says how many are missing before it.
fn lost_line(form: Form, lost: usize) -> String {
    let mut now = String::new();
    let time = SystemTime.format_time(&mut Writer::new(&mut now));
    debug_assert!(time.is_ok(), "a String takes everything");
    match form {
        Form::Text => format!("{now}  WARN {LOST} lost={lost}\n"),
        Form::Json => format!(
            "{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"{LOST}\",\"lost\":{lost},\
             \"target\":\"restante::telemetry\"}}\n"
        ),
        Form::Journald => format!("<4>{LOST} lost={lost}\n"),
        Form::JournalEntry => {
            let heading = journal::heading(4);
            format!("{heading}MESSAGE={LOST} lost={lost}\nRESTANTE_LOST={lost}\n")
        }
    }
}

/// By how much a line may come later than what it tells of.
const REST: Duration = Duration::from_millis(10);

const LOST: &str = "lines are missing here, the log took no more";
