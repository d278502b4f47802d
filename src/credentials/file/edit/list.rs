//! The users of a credential file and their app passwords, for lists.

use std::collections::HashMap;
use std::path::Path;

use super::{EditError, EditProblem, names};
use crate::credentials::file::diagnostic::{CannotLogIn, UnusableAppPassword};
use crate::credentials::file::parse::{AccountError, Entry, lines};
use crate::credentials::file::source::Source;
use crate::credentials::file::table;
use crate::credentials::{AppPasswordName, AppPasswords, Attributes};
use crate::password::WeakSchemes;
use crate::protocol::Username;

/// A user in a credential file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The canonical name.
    pub name: Username,
    /// Why this user cannot log in with the own password, if that is so.
    pub unusable: Option<CannotLogIn>,
    /// The attributes of the user, also of one who cannot log in; `None` when they cannot be read.
    pub attributes: Option<Attributes>,
    /// The app passwords, in the order of the file.
    pub app_passwords: Vec<AppPassword>,
}

/// An app password in a credential file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPassword {
    /// Its name.
    pub name: AppPasswordName,
    /// Why it cannot be used, if that is so.
    pub unusable: Option<UnusableAppPassword>,
}

/// The users of a file, in its order.
///
/// # Errors
/// [`EditError`] when the file cannot be read or is faulty.
pub fn list(path: &Path, weak: WeakSchemes) -> Result<Vec<User>, EditError> {
    let source = Source::read(path).map_err(|error| EditProblem::from(error).at(path))?;
    names(path, &source.text)?;
    let entries = lines(&source.text).filter_map(|line| line.entry().ok().flatten());
    let (app_passwords, own): (Vec<_>, Vec<_>) =
        entries.partition(|entry| entry.app_password.is_some());
    let mut users: Vec<_> = own.into_iter().map(|entry| user(entry, weak)).collect();
    if !app_passwords.is_empty() {
        let places = users.iter().enumerate().map(|(at, user)| (user.name.clone(), at));
        let places: HashMap<_, _> = places.collect();
        let mut usable: HashMap<usize, AppPasswords> = HashMap::new();
        for entry in app_passwords {
            let Some(&at) = places.get(&entry.name) else { continue };
            if let Some(user) = users.get_mut(at) {
                user.add(&entry, weak, usable.entry(at).or_default());
            }
        }
    }
    Ok(users)
}

/// The user of a line.
fn user(entry: Entry<'_>, weak: WeakSchemes) -> User {
    let account = entry.account(weak);
    let unusable = table::cannot_log_in(&account);
    let attributes = match account {
        Ok(account) => Some(account.attributes),
        // The mail may be elsewhere.
        Err(AccountError::MailPlace(_)) => None,
        Err(_) => entry.attributes().ok(),
    };
    User { name: entry.name, unusable, attributes, app_passwords: Vec::new() }
}

impl User {
    /// Adds the app password of a line. `usable` are those that were added before and can be used.
    fn add(&mut self, entry: &Entry<'_>, weak: WeakSchemes, usable: &mut AppPasswords) {
        let Some(name) = entry.app_password.clone() else { return };
        let attributes = self.attributes.clone().unwrap_or_default();
        let added = entry.account(weak).map_err(UnusableAppPassword::from).and_then(|described| {
            usable.add(name.clone(), described, &attributes).map_err(UnusableAppPassword::from)
        });
        self.app_passwords.push(AppPassword { name, unusable: added.err() });
    }
}
