//! Errors and warnings about a credential file. They show no part of a password field.

use super::parse::{AccountError, LineError};
use super::source::SourceError;
use crate::credentials::{AppPasswordError, AppPasswordName};
use crate::password::Unusable;
use crate::protocol::Username;

/// The result of reading a credential file, for `restante check` and the log.
#[derive(Debug, Default)]
pub struct Report {
    /// How many users the file has, including those who cannot log in.
    pub users: usize,
    /// Why the file cannot be used.
    pub errors: Vec<Diagnostic>,
    /// Problems in spite of which the file is used.
    pub warnings: Vec<Diagnostic>,
}

/// A problem of a credential file.
#[derive(Debug, thiserror::Error)]
pub enum Diagnostic {
    /// A problem of the whole file. To be shown behind its path.
    #[error("{0}")]
    File(FileProblem),
    /// A problem of a line, counted from 1.
    #[error("line {0}: {1}")]
    Line(u32, LineProblem),
}

/// A problem of a whole file.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// The file was not read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file that had users is empty.
    #[error(
        "is empty and had users before; restore them, or write a comment if no user is to log in"
    )]
    Emptied,
    /// Every user of the machine may read the file.
    #[error("can be read by every user of this machine; correct that with chmod o-r")]
    Exposed,
    /// The file has no users.
    #[error("has no users; add one with restante user add")]
    NoUsers,
    /// The number of problems of lines that are left out.
    #[error("and {0} more like these")]
    More(usize),
}

/// A problem of a line.
#[derive(Debug, thiserror::Error)]
pub enum LineProblem {
    /// The line cannot be read.
    #[error(transparent)]
    Line(LineError),
    /// The user is in an earlier line.
    #[error("{name} is in line {first} already; remove one")]
    Duplicate {
        /// The user.
        name: Username,
        /// The earlier line.
        first: u32,
    },
    /// An app password is before the line of its user, or there is no such line.
    #[error(
        "is an app password of {0}, who has no line before it; write the user's own line first"
    )]
    WithoutUser(Username),
    /// The user has an app password with the same name in an earlier line.
    #[error("{user} has an app password {name} in line {first} already; remove one")]
    SameAppPassword {
        /// The user.
        user: Username,
        /// The name of both.
        name: AppPasswordName,
        /// The earlier line.
        first: u32,
    },
    /// An app password is not used.
    #[error("the app password {name} of {user} cannot be used: {why}")]
    AppPassword {
        /// The user.
        user: Username,
        /// The name of the app password.
        name: AppPasswordName,
        /// Why.
        why: UnusableAppPassword,
    },
    /// The user cannot log in.
    #[error("{0} cannot log in: {1}")]
    CannotLogIn(Username, CannotLogIn),
}

/// Why a user of a credential file cannot log in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotLogIn {
    /// A field of the line is not supported.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The password field cannot be used.
    #[error(transparent)]
    Verifier(#[from] Unusable),
}

impl CannotLogIn {
    /// Whether only the user's own password is the reason, so that app passwords can be used.
    pub fn is_of_password(&self) -> bool {
        match self {
            Self::Verifier(_) => true,
            Self::Account(_) => false,
        }
    }
}

/// Why an app password in a credential file is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAppPassword {
    /// A field of the line is not supported.
    #[error(transparent)]
    Line(#[from] AccountError),
    /// The app password itself.
    #[error(transparent)]
    Itself(#[from] AppPasswordError),
}

/// Why a credential file cannot be used: at least one [`Diagnostic`].
#[derive(Debug, thiserror::Error)]
#[error("{}", joined(.0))]
pub struct Diagnostics(pub Vec<Diagnostic>);

fn joined(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<FileProblem> for Diagnostics {
    fn from(problem: FileProblem) -> Self {
        Self(vec![Diagnostic::File(problem)])
    }
}

/// Collects the diagnostics of lines. A million lines may have the same problem, so it keeps the
/// first ones only.
#[derive(Default)]
pub(super) struct LineDiagnostics {
    kept: Vec<Diagnostic>,
    others: usize,
}

impl LineDiagnostics {
    pub(super) const KEPT: usize = 50;

    pub(super) fn add(&mut self, line: u32, problem: impl FnOnce() -> LineProblem) {
        if self.kept.len() < Self::KEPT {
            self.kept.push(Diagnostic::Line(line, problem()));
        } else {
            self.others += 1;
        }
    }

    pub(super) fn into_vec(mut self) -> Vec<Diagnostic> {
        if self.others > 0 {
            self.kept.push(Diagnostic::File(FileProblem::More(self.others)));
        }
        self.kept
    }
}
