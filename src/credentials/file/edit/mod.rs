//! Changes to a credential file, for `restante user`.
//!
//! - A change replaces the file by a new one: the server sees the whole old file or the whole new
//!   one.
//! - Comments, order, line ends, mode and owner stay as they are.
//! - A faulty file is not changed, and no change makes a file faulty.
//! - Two changes at a time wait for each other.
//!
//! Here: the changes to users. `app_password`: those to app passwords. `list`: the users. `locked`:
//! how the file is locked and replaced. `error`: what prevents a change.

use std::path::Path;

use zeroize::Zeroizing;

pub use self::app_password::{
    add_app_password, expect_room_for_app_password, list_app_passwords, remove_app_password,
};
pub use self::error::{EditError, EditProblem};
pub use self::list::{AppPassword, User, list};
use self::locked::{Locked, create, is_own, names};
use super::parse::{Line, lines};
use super::source::Source;
use crate::credentials::Account;
use crate::password::{NewPassword, NewScheme, WeakSchemes};
use crate::protocol::{Secret, Username};

mod app_password;
mod error;
mod list;
mod locked;

/// Where a new user was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// At the end of a file.
    ToFile,
    /// In a file that was created, with mode 0600 and the owner of the process.
    ToNewFile,
}

/// Adds a user with `password`, stored as `scheme` says. Creates the file if there is none.
///
/// # Errors
/// [`EditError`] when the user is there already, or the file cannot be changed.
pub fn add(
    path: &Path,
    name: &Username,
    password: &NewPassword,
    scheme: NewScheme,
) -> Result<Added, EditError> {
    let mut line = Zeroizing::new(format!("{name}:").into_bytes());
    line.extend_from_slice(field(path, password, scheme)?.expose().as_bytes());
    if !(Line { number: 1, raw: &line }).is_about(name, is_own) {
        return Err(EditError::Name(name.clone()));
    }
    loop {
        let Some(locked) = Locked::open(path)? else {
            line.push(b'\n');
            if create(path, &line)? {
                return Ok(Added::ToNewFile);
            }
            // Another editor has created it meanwhile.
            line.pop();
            continue;
        };
        if locked.find(name).is_some() {
            return Err(EditProblem::Present(name.clone()).at(path));
        }
        let old = locked.text();
        let end = lines(old).last().map(Line::end);
        let mut new = Zeroizing::new(Vec::with_capacity(old.len() + line.len() + 4));
        new.extend_from_slice(old);
        if end == Some(b"") {
            new.push(b'\n');
        }
        new.extend_from_slice(&line);
        new.extend_from_slice(end.filter(|end| !end.is_empty()).unwrap_or(b"\n"));
        return locked.replace(&new).map(|()| Added::ToFile);
    }
}

/// Gives a user another password. The other fields of the line stay, and so do app passwords.
///
/// # Errors
/// [`EditError`] when there is no such user, or the file cannot be changed.
pub fn set_password(
    path: &Path,
    name: &Username,
    password: &NewPassword,
    scheme: NewScheme,
) -> Result<(), EditError> {
    let field = field(path, password, scheme)?;
    Locked::existing(path)?.set_field(name, &field)
}

/// Replaces a weaker hash, for which `password` is right, by an argon2id hash. Returns whether it did.
///
/// - The password is verified again while the file is locked: one that has been set meanwhile stays,
///   and a user who has been removed is not added again.
///
/// # Errors
/// [`EditError`] when the file cannot be changed.
pub(super) fn rehash(
    path: &Path,
    name: &Username,
    password: &NewPassword,
    weak: WeakSchemes,
) -> Result<bool, EditError> {
    let locked = Locked::existing(path)?;
    let entry = locked.find(name).and_then(|line| line.entry().ok().flatten());
    let account = entry.and_then(|entry| entry.account(weak).ok());
    let outdated = account.is_some_and(|Account { verifier, .. }| {
        verifier.outdated_by(password.expose()) && verifier.verify(password.expose()) == Ok(true)
    });
    if outdated {
        locked.set_field(name, &field(path, password, NewScheme::Argon2id)?)?;
    }
    Ok(outdated)
}

/// Fails if [`add`] would because the user exists: to know before a password is asked for.
///
/// # Errors
/// [`EditError`] as from [`add`].
pub fn expect_absent(path: &Path, name: &Username) -> Result<(), EditError> {
    if path.exists() && has(path, name)? {
        return Err(EditProblem::Present(name.clone()).at(path));
    }
    Ok(())
}

/// Fails if [`set_password`] would because there is no such user: to know before a password is asked
/// for.
///
/// # Errors
/// [`EditError`] as from [`set_password`].
pub fn expect_present(path: &Path, name: &Username) -> Result<(), EditError> {
    if has(path, name)? { Ok(()) } else { Err(EditProblem::Absent(name.clone()).at(path)) }
}

fn has(path: &Path, name: &Username) -> Result<bool, EditError> {
    let source = Source::read(path).map_err(|error| EditProblem::from(error).at(path))?;
    Ok(names(path, &source.text)?.contains_key(name))
}

/// Removes a user with all app passwords. The user's mail is not touched.
///
/// # Errors
/// [`EditError`] when there is no such user, or the file cannot be changed.
pub fn remove(path: &Path, name: &Username) -> Result<(), EditError> {
    Locked::existing(path)?.rewrite(name, |_| true, |_, _| {})
}

fn field(
    path: &Path,
    password: &NewPassword,
    scheme: NewScheme,
) -> Result<Secret<String>, EditError> {
    scheme.field(password).map_err(|error| EditProblem::from(error).at(path))
}

#[cfg(test)]
mod tests;
