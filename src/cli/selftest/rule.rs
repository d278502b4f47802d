//! A rule of an RFC as a value, and what a test of it found.

use std::fmt;

use serde::Serialize;

use super::probe::Probe;
use crate::cli::client;

/// A rule that a server obeys or breaks.
pub(super) struct Rule {
    /// Its name in the output, which never changes.
    pub(super) id: &'static str,
    /// Where it is written.
    pub(super) citation: &'static str,
    pub(super) level: Level,
    /// What it requires.
    pub(super) text: &'static str,
    pub(super) needs: Needs,
    /// Whether the server obeys it.
    pub(super) check: fn(&mut Probe) -> Result<(), Finding>,
}

/// How binding a rule is. RFC 1939 was written before the key words: what it says of the behaviour of
/// servers counts as MUST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Level {
    Must,
    Should,
    May,
}

/// What a test takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// A user who can log in.
    Login,
    /// The permission to remove messages of that user.
    Removal,
    /// Ten minutes.
    Patience,
}

/// Why a rule is not kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The server breaks it.
    Broken(String),
    /// It is about something that the server does not offer.
    NotOffered(String),
    /// It could not be tested.
    NotTested(String),
}

impl Finding {
    pub(super) fn broken(why: impl Into<String>) -> Self {
        Self::Broken(why.into())
    }

    pub(super) fn not_offered(why: impl Into<String>) -> Self {
        Self::NotOffered(why.into())
    }

    pub(super) fn not_tested(why: impl Into<String>) -> Self {
        Self::NotTested(why.into())
    }
}

/// A rule is broken by a server that fails in the middle of its test.
impl From<client::Error> for Finding {
    fn from(error: client::Error) -> Self {
        match error {
            client::Error::Connect(_)
            | client::Error::Host(_)
            | client::Error::Certificate(_)
            | client::Error::Authority => Self::NotTested(error.to_string()),
            client::Error::Tls(_)
            | client::Error::Io(_)
            | client::Error::Closed
            | client::Error::Silent(_)
            | client::Error::NotPop3(_)
            | client::Error::TextBeforeTls
            | client::Error::LongLine(_) => Self::Broken(error.to_string()),
        }
    }
}

/// Fails with `why` unless the server `obeys`.
pub(super) fn require(obeys: bool, why: impl FnOnce() -> String) -> Result<(), Finding> {
    if obeys { Ok(()) } else { Err(Finding::Broken(why())) }
}

/// Padded as `f` asks.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        })
    }
}
