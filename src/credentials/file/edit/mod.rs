//! Changes to a credential file, for `restante user`.
//!
//! - A change is a new file in the place of the old one: the server sees either, whole.
//! - Comments, order, line ends, mode and owner stay as they are.
//! - A faulty file is not touched, and no change makes a sound one faulty.
//! - Two changes at a time wait for each other.
//!
//! Here: the changes. `held`: how the file is locked and replaced.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use self::held::{Held, create, sound};
use super::parse::{Line, lines};
use super::source::Source;
use crate::credentials::{Account, Attributes};
use crate::password::{NewPassword, NewScheme, WeakSchemes};
use crate::protocol::{Secret, Username};

mod held;

/// Where a new user went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// To the end of a file.
    ToFile,
    /// Into a file that was not there before, with mode 0600 and the owner of the process.
    ToNewFile,
}

/// A user in a credential file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The canonical name.
    pub name: Username,
    /// Why this user cannot log in, if that is so.
    pub unusable: Option<String>,
    /// What else the file says of the user; `None` when that cannot be used.
    pub attributes: Option<Attributes>,
}

/// Why a credential file was not changed: names the file, what is wrong and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditError(String);

/// Adds a user with `password`, kept as `scheme` says; creates the file if there is none.
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
    let parsed = Line { number: 1, raw: &line }.entry();
    if !parsed.is_ok_and(|entry| entry.is_some_and(|entry| entry.name == *name)) {
        return Err(EditError(format!(
            "{name}: a name in a credential file has no colon, and no # at its start; take another \
             name"
        )));
    }
    loop {
        let Some(held) = Held::lock(path)? else {
            line.push(b'\n');
            if create(path, &line)? {
                return Ok(Added::ToNewFile);
            }
            // It has been created meanwhile.
            line.pop();
            continue;
        };
        if held.find(name).is_some() {
            return Err(present(path, name));
        }
        let old = held.text();
        let end = lines(old).last().map(Line::end);
        let mut new = Zeroizing::new(Vec::with_capacity(old.len() + line.len() + 4));
        new.extend_from_slice(old);
        if end == Some(b"") {
            new.push(b'\n');
        }
        new.extend_from_slice(&line);
        new.extend_from_slice(end.filter(|end| !end.is_empty()).unwrap_or(b"\n"));
        return held.replace(&new).map(|()| Added::ToFile);
    }
}

/// Gives a user another password; the other fields of the line stay.
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
    Held::existing(path)?.set_field(name, &field)
}

/// Puts an argon2id hash in the place of a weaker one that `password` is right for; whether it did.
///
/// - Verified again while the file is locked: a password that has been set meanwhile
///   stays, and so does a user who has been removed.
///
/// # Errors
/// [`EditError`] when the file cannot be changed.
pub(super) fn rehash(
    path: &Path,
    name: &Username,
    password: &NewPassword,
    weak: WeakSchemes,
) -> Result<bool, EditError> {
    let held = Held::existing(path)?;
    let entry = held.find(name).and_then(|line| line.entry().ok().flatten());
    let account = entry.and_then(|entry| entry.account(weak).ok());
    let outdated = account.is_some_and(|Account { verifier, .. }| {
        verifier.outdated_by(password.expose()) && verifier.verify(password.expose()) == Ok(true)
    });
    if outdated {
        held.set_field(name, &field(path, password, NewScheme::Argon2id)?)?;
    }
    Ok(outdated)
}

/// Whether [`add`] would find the user there already: to know before a password is asked for.
///
/// # Errors
/// [`EditError`] as from [`add`].
pub fn expect_absent(path: &Path, name: &Username) -> Result<(), EditError> {
    if path.exists() && has(path, name)? {
        return Err(present(path, name));
    }
    Ok(())
}

/// Whether [`set_password`] would find no such user: to know before a password is asked for.
///
/// # Errors
/// [`EditError`] as from [`set_password`].
pub fn expect_present(path: &Path, name: &Username) -> Result<(), EditError> {
    if has(path, name)? { Ok(()) } else { Err(absent(path, name)) }
}

fn has(path: &Path, name: &Username) -> Result<bool, EditError> {
    let source = Source::read(path).map_err(|what| error(path, what))?;
    Ok(sound(path, &source.text)?.contains_key(name))
}

/// Removes a user, line and all; mail is not touched.
///
/// # Errors
/// [`EditError`] when there is no such user, or the file cannot be changed.
pub fn remove(path: &Path, name: &Username) -> Result<(), EditError> {
    Held::existing(path)?.rewrite(name, |_, _| {})
}

/// The users of a file, in its order.
///
/// # Errors
/// [`EditError`] when the file cannot be read or is faulty.
pub fn list(path: &Path, weak: WeakSchemes) -> Result<Vec<User>, EditError> {
    let source = Source::read(path).map_err(|what| error(path, what))?;
    sound(path, &source.text)?;
    let entries = lines(&source.text).filter_map(|line| line.entry().ok().flatten());
    Ok(entries
        .map(|entry| {
            let (unusable, attributes) = match entry.account(weak) {
                Ok(Account { verifier, attributes }) => {
                    (verifier.why_unusable().map(ToString::to_string), Some(attributes))
                }
                Err(why) => (Some(why.to_string()), None),
            };
            User { name: entry.name, unusable, attributes }
        })
        .collect())
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EditError {}

fn field(
    path: &Path,
    password: &NewPassword,
    scheme: NewScheme,
) -> Result<Secret<String>, EditError> {
    scheme.field(password).map_err(|why| error(path, why))
}

fn present(path: &Path, name: &Username) -> EditError {
    error(path, format!("{name} is there already; use restante user set-password"))
}

fn absent(path: &Path, name: &Username) -> EditError {
    error(path, format!("{name} is not there; restante user list shows who is"))
}

fn error(path: &Path, what: impl fmt::Display) -> EditError {
    EditError(format!("{}: {what}", path.display()))
}

#[cfg(test)]
mod tests;
