//! A store of any kind, so that a configuration may list stores of several kinds.

#[cfg(feature = "ldap")]
use super::LdapStore;
#[cfg(feature = "pam")]
use super::PamService;
#[cfg(feature = "sql")]
use super::SqlStore;
#[cfg(test)]
use super::Table;
use super::{
    Account, BadFile, Check, CheckpasswordProgram, CredentialStore, Decoy, FileStore, Lookup,
    Offers, Outage, ServiceStore, StoreError,
};
use crate::password::Verifier;
use crate::protocol::{Secret, Username};

/// A store of any kind.
#[derive(Debug)]
pub enum Store {
    /// A program.
    Checkpassword(Box<ServiceStore<CheckpasswordProgram>>),
    /// A credential file.
    File(FileStore),
    /// A directory.
    #[cfg(feature = "ldap")]
    Ldap(Box<LdapStore>),
    /// PAM.
    #[cfg(feature = "pam")]
    Pam(Box<ServiceStore<PamService>>),
    /// A database.
    #[cfg(feature = "sql")]
    Sql(Box<SqlStore>),
    /// Users in memory.
    #[cfg(test)]
    Table(Table),
}

impl Store {
    /// Takes the place of a store in a reload. An unknown name costs as much as before.
    ///
    /// # Errors
    /// [`BadFile`] when all users of a file have gone.
    pub fn replace(&self, old: &Self) -> Result<(), BadFile> {
        match (self, old) {
            (Self::File(new), Self::File(old)) => new.replace(old),
            #[cfg(feature = "sql")]
            (Self::Sql(new), Self::Sql(old)) => {
                new.replace(old);
                Ok(())
            }
            (_, _) => Ok(()),
        }
    }
}

/// Calls a method of the store, whatever its kind.
macro_rules! each {
    ($store:expr, $kind:ident => $call:expr) => {
        match $store {
            Store::Checkpassword($kind) => $call,
            Store::File($kind) => $call,
            #[cfg(feature = "ldap")]
            Store::Ldap($kind) => $call,
            #[cfg(feature = "pam")]
            Store::Pam($kind) => $call,
            #[cfg(feature = "sql")]
            Store::Sql($kind) => $call,
            #[cfg(test)]
            Store::Table($kind) => $call,
        }
    };
}

/// Calls a method and awaits it. The futures of stores that are not files are large; boxing keeps
/// them out of the future of each session.
macro_rules! ask {
    ($store:expr, $kind:ident => $call:expr) => {
        match $store {
            Store::File($kind) => $call.await,
            other => each!(other, $kind => Box::pin($call).await),
        }
    };
}

impl CredentialStore for Store {
    fn label(&self) -> String {
        each!(self, store => store.label())
    }

    async fn look_up(&self, name: &Username) -> Lookup {
        ask!(self, store => store.look_up(name))
    }

    async fn check(&self, name: &Username, account: &Account, password: &Secret<Vec<u8>>) -> Check {
        ask!(self, store => store.check(name, account, password))
    }

    fn decoy(&self, name: &Username) -> Option<Decoy> {
        each!(self, store => store.decoy(name))
    }

    fn account_key(&self, name: &Username, found: Option<&Account>) -> Option<Vec<u8>> {
        each!(self, store => store.account_key(name, found))
    }

    fn offers(&self) -> Offers {
        each!(self, store => store.offers())
    }

    async fn strengthen(&self, name: &Username, verifier: &Verifier, password: &Secret<Vec<u8>>) {
        ask!(self, store => store.strengthen(name, verifier, password));
    }

    async fn record_logins(&self, users: &[Username]) -> Result<(), StoreError> {
        ask!(self, store => store.record_logins(users))
    }

    async fn users(&self) -> Result<Option<Vec<Username>>, StoreError> {
        ask!(self, store => store.users())
    }

    fn down(&self) -> Option<Outage> {
        each!(self, store => store.down())
    }

    async fn probe(&self) -> Result<String, StoreError> {
        ask!(self, store => store.probe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every session has room for the future of a login, even while it runs another command.
    #[test]
    fn the_futures_of_stores_take_little_room_in_a_session() {
        let store = Store::Table(Table::try_from(&b"mrose:{PLAIN}x"[..]).unwrap());
        let (name, secret) = (Username::try_from("mrose").unwrap(), Secret::new(Vec::new()));
        let account = Account::new(Verifier::AtStore("".into()));
        for octets in [
            size_of_val(&store.look_up(&name)),
            size_of_val(&store.check(&name, &account, &secret)),
            size_of_val(&store.strengthen(&name, &account.verifier, &secret)),
        ] {
            assert!(octets < 2048, "{octets}");
        }
    }
}
