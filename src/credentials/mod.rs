//! Credential stores: users, their attributes, and the verifiers of their passwords.
//!
//! A [`CredentialStore`] says what it knows of a name, a [`TokenProvider`] whose a token is.
//! `login` decides whether a login succeeds.
//!
//! - `file`: the credential file. `sql`, `ldap`: databases and directories. `checkpassword`, `pam`:
//!   programs and modules that check passwords themselves, with `password_service` in common. `store`:
//!   a store of any of these kinds. `oauth2`: providers of tokens.
//! - `account`, `attribute`, `app_password`: what a store says of a user. `secret_file`: passwords
//!   for stores.
//! - `decoy`: what is verified for a name that does not exist. `breaker`: no login waits for a store
//!   that is down. `trust`: the certificate authorities that stores are verified with.

use std::error::Error;
use std::fmt::{self, Debug};
use std::future::{Future, ready};
use std::pin::Pin;

use tokio::time::Instant;

use crate::password::Verifier;
use crate::protocol::sasl::TokenGuidance;
use crate::protocol::{Secret, Username};

mod account;
mod app_password;
mod attribute;
mod breaker;
mod checkpassword;
mod decoy;
mod file;
#[cfg(feature = "ldap")]
mod ldap;
#[cfg(feature = "oauth2")]
mod oauth2;
#[cfg(feature = "pam")]
mod pam;
mod password_service;
#[cfg(any(feature = "ldap", feature = "oauth2", feature = "sql"))]
mod secret_file;
#[cfg(feature = "sql")]
mod sql;
mod store;
#[cfg(any(feature = "ldap", feature = "oauth2", feature = "sql"))]
mod trust;

use self::breaker::Breaker;
pub use account::{Account, Attributes};
pub use app_password::{AppPasswordError, AppPasswordName, AppPasswordNameError, AppPasswords};
pub use checkpassword::CheckpasswordProgram;
pub use decoy::Decoy;
pub use file::{BadFile, Diagnostic, Diagnostics, FileStore, Report, Table, edit, inspect};
#[cfg(feature = "ldap")]
pub use ldap::LdapStore;
#[cfg(feature = "oauth2")]
pub use oauth2::Oauth2Provider;
#[cfg(feature = "pam")]
pub use pam::PamService;
pub use password_service::{PasswordService, ServiceStore};
#[cfg(feature = "sql")]
pub use sql::SqlStore;
pub use store::Store;

/// A file, a database, a directory or a program with users and the verifiers of their passwords.
pub trait CredentialStore: Send + Sync + 'static {
    /// The store in the words of the configuration, say `file /etc/restante/users`.
    fn label(&self) -> String;

    /// Looks a user up, without a password.
    fn look_up(&self, name: &Username) -> impl Future<Output = Lookup> + Send;

    /// Lets a store check a password whose verifier it keeps to itself.
    ///
    /// - Called only for an account of this store whose verifier is [`Verifier::AtStore`], decoys
    ///   included.
    fn check(
        &self,
        name: &Username,
        account: &Account,
        password: &Secret<Vec<u8>>,
    ) -> impl Future<Output = Check> + Send {
        let _unused = (name, account, password);
        ready(Check::Unavailable(ChecksNone.into()))
    }

    /// A verifier to verify for a name that does not exist.
    ///
    /// - It makes an unknown name cost what a known one costs: verifiers of expensive and of cheap
    ///   users are chosen as often as there are such users.
    /// - The same `name` gets the same verifier each time, so that repeated tries cost the same.
    /// - `None` when the store has no user who can log in, or cannot say who is unknown.
    fn decoy(&self, name: &Username) -> Option<Decoy>;

    /// Identifies the account that a name leads to: names with the same key lead to the same
    /// account. `None` when each name is its own account, or the store does not know.
    ///
    /// - `found` is the result of the look-up. Where the key does not depend on it, the key does not
    ///   reveal which names exist.
    fn account_key(&self, name: &Username, found: Option<&Account>) -> Option<Vec<u8>> {
        let _unused = (name, found);
        None
    }

    /// The mechanisms that all users of this store can use, besides a password that is sent.
    fn offers(&self) -> Offers {
        Offers::default()
    }

    /// Replaces a verifier by a stronger one, now that the password is known to be right.
    ///
    /// Never fails: a login does not depend on it.
    fn strengthen(
        &self,
        name: &Username,
        verifier: &Verifier,
        password: &Secret<Vec<u8>>,
    ) -> impl Future<Output = ()> + Send {
        let _unused = (name, verifier, password);
        ready(())
    }

    /// Records that these users have logged in, if the store is to. No login waits for this.
    ///
    /// # Errors
    /// Why some of them are not recorded.
    fn record_logins(
        &self,
        users: &[Username],
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _unused = users;
        ready(Ok(()))
    }

    /// The names of all users; `None` if the store cannot list them.
    fn users(&self) -> impl Future<Output = Result<Option<Vec<Username>>, StoreError>> + Send {
        ready(Ok(None))
    }

    /// Since when and why the store is known to be down, if it is. Does not ask the store.
    fn down(&self) -> Option<Outage> {
        None
    }

    /// Asks the store about a name that does not exist, past any breaker: for `restante check`.
    /// `Ok` says in a few words what was reached.
    fn probe(&self) -> impl Future<Output = Result<String, StoreError>> + Send;
}

