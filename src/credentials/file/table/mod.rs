//! The users of a credential file, read whole: a table in memory, and what is to be said about the
//! file.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::hash::{BuildHasher, RandomState};

use super::parse::{AccountError, Entry, lines};
use crate::credentials::decoy::Decoys;
use crate::credentials::{Account, Attributes, Decoy, Lookup, Offers};
use crate::password::{Verifier, WeakSchemes};
use crate::protocol::Username;
use crate::protocol::sasl::ScramHash;

/// Users and the verifiers of their passwords, in memory.
#[derive(Debug)]
pub struct Table {
    /// What is known of each, or why this user cannot log in.
    users: HashMap<Username, Listed<Result<Known, AccountError>>>,
    decoys: Decoys,
    offers: Offers,
}

/// What is to be said about a credential file. Shows nothing secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many users the file has, those included who cannot log in.
    pub users: usize,
    /// Why the file cannot be used.
    pub errors: Vec<Finding>,
    /// What is wrong with single users or unwise in all; the file is used in spite of it.
    pub warnings: Vec<Finding>,
}

/// One thing to be said about a credential file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// From 1; `None` when it is about the whole file.
    pub line: Option<u32>,
    /// What is wrong, and what to write.
    pub what: String,
}

/// Why a credential file cannot be used: at least one [`Finding`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Finding>);

/// A user as listed in a line.
#[derive(Debug)]
pub(super) struct Listed<V> {
    known: V,
    line: u32,
}

#[derive(Debug)]
struct Known {
    verifier: Verifier,
    /// Most users have none, and there may be a million.
    attributes: Option<Box<Attributes>>,
}

impl Table {
    /// Reads the text of a credential file; a table comes of it when there are no errors.
    ///
    /// `key` is what decoys are chosen by: with the same one they are the same after a reload.
    pub fn read(text: &[u8], weak: WeakSchemes, key: &RandomState) -> (Option<Self>, Report) {
        // A line with a hash is a little longer: a million users take no growing.
        let expected = text.len() / 128;
        let mut users = HashMap::with_capacity_and_hasher(expected, key.clone());
        let mut warnings = Findings::default();
        let errors =
            collect(text, &mut users, |line, entry| known(line, entry, weak, &mut warnings));
        let report =
            Report { users: users.len(), errors: errors.into_vec(), warnings: warnings.into_vec() };
        let table = report.errors.is_empty().then(|| {
            let known = || users.values().filter_map(|listed| listed.known.as_ref().ok());
            let decoys = known().map(|known| &known.verifier).collect();
            let offers = offers(known().map(|known| &known.verifier));
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

impl Finding {
    pub(super) fn whole_file(what: impl Into<String>) -> Self {
        Self { line: None, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// What all users can log in with, those apart who cannot log in.
fn offers<'a>(verifiers: impl Iterator<Item = &'a Verifier>) -> Offers {
    let mut offers = Offers { scram_sha_1: true, scram_sha_256: true };
    for verifier in verifiers.filter(|verifier| verifier.cost().is_some()) {
        offers.scram_sha_1 &= verifier.has_keys(ScramHash::Sha1);
        offers.scram_sha_256 &= verifier.has_keys(ScramHash::Sha256);
    }
    offers
}

/// The names of the users of a credential file, which tells whether the file is sound and who is in
/// it.
///
/// # Errors
/// Those of [`Table::read`].
pub(super) fn names(text: &[u8]) -> Result<HashMap<Username, Listed<()>>, Faults> {
    let mut names = HashMap::new();
    let errors = collect(text, &mut names, |_, _| ()).into_vec();
    if errors.is_empty() { Ok(names) } else { Err(Faults(errors)) }
}

/// Puts each user of a file into `users`, with what `known` makes of the line and its number; yields
/// what is wrong with lines.
fn collect<V>(
    text: &[u8],
    users: &mut HashMap<Username, Listed<V>>,
    mut known: impl FnMut(u32, &Entry<'_>) -> V,
) -> Findings {
    let mut errors = Findings::default();
    for line in lines(text) {
        match line.entry() {
            Ok(None) => {}
            Ok(Some(entry)) => match users.get(&entry.name) {
                Some(Listed { line: first, .. }) => errors.add(line.number, || {
                    format!("{} is in line {first} already; remove one", entry.name)
                }),
                None => {
                    let known = known(line.number, &entry);
                    users.insert(entry.name, Listed { known, line: line.number });
                }
            },
            Err(error) => errors.add(line.number, || error.to_string()),
        }
    }
    errors
}

/// What a line says of a user, and a warning when the user cannot log in.
fn known(
    line: u32,
    entry: &Entry<'_>,
    weak: WeakSchemes,
    warnings: &mut Findings,
) -> Result<Known, AccountError> {
    let account = entry.account(weak);
    let flaw: Option<&dyn Display> = match &account {
        Ok(account) => account.verifier.why_unusable().map(|flaw| flaw as _),
        Err(why) => Some(why),
    };
    if let Some(why) = flaw {
        warnings.add(line, || format!("{} cannot log in: {why}", entry.name));
    }
    let Account { verifier, attributes } = account?;
    let plain = attributes == Attributes::default();
    Ok(Known { verifier, attributes: (!plain).then(|| Box::new(attributes)) })
}

/// Findings, of which the first ones are kept: a million lines may be wrong in the same way.
#[derive(Default)]
struct Findings {
    kept: Vec<Finding>,
    others: usize,
}

impl Findings {
    const KEPT: usize = 50;

    fn add(&mut self, line: u32, what: impl FnOnce() -> String) {
        if self.kept.len() < Self::KEPT {
            self.kept.push(Finding { line: Some(line), what: what() });
        } else {
            self.others += 1;
        }
    }

    fn into_vec(mut self) -> Vec<Finding> {
        if self.others > 0 {
            self.kept.push(Finding::whole_file(format!("and {} more like these", self.others)));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests;
