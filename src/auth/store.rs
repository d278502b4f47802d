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

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that a network or a database is in front of.
    enum Remote {
        Up(Table),
        Down,
    }

    impl CredentialStore for Remote {
        async fn look_up(&self, name: &Username) -> Lookup {
            match self {
                Self::Up(table) => table.look_up(name).await,
                Self::Down => Lookup::Unavailable("no connection".into()),
            }
        }

        fn decoy(&self, name: &Username) -> Option<Verifier> {
            match self {
                Self::Up(table) => CredentialStore::decoy(table, name),
                Self::Down => None,
            }
        }
    }

    fn up(text: &str) -> Remote {
        Remote::Up(Table::try_from(text.as_bytes()).unwrap())
    }

    async fn answer(stores: &Stores<Remote>, name: &str) -> String {
        match stores.look_up(&Username::try_from(name).unwrap()).await {
            Lookup::Found(Verifier::Plain(password)) => {
                String::from_utf8(password.expose().to_vec()).unwrap()
            }
            Lookup::Found(verifier) => format!("{verifier:?}"),
            Lookup::Unknown => "unknown".into(),
            Lookup::Unavailable(why) => why,
        }
    }

    #[tokio::test]
    async fn the_first_that_knows_the_user_decides() {
        let stores = Stores::new(vec![
            up("mrose:{PLAIN}first\nlocked:!\n"),
            up("mrose:{PLAIN}second\nbob:{PLAIN}second\nlocked:{PLAIN}second\n"),
        ]);
        assert_eq!(answer(&stores, "mrose").await, "first");
        assert_eq!(answer(&stores, "bob").await, "second");
        assert_eq!(answer(&stores, "carol").await, "unknown");
        // Known, though without a password that can be used: the second is not asked.
        assert!(answer(&stores, "locked").await.contains("Unusable"));
    }

    #[tokio::test]
    async fn a_store_that_is_down_ends_the_search() {
        let stores = Stores::new(vec![
            up("mrose:{PLAIN}first\n"),
            Remote::Down,
            up("mrose:{PLAIN}third\nbob:{PLAIN}third\n"),
        ]);
        assert_eq!(answer(&stores, "mrose").await, "first");
        assert_eq!(answer(&stores, "bob").await, "no connection");
        assert_eq!(answer(&stores, "carol").await, "no connection");
    }

    #[tokio::test]
    async fn without_stores_nobody_is_known() {
        let stores = Stores::<Remote>::new(Vec::new());
        assert_eq!(answer(&stores, "mrose").await, "unknown");
        assert!(stores.decoy(&Username::try_from("mrose").unwrap()).is_none());
    }

    #[test]
    fn decoys_come_from_the_first_store_that_has_one() {
        let name = Username::try_from("nobody").unwrap();
        let argon2 = "bob:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv";
        let decoy = |stores| Stores::new(stores).decoy(&name);
        for stores in
            [vec![up(argon2), up("a:{PLAIN}x")], vec![Remote::Down, up("a:!"), up(argon2)]]
        {
            assert!(matches!(decoy(stores), Some(Verifier::Argon2(_))));
        }
        assert!(decoy(vec![Remote::Down, up("")]).is_none());
    }
}
