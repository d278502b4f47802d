//! Logging: the destination, form and level of lines.
//!
//! - Lines go to standard error or to the journal, through a bounded queue and a separate thread,
//!   so that a log that takes no more lines never stops the service. Lines that do not fit are
//!   dropped and counted (`sink`).
//! - The form is text for people, JSON, text with the priority that journald reads (`line`), or an
//!   entry with fields for journald itself (`journal`). Text from a peer is escaped in all of them
//!   (`escape`).
//! - The level comes from the configuration alone, also after a reload. `RUST_LOG` is ignored.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::{self, format::JsonFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Log, LogFormat, LogLevel};

#[cfg(test)]
pub(crate) mod captured;
mod escape;
mod journal;
mod line;
mod sink;

use journal::{Entry, EntryFields, Journal, Unread};
use line::{JsonLine, TextFields, TextLine};
use sink::SinkGuard;

/// Starts logging for the whole program, until the [`Guard`] is dropped.
///
/// Call it once. Lines that are logged before are lost.
///
/// # Errors
/// If the system gives no thread.
pub fn start(log: &Log) -> io::Result<Guard> {
    let (form, out, unread) = destination(log.format);
    let bare = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = io::stderr().is_terminal() && !bare;
    let (dispatch, mut guard) = prepare(form, log.level, colour, QUEUED_LINES, out)?;
    guard._unread = unread;
    // Fails only if logging was started before; then the first one stays.
    drop(tracing::dispatcher::set_global_default(dispatch));
    Ok(guard)
}

/// Keeps logging running. Dropping it writes the queued lines, and waits until the journal has read
/// them.
#[must_use = "dropping the guard ends logging"]
#[derive(Debug)]
pub struct Guard {
    level: LevelHandle,
    /// Dropped in this order.
    _sink: SinkGuard,
    _unread: Option<Unread>,
}

impl Guard {
    /// A handle that changes the level while the service runs.
    pub fn level(&self) -> LevelHandle {
        self.level.clone()
    }
}

/// Changes the log level when the configuration is reloaded.
#[derive(Clone, Debug)]
pub struct LevelHandle(reload::Handle<LevelFilter, Registry>);

impl LevelHandle {
    /// Logs from `level` on.
    pub fn set(&self, level: LogLevel) {
        // Fails only if the subscriber is gone; then nothing is logged anyway.
        drop(self.0.reload(filter(level)));
    }
}

/// The form of lines, after `auto` is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    /// Text on standard error, for the journal to read.
    Journald,
    /// Entries for the socket of the journal.
    JournalEntry,
}

/// The form and the destination of lines. In the forms for the journal they go to its socket, if
/// standard error is the journal and the socket can be reached. Otherwise they go to standard error.
fn destination(format: LogFormat) -> (Form, Box<dyn Write + Send>, Option<Unread>) {
    let form = match format {
        LogFormat::Auto | LogFormat::Journald if is_service() => {
            match Journal::open(Path::new(journal::SOCKET)) {
                Ok(journal) => {
                    let unread = journal.unread().ok();
                    return (Form::JournalEntry, Box::new(journal), unread);
                }
                Err(_) => Form::Journald,
            }
        }
        LogFormat::Auto | LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
        LogFormat::Journald => Form::Journald,
    };
    (form, Box::new(io::stderr()), None)
}

/// Whether standard error is the journal, as for a service that systemd has started.
pub fn is_service() -> bool {
    is_journal(env::var("JOURNAL_STREAM").ok().as_deref())
}

/// The priority of a line that is written to standard error without logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// The program cannot do its task.
    Error,
    /// The program can do its task.
    Warning,
}

impl Priority {
    /// The prefix of each line for the journal; empty if standard error is not the journal.
    pub fn mark(self) -> &'static str {
        match self {
            _ if !is_service() => "",
            Self::Error => "<3>",
            Self::Warning => "<4>",
        }
    }
}

/// Whether standard error is the stream that `JOURNAL_STREAM` names as `device:inode`.
///
/// The variable alone is not enough: programs inherit it whose output goes elsewhere
/// (systemd.exec(5)).
fn is_journal(stream: Option<&str>) -> bool {
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else { return false };
    stream.is_some_and(|stream| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// A subscriber that writes to `out`, and the guard of its thread.
fn prepare(
    form: Form,
    level: LogLevel,
    colour: bool,
    queued_lines: usize,
    out: impl Write + Send + 'static,
) -> io::Result<(Dispatch, Guard)> {
    let (queue, sink) = sink::start(form, queued_lines, out)?;
    let (filter, handle) = reload::Layer::new(filter(level));
    let layer = fmt::layer().with_writer(queue).log_internal_errors(false);
    let layer = match form {
        Form::Json => layer.fmt_fields(JsonFields::new()).event_format(JsonLine::new()).boxed(),
        Form::Text => {
            layer.with_ansi(colour).fmt_fields(TextFields).event_format(TextLine::Clock).boxed()
        }
        Form::JournalEntry => {
            layer.with_ansi(false).fmt_fields(EntryFields).event_format(Entry).boxed()
        }
        Form::Journald => {
            layer.with_ansi(false).fmt_fields(TextFields).event_format(TextLine::Priority).boxed()
        }
    };
    let dispatch = Dispatch::new(Registry::default().with(filter).with(layer));
    Ok((dispatch, Guard { level: LevelHandle(handle), _sink: sink, _unread: None }))
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}

/// How many lines wait for the sink before further ones are dropped; about 2 MiB.
const QUEUED_LINES: usize = 8_192;

#[cfg(test)]
mod tests;
