//! Who may log in: credential stores, password schemes, and the verification of passwords.
//!
//! A [`CredentialStore`] says what it knows of a user; the [`Authenticator`] asks it, verifies the
//! password in a bounded pool and, alone in the program, makes an [`Identity`]. Nothing here knows
//! of sessions, mailboxes or replies.
//!
//! - `scheme`: what a password is checked against, and how much work that may be.
//! - `decoy`: what is verified for a name that nobody has.
//! - `table`, `parse`: the users of a credential file; `file` keeps them up to date.
//! - `account`: what a store says of a user. `store`: the stores of other kinds than a file.
//! - `authenticator`: log-ins with a password that is sent; `compare`: it and a verifier. `scram`: with proof of one that is not.
//!   `token`, `certificate`: with these. `refusal`: why somebody is not let in.
//! - `throttle`, `network`: who guesses passwords waits; `cache`: who is known need not wait for a
//!   hash; `turns`: who is next at hashing; `breaker`: nobody waits for a store that is down. `fading` is what they remember with.
//! - `log_budget`: how much strangers make the log write; `rate`: how often something comes from one place.
//! - `edit`: changes to a credential file, for `restante user`.

use std::future::{Future, ready};
use std::num::NonZeroU32;
use std::path::Path;

use crate::protocol::{Secret, Username};

mod account;
mod attribute;
mod authenticator;
mod breaker;
mod cache;
mod certificate;
mod compare;
mod decoy;
pub mod edit;
mod fading;
mod file;
mod log_budget;
mod network;
mod parse;
mod password;
mod random;
mod rate;
mod refusal;
mod scheme;
mod scram;
mod source;
mod store;
mod table;
pub mod throttle;
mod token;
mod turns;

pub use account::{Account, Attributes};
pub use authenticator::{Authenticator, Rules};
pub use breaker::{Breaker, Probe};
pub use file::{BadFile, FileOptions, FileStore, inspect};
pub use log_budget::{Entry, LeftOut, LogBudget};
pub use network::{AllowedNetworks, Level, Network};
pub use password::{NewPassword, PasswordFault};
pub use rate::Rate;
pub use refusal::{Reason, Refusal, Verdict};
pub use scheme::{Cost, Digest, NewScheme, Unhashed, Verifier, WeakSchemes, hash};
pub use scram::ScramLogin;
#[cfg(feature = "pam")]
pub use store::PamService;
pub use store::{
    CheckpasswordProgram, Gatekeeper, GatekeeperStore, LdapBind, LdapKeys, LdapSettings, LdapStore,
    LdapWay, Oauth2Introspection, Oauth2Settings, Oauth2Store, SqlSettings, SqlStore, Store,
};
pub use table::{Faults, Finding, Report, Table};
pub use throttle::Throttle;
pub use turns::Turns;

/// The longest password that is taken, in octets; nobody types a longer one.
pub const MAX_PASSWORD_OCTETS: usize = 4096;

/// A user whose password has been verified.
///
/// Only this room can make one, and opening a maildrop takes one: there is no way to another
/// user's mail that leaves the password out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: Username,
    attributes: Attributes,
}

impl Identity {
    /// The canonical name of the user.
    pub fn username(&self) -> &Username {
        &self.name
    }

    /// The user's home directory, if a store says which.
    pub fn home(&self) -> Option<&Path> {
        self.attributes.home.as_deref()
    }

    /// The user's Maildir, if a store says which.
    pub fn mail(&self) -> Option<&Path> {
        self.attributes.mail.as_deref()
    }

    /// How many sessions the user may have, if a store says so.
    pub fn sessions(&self) -> Option<NonZeroU32> {
        self.attributes.sessions
    }

    /// Where the user may log in from, if a store says so.
    pub fn allow_nets(&self) -> Option<&AllowedNetworks> {
        self.attributes.allow_nets.as_ref()
    }

    /// An identity without a password, for the tests of other rooms.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str) -> Self {
        Self { name: Username::try_from(name).unwrap(), attributes: Attributes::default() }
    }
}

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

    /// A verifier to spend on a name that nobody has.
    ///
    /// - Verified in place of the missing one it makes an unknown user cost what a known one
    ///   costs, so the verifiers of expensive and cheap users come up as often as those users do.
    /// - The same `name` gets the same verifier each time: repeated tries cost the same.
    /// - `None` when the store has no user who can log in, or cannot say who is unknown.
    fn decoy(&self, name: &Username) -> Option<Verifier>;

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

    /// What the users of this store log in with.
    fn offers(&self) -> Offers {
        Offers { passwords: true, ..Offers::default() }
    }

    /// Whom a token is for (RFC 6750), if this store knows about tokens.
    fn redeem(&self, token: &Secret<Vec<u8>>) -> impl Future<Output = Redeemed> + Send {
        let _not_ours = token;
        ready(Redeemed::Foreign)
    }

    /// What a client is told about where its tokens come from (RFC 7628 §3.2.2).
    fn token_hint(&self) -> Option<TokenHint> {
        None
    }

    /// Replaces a verifier by a stronger one, now that the password is known to be right.
    ///
    /// Never fails: a log-in does not depend on it.
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

/// The answer of a [`CredentialStore`] to a token.
#[derive(Debug)]
pub enum Redeemed {
    /// The token is good, and this is whom it is for.
    For(Username),
    /// The token is not one of this store: the next one is asked.
    Foreign,
    /// The token is one of this store and not good, and why: for the log.
    Bad(String),
    /// The store cannot answer now. Never shown to a client as a bad token.
    Unavailable(String),
}

/// What a client whose token was refused is told, so that it can get another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHint {
    /// The scope that a token has to have.
    pub scope: Option<String>,
    /// Where the provider describes itself.
    pub openid_configuration: Option<String>,
}

/// What every user of a store can log in with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// A password that is sent.
    pub passwords: bool,
    /// SCRAM with SHA-1.
    pub scram_sha_1: bool,
    /// SCRAM with SHA-256.
    pub scram_sha_256: bool,
    /// A bearer token.
    pub tokens: bool,
}
