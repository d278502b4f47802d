//! Logs: where lines go, in which form, from which level on.
//!
//! - Lines go to standard error or to the journal, through a bounded queue and a thread of their own:
//!   a log that takes no more lines never stops the service. Lines that do not fit are dropped and
//!   counted (`sink`).
//! - The form is text for people, JSON, text with the priority that journald reads (`line`), or an
//!   entry with fields for journald itself (`journal`). Text from a peer is escaped in all of them
//!   (`escape`).
//! - The level is that of the configuration and changes with it. `RUST_LOG` is ignored, so that one
//!   place says why something is or is not logged.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::{self, format::JsonFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Log, LogFormat, LogLevel};

mod escape;
mod journal;
mod line;
mod sink;

use journal::{Entry, EntryFields, Journal, Unread};
use line::{JsonLine, TextFields, TextLine};
use sink::SinkGuard;

/// Starts logging, for the whole program and until the [`Guard`] is dropped.
///
/// Called once. Lines that are logged before are lost.
///
/// # Errors
/// When the system gives no thread for it.
pub fn start(log: &Log) -> io::Result<Guard> {
    let (form, out, unread) = choose(log.format);
    let bare = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = io::stderr().is_terminal() && !bare;
    let (dispatch, mut guard) = prepare(form, log.level, colour, QUEUED_LINES, out)?;
    guard._unread = unread;
    // Fails only when logging has been started before, and then that one stays.
    drop(tracing::dispatcher::set_global_default(dispatch));
    Ok(guard)
}

/// Keeps logging going; what is still queued is written when it is dropped, and read by the journal.
#[must_use = "what is queued is written when the guard is dropped"]
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

/// Changes the level of what is logged, for a reload of the configuration.
#[derive(Clone, Debug)]
pub struct LevelHandle(reload::Handle<LevelFilter, Registry>);

impl LevelHandle {
    /// Logs from `level` on.
    pub fn set(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, and then nothing is logged anyway.
        drop(self.0.reload(filter(level)));
    }
}

/// The form of a line, once `auto` has been decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    /// Text for a standard error that is, or will be, read by the journal.
    Journald,
    /// For the journal itself.
    JournalEntry,
}

/// The form, and where lines of it go. Where standard error is not the journal, that is where they
/// are wanted; where the journal itself cannot be reached, they get there by it.
fn choose(format: LogFormat) -> (Form, Box<dyn Write + Send>, Option<Unread>) {
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

/// Whether the service manager has started this: standard error is the journal.
pub fn is_service() -> bool {
    is_journal(env::var("JOURNAL_STREAM").ok().as_deref())
}

/// How important a line is that is not logged but said, on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// It keeps the program from doing what it was called for.
    Error,
    /// It does not.
    Warning,
}

impl Priority {
    /// What has to stand before each line, so that the journal knows; nothing elsewhere.
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
/// The variable alone does not tell: it is inherited by programs whose output goes elsewhere
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

/// Lines that wait for the sink before further ones are dropped; 2 MiB of them, or so.
const QUEUED_LINES: usize = 8_192;

#[cfg(test)]
mod tests;