/// A provider of tokens (RFC 6750), each of which names its user.
pub trait TokenProvider: Debug + Send + Sync + 'static {
    /// The provider in the words of the configuration, say `oauth2 https://id.example.org`.
    fn label(&self) -> String;

    /// Says whose a token is.
    fn redeem<'a>(
        &'a self,
        token: &'a Secret<Vec<u8>>,
    ) -> Pin<Box<dyn Future<Output = Redeemed> + Send + 'a>>;

    /// What a client is told about where its tokens come from (RFC 7628 §3.2.2).
    fn guidance(&self) -> TokenGuidance;

    /// Since when and why the provider is known to be down, if it is and tokens cannot be redeemed
    /// without it.
    fn down(&self) -> Option<Outage>;

    /// Asks the provider, past any breaker: for `restante check`. `Ok` says in a few words what was
    /// reached.
    fn probe(&self) -> Pin<Box<dyn Future<Output = Result<String, StoreError>> + Send + '_>>;
}

/// The error of a store or provider of any kind: what is wrong and what to do, in a line.
///
/// For the log and for `restante check`: callers only show it.
#[derive(Debug)]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl<E: Error + Send + Sync + 'static> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A store or provider that is down.
#[derive(Debug)]
pub struct Outage {
    /// Why, as of the last time that it was asked.
    pub why: StoreError,
    /// When the server first knew of it.
    pub since: Instant,
}

/// A store without [`CredentialStore::check`] was asked to check a password.
#[derive(Debug, thiserror::Error)]
#[error("the store has no passwords that it checks itself")]
struct ChecksNone;

/// Why a store cannot be opened. A store that does not answer can be.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct OpenError {
    /// The key of its section whose value has to be corrected.
    pub key: &'static str,
    /// Names the file, if there is one.
    pub why: StoreError,
}

impl OpenError {
    /// What is wrong with the value of a key.
    pub(crate) fn at<E: Into<StoreError>>(key: &'static str) -> impl FnOnce(E) -> Self {
        move |why| Self { key, why: why.into() }
    }
}

/// The answer of a [`CredentialStore`] to a name.
#[derive(Debug)]
pub enum Lookup {
    /// The user exists; this store decides.
    Found(Account),
    /// The store cannot tell before it has the password ([`CredentialStore::check`]). It decides
    /// only when the password is right.
    Perhaps(Account),
    /// Not a user of this store: the next one is asked.
    Unknown,
    /// The store cannot answer now. Never shown to a client as a wrong password.
    Unavailable(StoreError),
}

/// The answer of a [`CredentialStore`] to a password.
#[derive(Debug)]
pub enum Check {
    /// The password is right, and this is what the store says of the user.
    Right(Attributes),
    /// The password is wrong, or there is no such user.
    Wrong,
    /// The store cannot answer now. Never shown to a client as a wrong password.
    Unavailable(StoreError),
}

/// The answer of a [`TokenProvider`] to a token.
#[derive(Debug)]
pub enum Redeemed {
    /// The token is good and belongs to this user.
    For(Username),
    /// The token is not one of this provider: the next one is asked.
    Foreign,
    /// The token is one of this provider and is not good. The reason is for the log.
    Bad(StoreError),
    /// The provider cannot answer now. Never shown to a client as a bad token.
    Unavailable(StoreError),
}

/// The mechanisms that every user of a store can use, besides a password that is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// SCRAM with SHA-1.
    pub scram_sha_1: bool,
    /// SCRAM with SHA-256.
    pub scram_sha_256: bool,
}
