//! The users of a credential file: a table in memory, and what is wrong with the file.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::diagnostic::{
    CannotLogIn, Diagnostics, LineDiagnostics, LineProblem, Report, UnusableAppPassword,
};
use super::parse::{AccountError, Entry, lines};
use crate::credentials::decoy::Decoys;
use crate::credentials::{
    Account, AppPasswordName, AppPasswords, Attributes, Decoy, Lookup, Offers,
};
use crate::password::{Verifier, WeakSchemes};
use crate::protocol::Username;
use crate::protocol::sasl::ScramHash;

/// Users and the verifiers of their passwords, in memory.
#[derive(Debug)]
pub struct Table {
    /// Each user's account, or why the user cannot log in.
    users: HashMap<Username, Listed<Result<Known, AccountError>>>,
    decoys: Decoys,
    offers: Offers,
}

/// A user as listed in a line.
#[derive(Debug)]
pub(super) struct Listed<V> {
    known: V,
    line: u32,
}

#[derive(Debug)]
struct Known {
    verifier: Verifier,
    /// Boxed, as most users have none and there may be a million of them.
    others: Option<Box<Others>>,
}

/// What a user may have besides a password.
#[derive(Debug, Default)]
struct Others {
    attributes: Attributes,
    app_passwords: AppPasswords,
}

impl Table {
    /// Reads the text of a credential file. There is a table if there are no errors.
    ///
    /// `key` chooses the decoys: with the same key they are the same after a reload.
    pub fn read(text: &[u8], weak: WeakSchemes, key: &RandomState) -> (Option<Self>, Report) {
        // A line with a hash is a little longer, so the map never has to grow.
        let expected = text.len() / 128;
        let mut users = HashMap::with_capacity_and_hasher(expected, key.clone());
        let mut warnings = LineDiagnostics::default();
        let (errors, app_passwords) =
            collect(text, &mut users, |line, entry| known(line, entry, weak, &mut warnings));
        for AppPasswordLine { number, name, entry } in app_passwords {
            let user = users.get_mut(&entry.name).map(|listed| &mut listed.known);
            if let Some(Ok(user)) = user
                && let Err(why) = user.add(&name, &entry, weak)
            {
                let user = entry.name;
                warnings.add(number, || LineProblem::AppPassword { user, name, why });
            }
        }
        let report =
            Report { users: users.len(), errors: errors.into_vec(), warnings: warnings.into_vec() };
        let table = report.errors.is_empty().then(|| {
            let mut decoys = Decoys::default();
            // The mechanisms that all users can use, not counting those who cannot log in.
            let mut offers = Offers { scram_sha_1: true, scram_sha_256: true };
            let known = users.values().filter_map(|listed| listed.known.as_ref().ok());
            for known in known {
                // A client that has an app password would fail with SCRAM.
                if known.has_app_passwords() {
                    offers = Offers::default();
                }
                let verifier = &known.verifier;
                if verifier.cost().is_some() {
                    decoys.add(verifier);
                    offers.scram_sha_1 &= verifier.has_keys(ScramHash::Sha1);
                    offers.scram_sha_256 &= verifier.has_keys(ScramHash::Sha256);
                }
            }
            Self { users, decoys, offers }
        });
        (table, report)
    }

    /// How many users there are.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn find(&self, name: &Username) -> Lookup {
        match self.users.get(name).map(|listed| &listed.known) {
            Some(Ok(Known { verifier, others })) => {
                let mut account = Account::new(verifier.clone());
                if let Some(others) = others {
                    let Others { attributes, app_passwords } = &**others;
                    account.attributes = attributes.clone();
                    account.app_passwords = app_passwords.clone();
                }
                Lookup::Found(account)
            }
            Some(Err(why)) => Lookup::Unavailable((*why).into()),
            None => Lookup::Unknown,
        }
    }

    pub(super) fn offers(&self) -> Offers {
        self.offers
    }

    pub(super) fn decoy(&self, name: &Username) -> Option<Decoy> {
        self.decoys.choose(self.users.hasher().hash_one(name))
    }
}

