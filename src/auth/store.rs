//! Several stores in a row, asked in the order of the configuration.

use super::{CredentialStore, FileStore, Lookup, Table, Verifier};
use crate::protocol::Username;

/// Stores in the order in which they are asked.
///
/// - The first one that knows the user decides.
/// - One that cannot answer ends the search: the user may be there, with another password than
///   further down.
/// - Decoys come from the first store that has one.
#[derive(Debug)]
pub struct Stores<S = Store>(Vec<S>);

/// A store of any kind.
#[derive(Debug)]
pub enum Store {
    /// A credential file.
    File(FileStore),
    /// Users who are the same for as long as the program runs.
    Table(Table),
}

impl<S> Stores<S> {
    /// Stores in the order in which they are to be asked.
    pub fn new(stores: Vec<S>) -> Self {
        Self(stores)
    }
}

impl<S: CredentialStore> CredentialStore for Stores<S> {
    async fn look_up(&self, name: &Username) -> Lookup {
        for store in &self.0 {
            match store.look_up(name).await {
                Lookup::Unknown => {}
                answer @ (Lookup::Found(_) | Lookup::Unavailable(_)) => return answer,
            }
        }
        Lookup::Unknown
    }

    fn decoy(&self, name: &Username) -> Option<Verifier> {
        self.0.iter().find_map(|store| store.decoy(name))
    }
}

impl CredentialStore for Store {
    async fn look_up(&self, name: &Username) -> Lookup {
        match self {
            Self::File(file) => file.look_up(name).await,
            Self::Table(table) => table.look_up(name).await,
        }
    }

    fn decoy(&self, name: &Username) -> Option<Verifier> {
        match self {
            Self::File(file) => file.decoy(name),
            Self::Table(table) => CredentialStore::decoy(table, name),
        }
    }
}
