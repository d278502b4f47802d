//! Logins: with a password, with a proof of one, with a token or with a certificate.
//!
//! The [`Authenticator`] asks the credential stores and verifies passwords in a bounded pool. Nothing
//! else in the program makes an [`Identity`]. This room uses the trait of credential stores but none
//! of the stores, and neither sessions nor replies.
//!
//! - `authenticator`: logins with a password that is sent. `scram`: with a proof of the password.
//!   `token`, `certificate`: with these. `refusal`: why a login fails.
//! - `throttle`: clients that guess passwords wait. `cache`: a password that was verified lately is
//!   not hashed again. `turns`: the order in which passwords are hashed.

use std::num::NonZeroU32;
use std::path::Path;

use crate::credentials::{AppPasswordName, Attributes};
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
pub use random::NoRandomness;
pub use refusal::{Reason, Refusal, Verdict};
pub use scram::ScramLogin;
pub use throttle::{Delay, Seen, Selection, Throttle, Who};
pub use turns::Turns;

/// A user who has logged in.
///
/// Only this room can make one, and a maildrop cannot be opened without one: so no code opens a
/// maildrop for a client that has not logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: Username,
    attributes: Attributes,
    app_password: Option<AppPasswordName>,
}

impl Identity {
    /// The canonical name of the user.
    pub fn username(&self) -> &Username {
        &self.name
    }

    /// The app password that the user has logged in with; `None` for another way.
    pub fn app_password(&self) -> Option<&AppPasswordName> {
        self.app_password.as_ref()
    }

    /// The user's home directory, if a store has one.
    pub fn home(&self) -> Option<&Path> {
        self.attributes.home.as_deref()
    }

    /// The user's Maildir, if a store has one.
    pub fn mail(&self) -> Option<&Path> {
        self.attributes.mail.as_deref()
    }

    /// How many sessions the user may have, if a store limits them.
    pub fn sessions(&self) -> Option<NonZeroU32> {
        self.attributes.sessions
    }

    /// Where the user may log in from, if a store limits that.
    pub fn allow_nets(&self) -> Option<&AllowedNetworks> {
        self.attributes.allow_nets.as_ref()
    }

    /// An identity without a login, for the tests of other rooms.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str) -> Self {
        Self {
            name: Username::try_from(name).unwrap(),
            attributes: Attributes::default(),
            app_password: None,
        }
    }
}
