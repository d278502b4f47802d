//! A credential file while it is changed: locked against other editors, and replaced by a new file
//! that has the same mode and owner.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};
use zeroize::Zeroizing;

use super::{EditError, absent, error};
use crate::credentials::file::parse::{Line, lines};
use crate::credentials::file::source::{self, Source, Stamp};
use crate::credentials::file::table::{self, Listed};
use crate::protocol::{Secret, Username};

/// A sound credential file, locked against other editors.
pub(super) struct Held {
    /// Without symbolic links: the file is replaced, not a link to it.
    path: PathBuf,
    /// Its lock ends when it is closed.
    file: File,
    source: Source,
}

impl Held {
    /// Locks a file; `None` when it is not there.
    pub(super) fn lock(path: &Path) -> Result<Option<Self>, EditError> {
        let real = match fs::canonicalize(path) {
            Ok(real) => real,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                // A file that was created a moment ago is none.
                if path.symlink_metadata().is_ok_and(|there| there.is_symlink()) {
                    return Err(error(path, "links to a file that is not there; remove the link"));
                }
                return Ok(None);
            }
            Err(why) => return Err(error(path, format!("cannot be opened: {why}"))),
        };
        let cannot = |why: io::Error| error(&real, format!("cannot be opened: {why}"));
        loop {
            let file = match source::open(&real) {
                Ok(file) => file,
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(why) => return Err(cannot(why)),
            };
            file.lock().map_err(|why| error(&real, format!("cannot be locked: {why}")))?;
            let locked = Stamp::of(&file.metadata().map_err(cannot)?);
            // The previous holder of the lock has replaced the file.
            if !Stamp::at(&real).is_ok_and(|present| present.same_file(locked)) {
                continue;
            }
            let source = Source::read_open(&file).map_err(|what| error(&real, what))?;
            sound(&real, &source.text)?;
            return Ok(Some(Self { path: real, file, source }));
        }
    }

    pub(super) fn existing(path: &Path) -> Result<Self, EditError> {
        Self::lock(path)?.ok_or_else(|| {
            error(
                path,
                "is not there; create it with restante user add, or name another with --file",
            )
        })
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.source.text
    }

    pub(super) fn find(&self, name: &Username) -> Option<Line<'_>> {
        lines(self.text()).find(|line| is_about(*line, name))
    }

    /// Writes the file anew, with another password field for `name`.
    pub(super) fn set_field(
        &self,
        name: &Username,
        field: &Secret<String>,
    ) -> Result<(), EditError> {
        self.rewrite(name, |line, new| {
            let colon = line.raw.iter().position(|&octet| octet == b':').unwrap_or(line.raw.len());
            let (name, rest) = line.raw.split_at(colon);
            let rest = rest.get(1..).unwrap_or_default();
            // What follows the password, or else the line end.
            let others = rest.iter().position(|&octet| octet == b':');
            let others = others.map_or(line.end(), |colon| rest.get(colon..).unwrap_or_default());
            for part in [name, b":", field.expose().as_bytes(), others] {
                new.extend_from_slice(part);
            }
        })
    }

    /// Writes the file anew, with something else in place of the line of `name`.
    pub(super) fn rewrite(
        &self,
        name: &Username,
        mut change: impl FnMut(Line<'_>, &mut Vec<u8>),
    ) -> Result<(), EditError> {
        if self.find(name).is_none() {
            return Err(absent(&self.path, name));
        }
        let mut new = Zeroizing::new(Vec::with_capacity(self.text().len() + ROOM));
        for line in lines(self.text()) {
            if is_about(line, name) {
                change(line, &mut new);
            } else {
                new.extend_from_slice(line.raw);
            }
        }
        if new.trim_ascii().is_empty() {
            // A server takes an empty file for one that was lost.
            new.extend_from_slice(b"# a line a user\n");
        }
        self.replace(&new)
    }

    /// Puts a file with this text in the place of the present one.
    pub(super) fn replace(&self, text: &[u8]) -> Result<(), EditError> {
        let cannot = |what, why: io::Error| self.error(format_args!("{what}: {why}"));
        sound(&self.path, text)?;
        let new = write(&self.path, text)?;
        let old = self.file.metadata().map_err(|why| cannot("cannot be looked at", why))?;
        let given = new.as_file().metadata().map_err(|why| cannot("cannot be looked at", why))?;
        if (given.uid(), given.gid()) != (old.uid(), old.gid()) {
            // Another owner might not be able to read it: the server, say.
            fchown(new.as_file(), Some(old.uid()), Some(old.gid())).map_err(|why| {
                cannot("cannot keep its owner and group; change it as root, or as its owner", why)
            })?;
        }
        new.as_file()
            .set_permissions(Permissions::from_mode(old.mode() & 0o7777))
            .and_then(|()| new.as_file().sync_all())
            .map_err(|why| cannot("cannot be written", why))?;
        new.persist(&self.path).map_err(|why| cannot("cannot be replaced", why.error))?;
        sync_directory(&self.path)
    }

    fn error(&self, what: fmt::Arguments<'_>) -> EditError {
        error(&self.path, what)
    }
}

/// Creates a file that only its owner can read; whether it was not there before.
pub(super) fn create(path: &Path, text: &[u8]) -> Result<bool, EditError> {
    let new = write(path, text)?;
    new.as_file().sync_all().map_err(|why| error(path, format!("cannot be written: {why}")))?;
    match new.persist_noclobber(path) {
        Ok(_) => sync_directory(path).map(|()| true),
        Err(why) if why.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(why) => Err(error(path, format!("cannot be created: {}", why.error))),
    }
}

/// Writes a file beside `path`, with mode 0600, that goes away again unless it is made to stay.
fn write(path: &Path, text: &[u8]) -> Result<NamedTempFile, EditError> {
    let directory = directory(path);
    let mut new = Builder::new()
        .prefix(".users-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(|why| {
            error(path, format!("no file can be made in {}: {why}", directory.display()))
        })?;
    new.write_all(text).map_err(|why| error(path, format!("cannot be written: {why}")))?;
    Ok(new)
}

fn sync_directory(path: &Path) -> Result<(), EditError> {
    File::open(directory(path))
        .and_then(|directory| directory.sync_all())
        .map_err(|why| error(path, format!("is changed, but perhaps not for good: {why}")))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The users of a file that counts as it is: no other is changed, and none is made.
pub(super) fn sound(path: &Path, text: &[u8]) -> Result<HashMap<Username, Listed<()>>, EditError> {
    table::names(text)
        .map_err(|faults| error(path, format!("is faulty, repair it first: {faults}")))
}

fn is_about(line: Line<'_>, name: &Username) -> bool {
    line.entry().is_ok_and(|entry| entry.is_some_and(|entry| entry.name == *name))
}

/// More octets than a line for a new password has.
const ROOM: usize = 512;
