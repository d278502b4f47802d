//! The users of a migration, and where their mail is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::super::Failure;
use crate::config::{Config, Credentials, FileSection};
use crate::credentials::{Attributes, edit};
use crate::mailbox::maildir::{LockedListing, MaildirStore, PathTemplate};
use crate::mailbox::{self, OpenError};
use crate::password::WeakSchemes;
use crate::protocol::Username;

/// Which users.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct Selection {
    /// One user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All users of the credential files. Other stores cannot list their users.
    #[arg(long)]
    all: bool,
}

/// A user, and where a credential store says that their mail is.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Account {
    pub(in crate::cli) user: Username,
    pub(super) home: Option<PathBuf>,
    pub(super) mail: Option<PathBuf>,
}

impl Account {
    /// What a login of the user would list. Writes nothing.
    pub(in crate::cli) fn listing(&self, store: &MaildirStore) -> Result<LockedListing, OpenError> {
        let Self { user, home, mail } = self;
        waiting(|| store.preview(user, home.as_deref(), mail.as_deref()))
    }

    /// Lets the user see the mail as it is now, whatever the guard says. Returns the number of
    /// messages.
    pub(in crate::cli) fn accept(&self, store: &MaildirStore) -> Result<u32, OpenError> {
        let Self { user, home, mail } = self;
        waiting(|| store.accept(user, home.as_deref(), mail.as_deref()))
    }

    /// Remembers what a login of the user lists. Returns the number of messages.
    pub(super) fn apply(&self, store: &MaildirStore) -> Result<u32, OpenError> {
        let Self { user, home, mail } = self;
        waiting(|| store.apply(user, home.as_deref(), mail.as_deref()))
    }

    /// The path that another template gives for this user.
    pub(super) fn fill_in(&self, template: &PathTemplate) -> Result<PathBuf, mailbox::Failure> {
        template.path(&self.user, self.home.as_deref(), None)
    }
}

/// The users of a configuration.
pub(in crate::cli) struct Accounts {
    /// In the order of the credential files.
    users: Vec<Username>,
    attributes: HashMap<Username, Attributes>,
}

impl Accounts {
    /// Reads the credential files.
    pub(in crate::cli) fn read(config: &Config) -> Result<Self, Failure> {
        let weak = WeakSchemes::from(config.auth.weak_schemes);
        let mut accounts = Self { users: Vec::new(), attributes: HashMap::new() };
        for store in &config.credentials {
            let Credentials::File(FileSection { path, .. }) = store else { continue };
            for user in edit::list(path, weak).map_err(Failure::of)? {
                let Some(attributes) = user.attributes else { continue };
                // The first store that knows a user decides.
                if let Entry::Vacant(entry) = accounts.attributes.entry(user.name.clone()) {
                    entry.insert(attributes);
                    accounts.users.push(user.name);
                }
            }
        }
        Ok(accounts)
    }

    /// The selected users.
    pub(super) fn selected(&self, selection: &Selection) -> Result<Vec<Account>, Failure> {
        match &selection.user {
            Some(name) => {
                let name = Username::try_from(name.as_str())
                    .map_err(|error| Failure::new(format!("the user name {error}")))?;
                Ok(vec![self.account(name)])
            }
            None if selection.all => {
                Ok(self.users.iter().map(|user| self.account(user.clone())).collect())
            }
            None => Err(Failure::new("no user is named; write --user NAME, or --all")),
        }
    }

    /// The account of a user, also of one that is in no credential file.
    pub(in crate::cli) fn account(&self, user: Username) -> Account {
        let attributes = self.attributes.get(&user);
        let home = attributes.and_then(|attributes| attributes.home.clone());
        let mail = attributes.and_then(|attributes| attributes.mail.clone());
        Account { user, home, mail }
    }
}

/// Waits a little for a session of the user that is about to end.
fn waiting<T>(open: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open() {
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => {
                thread::park_timeout(PAUSE);
            }
            result => return result,
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
