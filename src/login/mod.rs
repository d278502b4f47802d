//! Logins: who is let in, with a password, a proof of one, a token or a certificate.
//!
//! The [`Authenticator`] asks the credential stores, verifies passwords in a bounded pool and, alone
//! in the program, makes an [`Identity`]. This room knows the trait of a credential store and none of
//! the stores, and knows neither sessions nor replies.
//!
//! - `authenticator`: logins with a password that is sent. `scram`: with proof of one that is not.
//!   `token`, `certificate`: with these. `refusal`: why a login is refused.
//! - `throttle`: clients that guess passwords wait. `cache`: a password that was verified lately is
//!   not hashed again. `turns`: the order in which passwords are hashed.

use std::num::NonZeroU32;
use std::path::Path;

use crate::credentials::Attributes;
use crate::limits::AllowedNetworks;
use crate::protocol::Username;

mod authenticator;
mod cache;
mod certificate;
mod random;
mod refusal;
mod scram;
mod throttle;
mod token;
mod turns;

pub use authenticator::{Authenticator, Rules};
pub use refusal::{Reason, Refusal, Verdict};
pub use scram::ScramLogin;
pub use throttle::Throttle;
pub use turns::Turns;

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
