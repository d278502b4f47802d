//! The command line: a file per command.

use std::fmt;

pub mod hash;
mod password;
pub mod user;

/// Why a command did not do what it was asked: one line that names the thing and the way out.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// Takes the line that is shown.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
