//! Changes to the app passwords of a user: each one is a line.

use std::path::Path;

use zeroize::Zeroizing;

use super::locked::{Locked, names};
use super::{AppPassword, EditError, EditProblem, field, list};
use crate::credentials::AppPasswordName;
use crate::credentials::app_password::MOST;
use crate::credentials::file::parse::{APP_PASSWORD, Line, lines};
use crate::credentials::file::source::Source;
use crate::password::{NewPassword, NewScheme, WeakSchemes};
use crate::protocol::Username;

/// Gives a user one more app password, in a line after the user's other lines.
///
/// - `password` must be random: its hash is quick to compute.
///
/// # Errors
/// [`EditError`] when there is no such user, when the user has an app password with this name or too
/// many of them, or the file cannot be changed.
pub fn add_app_password(
    path: &Path,
    user: &Username,
    name: &AppPasswordName,
    password: &NewPassword,
) -> Result<(), EditError> {
    let field = field(path, password, NewScheme::SaltedSha256)?;
    let locked = Locked::existing(path)?;
    expect_room(path, locked.text(), user, name)?;
    let last = lines(locked.text()).filter(|line| line.is_about(user, |_| true)).last();
    let last = last.map(|line| line.number);
    let line = [user.as_str(), ":", field.expose(), "::::::", APP_PASSWORD, "=", name.as_str()];
    let line = Zeroizing::new(line.concat());
    let add = |own: Line<'_>, new: &mut Vec<u8>| {
        new.extend_from_slice(own.raw);
        if Some(own.number) == last {
            let end = own.end();
            if end.is_empty() {
                new.push(b'\n');
            }
            new.extend_from_slice(line.as_bytes());
            new.extend_from_slice(if end.is_empty() { b"\n" } else { end });
        }
    };
    locked.rewrite(user, |_| true, add)
}

/// Fails if [`add_app_password`] would: to know before a password is read.
///
/// # Errors
/// [`EditError`] as from [`add_app_password`].
pub fn expect_room_for_app_password(
    path: &Path,
    user: &Username,
    name: &AppPasswordName,
) -> Result<(), EditError> {
    let source = Source::read(path).map_err(|error| EditProblem::from(error).at(path))?;
    expect_room(path, &source.text, user, name)
}

/// The app passwords of a user, in the order of the file.
///
/// # Errors
/// [`EditError`] when there is no such user, or the file cannot be read or is faulty.
pub fn list_app_passwords(
    path: &Path,
    user: &Username,
    weak: WeakSchemes,
) -> Result<Vec<AppPassword>, EditError> {
    let found = list(path, weak)?.into_iter().find(|listed| listed.name == *user);
    let found = found.ok_or_else(|| EditProblem::Absent(user.clone()).at(path))?;
    Ok(found.app_passwords)
}

/// Removes an app password of a user.
///
/// # Errors
/// [`EditError`] when there is no such user or app password, or the file cannot be changed.
pub fn remove_app_password(
    path: &Path,
    user: &Username,
    name: &AppPasswordName,
) -> Result<(), EditError> {
    let locked = Locked::existing(path)?;
    let present = app_passwords(path, locked.text(), user)?;
    if !present.contains(name) {
        return Err(EditProblem::NoAppPassword(user.clone(), name.clone()).at(path));
    }
    locked.rewrite(user, |entry| entry.app_password.as_ref() == Some(name), |_, _| {})
}

/// Fails if a user cannot have one more app password with this name.
fn expect_room(
    path: &Path,
    text: &[u8],
    user: &Username,
    name: &AppPasswordName,
) -> Result<(), EditError> {
    let present = app_passwords(path, text, user)?;
    if present.contains(name) {
        return Err(EditProblem::SameAppPassword(user.clone(), name.clone()).at(path));
    }
    if present.len() >= MOST {
        return Err(EditProblem::TooManyAppPasswords(user.clone()).at(path));
    }
    Ok(())
}

/// The names of the app passwords of a user, who has to exist.
fn app_passwords(
    path: &Path,
    text: &[u8],
    user: &Username,
) -> Result<Vec<AppPasswordName>, EditError> {
    if !names(path, text)?.contains_key(user) {
        return Err(EditProblem::Absent(user.clone()).at(path));
    }
    let entries = lines(text).filter_map(|line| line.entry().ok().flatten());
    let own = entries.filter(|entry| entry.name == *user);
    Ok(own.filter_map(|entry| entry.app_password).collect())
}
