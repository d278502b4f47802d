//! The users of a credential file, read whole: a table in memory, and what is to be said about the
//! file.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use super::parse::{Entry, Line, lines};
use super::{Cost, CredentialStore, Lookup, Verifier};
use crate::protocol::Username;

/// Users and the verifiers of their passwords, in memory.
///
/// `Table::try_from(bytes)` reads what a credential file holds.
#[derive(Debug)]
pub struct Table {
    users: HashMap<Username, Listed>,
    decoys: Decoys,
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
    /// From 1; none when it is about the whole file.
    pub line: Option<u32>,
    /// What is wrong, and what to write.
    pub what: String,
}

/// Why a credential file cannot be used: at least one [`Finding`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Finding>);

#[derive(Debug)]
struct Listed {
    verifier: Verifier,
    line: u32,
}

/// A verifier of each cost, with the number of users who have that cost.
///
/// Chosen by weight, they cost an unknown name what known ones cost, in the same proportions.
#[derive(Debug, Default)]
struct Decoys {
    kinds: Vec<(Verifier, u64)>,
    users: u64,
}

impl Table {
    /// Reads the text of a credential file; a table comes of it when there are no errors.
    ///
    /// `key` is what decoys are chosen by: with the same one they are the same after a reload.
    pub(super) fn read(text: &[u8], key: &RandomState) -> (Option<Self>, Report) {
        let mut reading = Reading {
            users: HashMap::with_hasher(key.clone()),
            errors: Findings::default(),
            warnings: Findings::default(),
        };
        for line in lines(text) {
            reading.take(line);
        }
        let Reading { users, errors, warnings } = reading;
        let report =
            Report { users: users.len(), errors: errors.into_vec(), warnings: warnings.into_vec() };
        let table = report.errors.is_empty().then(|| {
            let decoys = Decoys::of(users.values().map(|listed| &listed.verifier));
            Self { users, decoys }
        });
        (table, report)
    }

    /// How many users there are.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn find(&self, name: &Username) -> Option<&Verifier> {
        self.users.get(name).map(|listed| &listed.verifier)
    }

    pub(super) fn decoy(&self, name: &Username) -> Option<Verifier> {
        self.decoys.choose(self.users.hasher().hash_one(name))
    }
}

impl TryFrom<&[u8]> for Table {
    type Error = Faults;

    fn try_from(text: &[u8]) -> Result<Self, Faults> {
        let (table, report) = Self::read(text, &RandomState::new());
        table.ok_or(Faults(report.errors))
    }
}

impl CredentialStore for Table {
    async fn look_up(&self, name: &Username) -> Lookup {
        self.find(name).cloned().map_or(Lookup::Unknown, Lookup::Found)
    }

    fn decoy(&self, name: &Username) -> Option<Verifier> {
        self.decoy(name)
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

impl Decoys {
    fn of<'a>(verifiers: impl Iterator<Item = &'a Verifier>) -> Self {
        let mut by_cost: HashMap<Cost, (Verifier, u64)> = HashMap::new();
        for verifier in verifiers {
            if let Some(cost) = verifier.cost() {
                by_cost.entry(cost).or_insert_with(|| (verifier.clone(), 0)).1 += 1;
            }
        }
        let mut kinds: Vec<_> = by_cost.into_iter().collect();
        // In an order of their own, so that a name keeps its decoy when the file is read again.
        kinds.sort_unstable_by_key(|(cost, _)| *cost);
        let kinds: Vec<_> = kinds.into_iter().map(|(_, kind)| kind).collect();
        let users = kinds.iter().map(|(_, users)| users).sum();
        Self { kinds, users }
    }

    fn choose(&self, hash: u64) -> Option<Verifier> {
        let mut nth = hash.checked_rem(self.users)?;
        for (verifier, users) in &self.kinds {
            match nth.checked_sub(*users) {
                None => return Some(verifier.clone()),
                Some(beyond) => nth = beyond,
            }
        }
        None
    }
}

struct Reading {
    users: HashMap<Username, Listed>,
    errors: Findings,
    warnings: Findings,
}

impl Reading {
    fn take(&mut self, line: Line<'_>) {
        match line.entry() {
            Ok(None) => {}
            Ok(Some(entry)) => self.list(line.number, entry),
            Err(fault) => self.errors.add(line.number, || fault),
        }
    }

    fn list(&mut self, line: u32, entry: Entry<'_>) {
        let verifier = entry.verifier();
        let name = &entry.name;
        if let Some(first) = self.users.get(name) {
            let first = first.line;
            self.errors.add(line, || format!("{name} is in line {first} already; remove one"));
            return;
        }
        if let Verifier::Unusable(why) = &verifier {
            self.warnings.add(line, || format!("{name} cannot log in: {why}"));
        } else if let Some(key) = entry.elsewhere() {
            self.warnings.add(line, || {
                format!("{name}: {key} is not obeyed; mail is where the configuration says")
            });
        }
        self.users.insert(entry.name, Listed { verifier, line });
    }
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
