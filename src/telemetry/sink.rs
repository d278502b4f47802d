//! The sink of the log: a bounded queue, and a thread that writes its lines and counts those lost.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::{Form, journal};

/// Starts the thread that writes lines to `out`.
///
/// - The queue holds `queued_lines`. Further ones are dropped without waiting.
/// - A line that `out` refuses is lost as well.
/// - After the next line that can be written, another line says how many were lost.
pub(super) fn start(
    form: Form,
    queued_lines: usize,
    out: impl Write + Send + 'static,
) -> io::Result<(Arc<Queue>, SinkGuard)> {
    let (lines, queued) = sync_channel(queued_lines);
    let queue =
        Arc::new(Queue { lines, dropped: AtomicUsize::new(0), stopping: AtomicBool::new(false) });
    let (running, ended) = channel::<()>();
    let own = Arc::clone(&queue);
    let sink = Sink { out, form, queue: own, refused: 0, reported: 0, torn: false };
    thread::Builder::new().name("log".into()).spawn(move || {
        sink.run(&queued);
        drop(running);
    })?;
    Ok((Arc::clone(&queue), SinkGuard { queue, ended }))
}

/// Lines that wait for the sink.
#[derive(Debug)]
pub(super) struct Queue {
    lines: SyncSender<Vec<u8>>,
    /// Lines that did not fit.
    dropped: AtomicUsize,
    /// The sink must end when the queue is empty.
    stopping: AtomicBool,
}

impl Write for &Queue {
    /// Takes one line. Never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(line.to_owned()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Dropping it waits until the queued lines are written, up to a limit.
#[derive(Debug)]
pub(super) struct SinkGuard {
    queue: Arc<Queue>,
    /// Disconnected when the thread ends.
    ended: Receiver<()>,
}

impl Drop for SinkGuard {
    fn drop(&mut self) {
        self.queue.stopping.store(true, Ordering::SeqCst);
        // Wakes the sink. A full queue wakes it as well.
        drop(self.queue.lines.try_send(Vec::new()));
        // Always an error: the thread has ended or the time is over.
        let _over = self.ended.recv_timeout(LONGEST_END);
    }
}

struct Sink<W> {
    out: W,
    form: Form,
    queue: Arc<Queue>,
    /// Lines that `out` did not take.
    refused: usize,
    /// Lost lines that have been reported.
    reported: usize,
    /// Only a part of the last line was written.
    torn: bool,
}

impl<W: Write> Sink<W> {
    /// Writes lines until it must stop.
    fn run(mut self, queued: &Receiver<Vec<u8>>) {
        while let Ok(line) = queued.recv() {
            self.write(&line);
            while let Ok(line) = queued.try_recv() {
                self.write(&line);
            }
            // After a failed flush, the next one writes the lines.
            drop(self.out.flush());
            if self.queue.stopping.load(Ordering::SeqCst) {
                return;
            }
            // So the next lines are written together and do not each wake this thread.
            thread::park_timeout(REST);
        }
    }

    fn write(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        match self.put(line) {
            Ok(()) => drop(self.report()),
            Err(_) => self.refused = self.refused.saturating_add(1),
        }
    }

    /// Writes a whole line, or remembers that only a part was written.
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
        let dropped = self.queue.dropped.load(Ordering::Relaxed);
        let lost = dropped.saturating_add(self.refused);
        if lost > self.reported {
            let line = lost_line(self.form, lost - self.reported);
            self.put(line.as_bytes())?;
            self.reported = lost;
        }
        Ok(())
    }
}

/// The line that says how many lines are missing before it.
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

/// The most by which a line is delayed.
const REST: Duration = Duration::from_millis(10);

/// How long the program waits at its end for a sink that takes no more lines.
const LONGEST_END: Duration = Duration::from_secs(1);

const LOST: &str = "lines are missing here, the log took no more";
