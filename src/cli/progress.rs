//! A line on the terminal that shows how far a command is.

use std::io::{self, IsTerminal, Write};

use crate::cli::Failure;

/// The line; none if standard error is no terminal, or there is one thing to do only.
#[derive(Debug)]
pub(super) struct Progress {
    all: usize,
    what: &'static str,
    is_shown: bool,
}

impl Progress {
    /// A line for this number of things, `what` in the plural.
    pub(super) fn new(all: usize, what: &'static str) -> Self {
        Self { all, what, is_shown: all > 1 && io::stderr().is_terminal() }
    }

    /// Shows how many are done.
    pub(super) fn show(&self, done: usize) -> Result<(), Failure> {
        match done == self.all {
            true => self.clear(),
            false => self.write(&format!("{done} of {} {}", self.all, self.what)),
        }
    }

    /// Makes room for other output.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        self.write("")
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        if !self.is_shown {
            return Ok(());
        }
        let mut terminal = io::stderr();
        let written = write!(terminal, "\r\x1b[K{text}").and_then(|()| terminal.flush());
        written.map_err(|error| Failure::new(format!("cannot write to the terminal: {error}")))
    }
}
