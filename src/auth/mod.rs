//! Who may log in: credential stores, password schemes, and the verification of passwords.
//!
//! A [`CredentialStore`] says what it knows of a user; the [`Authenticator`] asks it, verifies the
//! password in a bounded pool and, alone in the program, makes an [`Identity`]. Nothing here knows
//! of sessions, mailboxes or replies.

use std::future::Future;

use crate::protocol::Username;

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
}

/// A place where users and the verifiers of their passwords are kept: a file, later a database.
pub trait CredentialStore: Send + Sync + 'static {
    /// What this store knows of `name`.
    fn look_up(&self, name: &Username) -> impl Future<Output = Lookup> + Send;

    /// A verifier of some user, chosen by `name` alone, to spend on a name that nobody has.
    ///
    /// Verified in place of the missing one it makes an unknown user cost what a known one costs.
    /// `None` when the store is empty.
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

/// What a password is checked against.
#[derive(Clone, Debug)]
pub enum Verifier {}

/// Verifies passwords against what a store knows.
#[derive(Debug)]
pub struct Authenticator<C> {
    store: C,
}
