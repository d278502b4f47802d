//! What a store knows of a user: the verifier of the password, and the attributes.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use super::AppPasswords;
use crate::limits::AllowedNetworks;
use crate::password::Verifier;

/// A user of a store.
#[derive(Clone, Debug)]
pub struct Account {
    /// Verifies the password.
    pub verifier: Verifier,
    /// The attributes of the user.
    pub attributes: Attributes,
    /// Further passwords.
    pub app_passwords: AppPasswords,
}

impl Account {
    /// A user without attributes and app passwords.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, attributes: Attributes::default(), app_passwords: AppPasswords::default() }
    }

    /// Whether only app passwords are right: the user's own password is locked.
    pub(crate) fn takes_only_app_passwords(&self) -> bool {
        !self.app_passwords.is_empty() && self.verifier.is_locked()
    }

    /// Identifies the account: its verifier, or else its Maildir. `None` when other accounts may
    /// have both.
    #[cfg(any(feature = "ldap", feature = "sql"))]
    pub(super) fn key(&self) -> Option<Vec<u8>> {
        let mail = || Some(self.attributes.mail.as_ref()?.as_os_str().as_encoded_bytes().to_vec());
        self.verifier.account().or_else(mail)
    }
}

/// Attributes of a user, which take the place of settings for all users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The value of `{home}` in the Maildir path; absolute.
    pub home: Option<PathBuf>,
    /// The Maildir, in place of the one in the configuration; absolute.
    pub mail: Option<PathBuf>,
    /// Whether the user may use POP3.
    pub pop3: bool,
    /// How many sessions the user may have.
    pub sessions: Option<NonZeroU32>,
    /// Where the user may log in from; `None` for everywhere.
    pub allow_nets: Option<AllowedNetworks>,
}

impl Attributes {
    /// Whether the user may log in from an address. Without one, the networks are ignored.
    pub(crate) fn allow(&self, peer: Option<IpAddr>) -> bool {
        match (&self.allow_nets, peer) {
            (Some(networks), Some(peer)) => networks.contain(peer),
            (None, _) | (_, None) => true,
        }
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self { home: None, mail: None, pop3: true, sessions: None, allow_nets: None }
    }
}
