//! Who may log in: credential stores, password schemes, and the verification of passwords.
//!
//! A [`CredentialStore`] says what it knows of a user; the [`Authenticator`] asks it, verifies the
//! password in a bounded pool and, alone in the program, makes an [`Identity`]. Nothing here knows
//! of sessions, mailboxes or replies.
//!
//! - `scheme`, `phc`: what a password is checked against, and how much work that may be.
//! - `table`, `parse`: the users of a credential file; `file` keeps them up to date.
//! - `store`: several stores in a row.
//! - `edit`: changes to a credential file, for `restante user`.

use std::future::Future;

use crate::protocol::Username;

mod authenticator;
pub mod edit;
mod file;
mod parse;
mod password;
mod phc;
mod scheme;
mod source;
mod store;
mod table;

pub use authenticator::{Authenticator, Refusal};
pub use file::{BadFile, FileStore, inspect};
pub use password::{NewPassword, PasswordFault};
pub use phc::{Unhashed, hash};
pub use scheme::{Cost, Verifier};
pub use store::{Store, Stores};
pub use table::{Faults, Finding, Report, Table};

/// The longest password that is taken, in octets; nobody types a longer one.
pub const MAX_PASSWORD_OCTETS: usize = 4096;

/// A user whose password has been verified.
///
/// Only this room can make one, and opening a maildrop takes one: there is no way to another
/// user's mail that leaves the password out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: Username,
}

impl Identity {
    /// The canonical name of the user.
    pub fn username(&self) -> &Username {
        &self.name
    }

    /// An identity without a password, for the tests of other rooms.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str) -> Self {
        Self { name: Username::try_from(name).unwrap() }
    }
}

/// A place where users and the verifiers of their passwords are kept: a file, later a database.
pub trait CredentialStore: Send + Sync + 'static {
    /// What this store knows of `name`.
    fn look_up(&self, name: &Username) -> impl Future<Output = Lookup> + Send;

    /// A verifier to spend on a name that nobody has.
    ///
    /// - Verified in place of the missing one it makes an unknown user cost what a known one
    ///   costs, so the verifiers of expensive and cheap users come up as often as those users do.
    /// - The same `name` gets the same verifier each time: repeated tries cost the same.
    /// - `None` when the store has no user who can log in.
    fn decoy(&self, name: &Username) -> Option<Verifier>;
}

/// The answer of a [`CredentialStore`].
#[derive(Debug)]
pub enum Lookup {
    /// The user exists; this store decides.
    Found(Verifier),
    /// Not a user of this store: the next one is asked.
    Unknown,
    /// The store cannot answer now. Never shown to a client as a wrong password.
    Unavailable(String),
}
