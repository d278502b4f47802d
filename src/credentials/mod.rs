//! Credential stores: what is known of users, and the verifiers of their passwords.
//!
//! A [`CredentialStore`] says what it knows of a name, a [`TokenProvider`] for whom a token is;
//! whether a login succeeds is decided in `login`.
//!
//! - `file`: the credential file. `sql`, `ldap`: databases and directories. `checkpassword`, `pam`:
//!   programs and modules that decide themselves, asked by way of `gatekeeper`. `store`: a store of
//!   any of these kinds. `oauth2`: providers of tokens.
//! - `account`, `attribute`: what a store says of a user. `secret_file`: what a store is to be told.
//! - `decoy`: what is verified for a name that does not exist. `breaker`: no login waits for a store
//!   that is down. `trust`: the certificate authorities that stores are verified with.

use std::fmt::{self, Debug};
use std::future::{Future, ready};
use std::pin::Pin;

use crate::password::Verifier;
use crate::protocol::sasl::TokenGuidance;
use crate::protocol::{Secret, Username};

mod account;
mod attribute;
mod breaker;
mod checkpassword;
mod decoy;
mod file;
mod gatekeeper;
#[cfg(feature = "ldap")]
mod ldap;
#[cfg(feature = "oauth2")]
mod oauth2;
#[cfg(feature = "pam")]
mod pam;
#[cfg(any(feature = "ldap", feature = "oauth2", feature = "sql"))]
mod secret_file;
#[cfg(feature = "sql")]
mod sql;
mod store;
#[cfg(any(feature = "ldap", feature = "oauth2", feature = "sql"))]
mod trust;

pub use account::{Account, Attributes};
pub use breaker::Breaker;
pub use checkpassword::CheckpasswordProgram;
pub use decoy::Decoy;
pub use file::{BadFile, Faults, FileStore, Finding, Report, Table, edit, inspect};
pub use gatekeeper::{Gatekeeper, GatekeeperStore};
#[cfg(feature = "ldap")]
pub use ldap::LdapStore;
#[cfg(feature = "oauth2")]
pub use oauth2::Oauth2Provider;
#[cfg(feature = "pam")]
pub use pam::PamService;
#[cfg(feature = "sql")]
pub use sql::SqlStore;
pub use store::Store;

/// A place where users and the verifiers of their passwords are kept: a file, a database, a
/// directory, a program.
pub trait CredentialStore: Send + Sync + 'static {
    /// The store in the words of the configuration, say `file /etc/restante/users`.
    fn label(&self) -> String;

    /// What this store knows of `name`, without a password.
    fn look_up(&self, name: &Username) -> impl Future<Output = Lookup> + Send;

    /// Puts a password to a store that keeps its verifiers to itself.
    ///
    /// - Asked only about an account of its own whose verifier is [`Verifier::AtStore`], decoys
    ///   included.
    fn check(
        &self,
        name: &Username,
        account: &Account,
        password: &Secret<Vec<u8>>,
    ) -> impl Future<Output = Check> + Send {
        let _nothing_to_ask = (name, account, password);
        ready(Check::Unavailable("the store has no passwords that it checks itself".into()))
    }

    /// A verifier to spend on a name that no user has.
    ///
    /// - Verified in place of the missing one it makes an unknown user cost what a known one
    ///   costs, so the verifiers of expensive and cheap users come up as often as those users do.
    /// - The same `name` gets the same verifier each time: repeated tries cost the same.
    /// - `None` when the store has no user who can log in, or cannot say who is unknown.
    fn decoy(&self, name: &Username) -> Option<Decoy>;

    /// What tells an account from others by whatever name it was looked up: names with the same key
    /// lead to the same account. Nothing when each name is an account of its own, or the store does
    /// not know.
    ///
    /// - `found` is what the look-up gave. Where that makes no difference, nobody finds out by it
    ///   which names exist.
    fn account_key(&self, name: &Username, found: Option<&Account>) -> Option<Vec<u8>> {
        let _one_name_each = (name, found);
        None
    }

    /// What the users of this store can log in with, besides a password that is sent.
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
        let _kept = (name, verifier, password);
        ready(())
    }

    /// Why the store is known not to answer at the moment; nothing is asked for it.
    fn down(&self) -> Option<String> {
        None
    }

    /// Asks the store about a name that nobody has, past any breaker: for `restante check`.
    /// `Ok` says in a few words what was reached.
    fn probe(&self) -> impl Future<Output = Result<String, String>> + Send;
}

/// A provider of tokens (RFC 6750), which say themselves for whom they are.
pub trait TokenProvider: Debug + Send + Sync + 'static {
    /// The provider in the words of the configuration, say `oauth2 https://id.example.org`.
    fn label(&self) -> String;

    /// For whom a token is.
    fn redeem<'a>(
        &'a self,
        token: &'a Secret<Vec<u8>>,
    ) -> Pin<Box<dyn Future<Output = Redeemed> + Send + 'a>>;

    /// What a client is told about where its tokens come from (RFC 7628 §3.2.2).
    fn guidance(&self) -> TokenGuidance;

    /// Why no token can be redeemed at the moment, if that is known.
    fn down(&self) -> Option<String>;

    /// Asks the provider, past any breaker: for `restante check`. `Ok` says in a few words what was
    /// reached.
    fn probe(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>>;
}

/// Why a store cannot be opened. That it does not answer is no reason.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenError {
    /// The key of its section whose value has to be corrected.
    pub key: &'static str,
    /// What is wrong and what to do, in a line that names the file if there is one.
    pub what: String,
}

impl OpenError {
    /// What is wrong with the value of a key.
    fn at(key: &'static str) -> impl FnOnce(String) -> Self {
        move |what| Self { key, what }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for OpenError {}

/// The answer of a [`CredentialStore`] to a name.
#[derive(Debug)]
pub enum Lookup {
    /// The user exists; this store decides.
    Found(Account),
    /// The store cannot tell before it has the password ([`CredentialStore::check`]): only when
    /// that is right does it decide.
    Perhaps(Account),
    /// Not a user of this store: the next one is asked.
    Unknown,
    /// The store cannot answer now. Never shown to a client as a wrong password.
    Unavailable(String),
}

/// The answer of a [`CredentialStore`] to a password.
#[derive(Debug)]
pub enum Check {
    /// The password is right, and this is what the store says of the user.
    Right(Attributes),
    /// The password is wrong, or there is no such user.
    Wrong,
    /// The store cannot answer now. Never shown to a client as a wrong password.
    Unavailable(String),
}

/// The answer of a [`TokenProvider`] to a token.
#[derive(Debug)]
pub enum Redeemed {
    /// The token is good, and this is whom it is for.
    For(Username),
    /// The token is not one of this provider: the next one is asked.
    Foreign,
    /// The token is one of this provider and not good, and why: for the log.
    Bad(String),
    /// The provider cannot answer now. Never shown to a client as a bad token.
    Unavailable(String),
}

/// What every user of a store can log in with, besides a password that is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// SCRAM with SHA-1.
    pub scram_sha_1: bool,
    /// SCRAM with SHA-256.
    pub scram_sha_256: bool,
}
