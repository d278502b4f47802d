//! The users of a credential file: a table in memory, and what is wrong with the file.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::diagnostic::{CannotLogIn, Diagnostics, LineDiagnostics, LineProblem, Report};
use super::parse::{AccountError, Entry, lines};
use crate::credentials::decoy::Decoys;
use crate::credentials::{Account, Attributes, Decoy, Lookup, Offers};
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
    attributes: Option<Box<Attributes>>,
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
        let errors =
            collect(text, &mut users, |line, entry| known(line, entry, weak, &mut warnings));
        let report =
            Report { users: users.len(), errors: errors.into_vec(), warnings: warnings.into_vec() };
        let table = report.errors.is_empty().then(|| {
            let mut decoys = Decoys::default();
            // The mechanisms that all users can use, not counting those who cannot log in.
            let mut offers = Offers { scram_sha_1: true, scram_sha_256: true };
            let known = users.values().filter_map(|listed| listed.known.as_ref().ok());
            for Known { verifier, .. } in known.filter(|known| known.verifier.cost().is_some()) {
                decoys.add(verifier);
                offers.scram_sha_1 &= verifier.has_keys(ScramHash::Sha1);
                offers.scram_sha_256 &= verifier.has_keys(ScramHash::Sha256);
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
            Some(Ok(Known { verifier, attributes })) => Lookup::Found(Account {
                verifier: verifier.clone(),
                attributes: attributes.as_deref().cloned().unwrap_or_default(),
            }),
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
    let errors = collect(text, &mut names, |_, _| ()).into_vec();
    if errors.is_empty() { Ok(names) } else { Err(Diagnostics(errors)) }
}

/// Puts each user of a file into `users`, with the result of `known` for the line. Returns the
/// errors of lines.
fn collect<V>(
    text: &[u8],
    users: &mut HashMap<Username, Listed<V>>,
    mut known: impl FnMut(u32, &Entry<'_>) -> V,
) -> LineDiagnostics {
    let mut errors = LineDiagnostics::default();
    for line in lines(text) {
        match line.entry() {
            Ok(None) => {}
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
    errors
}

/// The account in a line, with a warning when the user cannot log in.
fn known(
    line: u32,
    entry: &Entry<'_>,
    weak: WeakSchemes,
    warnings: &mut LineDiagnostics,
) -> Result<Known, AccountError> {
    let account = entry.account(weak);
    if let Some(why) = cannot_log_in(&account) {
        warnings.add(line, || LineProblem::CannotLogIn(entry.name.clone(), why));
    }
    let Account { verifier, attributes } = account?;
    let plain = attributes == Attributes::default();
    Ok(Known { verifier, attributes: (!plain).then(|| Box::new(attributes)) })
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
