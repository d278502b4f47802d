//! The log of the server while a transcript runs.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use tracing::Level;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// The log lines since the last [`clear`](Self::clear).
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

/// Collects all lines down to the level debug of this thread and of the pools. Other tests run at
/// the same time, on threads that are named after their paths.
pub(crate) fn capture() -> Log {
    let log = Log::default();
    let own = thread::current().id();
    let is_captured = dynamic_filter_fn(move |metadata, _| {
        let current = thread::current();
        let is_other_test = || current.name().is_some_and(|name| name.contains("::"));
        *metadata.level() <= Level::DEBUG && (current.id() == own || !is_other_test())
    });
    let lines = fmt::layer().with_ansi(false).with_writer(log.clone()).with_filter(is_captured);
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::set_global_default(subscriber).expect("one log a process");
    log
}

impl Log {
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
