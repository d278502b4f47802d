//! A credential file while it is changed: locked against other editors, and replaced by a new file
//! with the same mode and owner.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};
use zeroize::Zeroizing;

use super::error::{EditError, EditProblem, io_error};
use crate::credentials::file::parse::{Entry, Line, lines};
use crate::credentials::file::source::{self, Source};
use crate::credentials::file::table::{self, Listed};
use crate::protocol::{Secret, Username};
use crate::threads::FileStamp;

/// A credential file without errors, locked against other editors.
pub(super) struct Locked {
    /// Without symbolic links: the file is replaced, not a link to it.
    path: PathBuf,
    /// The lock ends when it is closed.
    file: File,
    source: Source,
}

impl Locked {
    /// Opens and locks a file; `None` when there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, EditError> {
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                // A regular file here was created a moment ago.
                if path.symlink_metadata().is_ok_and(|there| there.is_symlink()) {
                    return Err(EditProblem::DanglingLink.at(path));
                }
                return Ok(None);
            }
            Err(error) => return Err(io_error(path, UNOPENED)(error)),
        };
        loop {
            let file = match source::open(&real) {
                Ok(file) => file,
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(io_error(&real, UNOPENED)(error)),
            };
            file.lock().map_err(io_error(&real, "cannot be locked"))?;
            let locked = FileStamp::of(&file.metadata().map_err(io_error(&real, UNOPENED))?);
            // The previous holder of the lock may have replaced the file.
            if !FileStamp::at(&real).is_ok_and(|present| present.is_same_file(locked)) {
                continue;
            }
            let source =
                Source::read_open(&file).map_err(|error| EditProblem::from(error).at(&real))?;
            names(&real, &source.text)?;
            return Ok(Some(Self { path: real, file, source }));
        }
    }

    /// Opens and locks a file that has to exist.
    pub(super) fn existing(path: &Path) -> Result<Self, EditError> {
        Self::open(path)?.ok_or_else(|| EditProblem::Missing.at(path))
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.source.text
    }

    /// The user's own line.
    pub(super) fn find(&self, name: &Username) -> Option<Line<'_>> {
        lines(self.text()).find(|line| line.is_about(name, is_own))
    }

    /// Rewrites the file with another password field for `name`.
    pub(super) fn set_field(
        &self,
        name: &Username,
        field: &Secret<String>,
    ) -> Result<(), EditError> {
        self.rewrite(name, is_own, |line, new| {
            let colon = line.raw.iter().position(|&octet| octet == b':').unwrap_or(line.raw.len());
            let (name, rest) = line.raw.split_at(colon);
            let rest = rest.get(1..).unwrap_or_default();
            // The fields after the password, or else the line end.
            let others = rest.iter().position(|&octet| octet == b':');
            let others = others.map_or(line.end(), |colon| rest.get(colon..).unwrap_or_default());
            for part in [name, b":", field.expose().as_bytes(), others] {
                new.extend_from_slice(part);
            }
        })
    }

    /// Rewrites the file with another text in place of those lines of `name` that `selects` selects.
    pub(super) fn rewrite(
        &self,
        name: &Username,
        selects: impl Fn(&Entry<'_>) -> bool,
        mut change: impl FnMut(Line<'_>, &mut Vec<u8>),
    ) -> Result<(), EditError> {
        if self.find(name).is_none() {
            return Err(EditProblem::Absent(name.clone()).at(&self.path));
        }
        let mut new = Zeroizing::new(Vec::with_capacity(self.text().len() + ROOM));
        for line in lines(self.text()) {
            if line.is_about(name, &selects) {
                change(line, &mut new);
            } else {
                new.extend_from_slice(line.raw);
            }
        }
        if new.trim_ascii().is_empty() {
            // The server refuses an empty file, as its text may have been lost.
            new.extend_from_slice(b"# one line per user\n");
        }
        self.replace(&new)
    }

    /// Replaces the file by one with this text.
    pub(super) fn replace(&self, text: &[u8]) -> Result<(), EditError> {
        let path = &self.path;
        names(path, text)?;
        let new = write(path, text)?;
        let old = self.file.metadata().map_err(io_error(path, "cannot be looked at"))?;
        let given = new.as_file().metadata().map_err(io_error(path, "cannot be looked at"))?;
        if (given.uid(), given.gid()) != (old.uid(), old.gid()) {
            // With another owner the server, say, might not be able to read it.
            let what = "cannot keep its owner and group; change it as root, or as its owner";
            fchown(new.as_file(), Some(old.uid()), Some(old.gid()))
                .map_err(io_error(path, what))?;
        }
        new.as_file()
            .set_permissions(Permissions::from_mode(old.mode() & 0o7777))
            .and_then(|()| new.as_file().sync_all())
            .map_err(io_error(path, UNWRITTEN))?;
        new.persist(path).map_err(|unmoved| io_error(path, "cannot be replaced")(unmoved.error))?;
        sync_directory(path)
    }
}

/// Creates a file that only its owner can read. Returns `false` if there is one already.
pub(super) fn create(path: &Path, text: &[u8]) -> Result<bool, EditError> {
    let new = write(path, text)?;
    new.as_file().sync_all().map_err(io_error(path, UNWRITTEN))?;
    match new.persist_noclobber(path) {
        Ok(_) => sync_directory(path).map(|()| true),
        Err(unmoved) if unmoved.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(unmoved) => Err(io_error(path, "cannot be created")(unmoved.error)),
    }
}

/// Writes a file beside `path`, with mode 0600, that is deleted when dropped.
fn write(path: &Path, text: &[u8]) -> Result<NamedTempFile, EditError> {
    let directory = directory(path);
    let mut new = Builder::new()
        .prefix(".users-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(|error| EditProblem::NewFile(directory.into(), error).at(path))?;
    new.write_all(text).map_err(io_error(path, UNWRITTEN))?;
    Ok(new)
}

fn sync_directory(path: &Path) -> Result<(), EditError> {
    File::open(directory(path))
        .and_then(|directory| directory.sync_all())
        .map_err(io_error(path, "is changed, but may be lost if the system crashes now"))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The users of a file. One with errors is not changed, and no change results in one.
pub(super) fn names(path: &Path, text: &[u8]) -> Result<HashMap<Username, Listed<()>>, EditError> {
    table::names(text).map_err(|errors| EditProblem::from(errors).at(path))
}

/// Whether a line is the user's own, and not that of an app password.
pub(super) fn is_own(entry: &Entry<'_>) -> bool {
    entry.app_password.is_none()
}

const UNOPENED: &str = "cannot be opened";
const UNWRITTEN: &str = "cannot be written";

/// More octets than a line for a new password has.
const ROOM: usize = 512;
