//! What a store knows of a user besides the name: how to check a password, and what the user may.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::limits::AllowedNetworks;
use crate::password::Verifier;

/// A user of a store.
#[derive(Clone, Debug)]
pub struct Account {
    /// What a password is checked against.
    pub verifier: Verifier,
    /// What else the store says.
    pub attributes: Attributes,
}

impl Account {
    /// A user of whom nothing but the password is known.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, attributes: Attributes::default() }
    }

    /// What this account has and no other, if anything: what the password is checked against, or
    /// else the Maildir.
    #[cfg(any(feature = "ldap", feature = "sql"))]
    pub(super) fn key(&self) -> Option<Vec<u8>> {
        let mail = || Some(self.attributes.mail.as_ref()?.as_os_str().as_encoded_bytes().to_vec());
        self.verifier.account().or_else(mail)
    }
}

/// What a store says of one user, in place of what the configuration says of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// What `{home}` of the Maildir path stands for; absolute.
    pub home: Option<PathBuf>,
    /// The Maildir itself, whatever the configuration says; absolute.
    pub mail: Option<PathBuf>,
    /// Whether the user may use POP3.
    pub pop3: bool,
    /// How many sessions the user may have.
    pub sessions: Option<NonZeroU32>,
    /// Where the user may log in from; nothing for everywhere.
    pub allow_nets: Option<AllowedNetworks>,
}

impl Attributes {
    /// Whether the user may log in from an address.
    pub(crate) fn allow(&self, peer: IpAddr) -> bool {
        self.allow_nets.as_ref().is_none_or(|networks| networks.contain(peer))
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self { home: None, mail: None, pop3: true, sessions: None, allow_nets: None }
    }
}
