//! Why a credential file was not changed: what is wrong and what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::credentials::AppPasswordName;
use crate::credentials::app_password::MOST;
use crate::credentials::file::diagnostic::Diagnostics;
use crate::credentials::file::source::SourceError;
use crate::password::HashError;
use crate::protocol::Username;

/// Why a credential file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// A name that no line can begin with.
    #[error(
        "{0}: a name in a credential file has no colon, and no # at its start; take another name"
    )]
    Name(Username),
    /// A problem with the file or the change.
    #[error("{0}: {1}")]
    File(PathBuf, EditProblem),
}

/// What prevents a change. To be shown behind the path of the file.
#[derive(Debug, thiserror::Error)]
pub enum EditProblem {
    /// The user exists.
    #[error("{0} exists already; use restante user set-password")]
    Present(Username),
    /// The user does not exist.
    #[error("{0} does not exist; restante user list shows all users")]
    Absent(Username),
    /// The user has an app password with this name.
    #[error("{0} has an app password {1} already; choose another name, or remove it first")]
    SameAppPassword(Username, AppPasswordName),
    /// The user has no app password with this name.
    #[error("{0} has no app password {1}; restante user app-password list {0} shows all")]
    NoAppPassword(Username, AppPasswordName),
    /// The user has as many app passwords as are used.
    #[error("{0} has {MOST} app passwords, and no more are used; remove one first")]
    TooManyAppPasswords(Username),
    /// There is no file.
    #[error("does not exist; create it with restante user add, or name another with --file")]
    Missing,
    /// The file is a symbolic link to no file.
    #[error("links to a file that does not exist; remove the link")]
    DanglingLink,
    /// The file was not read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file has errors, before the change or after it.
    #[error("is faulty, repair it first: {0}")]
    Faulty(#[from] Diagnostics),
    /// The password was not hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The directory takes no new file.
    #[error("no file can be created in {0}: {1}")]
    NewFile(PathBuf, io::Error),
    /// A system call has failed. The text says what it was for.
    #[error("{0}: {1}")]
    Io(&'static str, io::Error),
}

impl EditProblem {
    pub(super) fn at(self, path: &Path) -> EditError {
        EditError::File(path.into(), self)
    }
}

/// The error of a system call for the file at `path`.
pub(super) fn io_error(
    path: &Path,
    what: &'static str,
) -> impl FnOnce(io::Error) -> EditError + use<> {
    let path = path.to_path_buf();
    move |error| EditError::File(path, EditProblem::Io(what, error))
}
