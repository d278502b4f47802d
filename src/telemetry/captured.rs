//! The log of one thread, for tests.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

/// The lines that were logged. A clone is another handle to them.
#[derive(Clone, Default)]
pub(crate) struct CapturedLog(Arc<Mutex<Vec<u8>>>);

/// Captures lines until it is dropped.
#[must_use = "dropping it ends the capture"]
pub(crate) struct Capture {
    _default: DefaultGuard,
    /// As long as a process has a single subscriber, a log statement that is first reached by a
    /// thread without one is switched off for all threads. A second subscriber prevents that.
    _second: Dispatch,
}

impl CapturedLog {
    /// Captures the lines of this thread.
    pub(crate) fn start(&self) -> Capture {
        let second = Dispatch::new(NoSubscriber::default());
        let log = self.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone());
        Capture { _default: tracing::subscriber::set_default(lines.finish()), _second: second }
    }

    /// All lines so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines since the last call.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for CapturedLog {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