/// The names of the users of a credential file, without their passwords.
///
/// # Errors
/// Those of [`Table::read`].
pub(super) fn names(text: &[u8]) -> Result<HashMap<Username, Listed<()>>, Diagnostics> {
    let mut names = HashMap::new();
    let errors = collect(text, &mut names, |_, _| ()).0.into_vec();
    if errors.is_empty() { Ok(names) } else { Err(Diagnostics(errors)) }
}

/// The line of an app password.
struct AppPasswordLine<'a> {
    number: u32,
    name: AppPasswordName,
    entry: Entry<'a>,
}

/// Puts each user of a file into `users`, with the result of `known` for the line. Returns the
/// errors of lines, and the lines of app passwords.
fn collect<'a, V>(
    text: &'a [u8],
    users: &mut HashMap<Username, Listed<V>>,
    mut known: impl FnMut(u32, &Entry<'_>) -> V,
) -> (LineDiagnostics, Vec<AppPasswordLine<'a>>) {
    let mut errors = LineDiagnostics::default();
    let mut app_passwords = Vec::new();
    for line in lines(text) {
        match line.entry() {
            Ok(None) => {}
            Ok(Some(entry)) if let Some(name) = entry.app_password.clone() => {
                app_passwords.push(AppPasswordLine { number: line.number, name, entry });
            }
            Ok(Some(entry)) => match users.get(&entry.name) {
                Some(Listed { line: first, .. }) => errors.add(line.number, || {
                    LineProblem::Duplicate { name: entry.name.clone(), first: *first }
                }),
                None => {
                    let known = known(line.number, &entry);
                    users.insert(entry.name, Listed { known, line: line.number });
                }
            },
            Err(error) => errors.add(line.number, || LineProblem::Line(error)),
        }
    }
    check_order(&app_passwords, users, &mut errors);
    (errors, app_passwords)
}

/// Adds an error for each app password without a user before it, and for each that a user has twice.
fn check_order<V>(
    app_passwords: &[AppPasswordLine<'_>],
    users: &HashMap<Username, Listed<V>>,
    errors: &mut LineDiagnostics,
) {
    let mut lines = HashMap::new();
    for AppPasswordLine { number, name, entry } in app_passwords {
        let user = &entry.name;
        let first = *lines.entry((user, name)).or_insert(*number);
        if users.get(user).is_none_or(|listed| listed.line > *number) {
            errors.add(*number, || LineProblem::WithoutUser(user.clone()));
        } else if first != *number {
            let (user, name) = (user.clone(), name.clone());
            errors.add(*number, || LineProblem::SameAppPassword { user, name, first });
        }
    }
}

/// The account in a line, with a warning when the user cannot log in.
fn known(
    line: u32,
    entry: &Entry<'_>,
    weak: WeakSchemes,
    warnings: &mut LineDiagnostics,
) -> Result<Known, AccountError> {
    let account = entry.account(weak);
    // Not a warning about a user who has been locked on purpose.
    let is_locked = account.as_ref().is_ok_and(|account| account.verifier.is_locked());
    if let Some(why) = cannot_log_in(&account).filter(|_| !is_locked) {
        warnings.add(line, || LineProblem::CannotLogIn(entry.name.clone(), why));
    }
    let Account { verifier, attributes, app_passwords } = account?;
    let plain = attributes == Attributes::default();
    let others = (!plain).then(|| Box::new(Others { attributes, app_passwords }));
    Ok(Known { verifier, others })
}

impl Known {
    /// Adds the app password in a line.
    fn add(
        &mut self,
        name: &AppPasswordName,
        entry: &Entry<'_>,
        weak: WeakSchemes,
    ) -> Result<(), UnusableAppPassword> {
        let described = entry.account(weak)?;
        let Others { attributes, app_passwords } = &mut **self.others.get_or_insert_default();
        Ok(app_passwords.add(name.clone(), described, attributes)?)
    }

    fn has_app_passwords(&self) -> bool {
        self.others.as_ref().is_some_and(|others| !others.app_passwords.is_empty())
    }
}

/// Why a user cannot log in, if that is so.
pub(super) fn cannot_log_in(account: &Result<Account, AccountError>) -> Option<CannotLogIn> {
    match account {
        Ok(account) => account.verifier.why_unusable().cloned().map(CannotLogIn::from),
        Err(why) => Some((*why).into()),
    }
}

#[cfg(test)]
mod tests;
