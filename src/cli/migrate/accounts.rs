//! The users of a migration, and where their mail is.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::super::{Failure, print};
use crate::config::{Config, Credentials, FileSection, GuardMode};
use crate::credentials::{Attributes, edit};
use crate::mailbox::OpenError;
use crate::mailbox::maildir::{LockedListing, MailOwner, MaildirStore};
use crate::password::WeakSchemes;
use crate::protocol::Username;
use crate::server;

/// Reads the configuration, and makes the store of its Maildirs.
pub(in crate::cli) fn load(file: &Path) -> Result<(Config, MaildirStore), Failure> {
    let config = Config::load(file).map_err(Failure::of)?;
    let store = server::maildirs(&config).map_err(|error| Failure::of_format(file, &error))?;
    Ok((config, store))
}

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
    fn owner(&self) -> MailOwner<'_> {
        let Self { user, home, mail } = self;
        MailOwner { user, home: home.as_deref(), mail: mail.as_deref() }
    }

    /// What a login of the user would list. Writes nothing. `None` if the login would make the
    /// Maildir.
    pub(in crate::cli) fn listing(
        &self,
        store: &MaildirStore,
    ) -> Result<Option<LockedListing>, OpenError> {
        waiting(|| store.preview(self.owner()))
    }

    /// Lets the user see the mail as it is now, whatever the guard says. Returns the number of
    /// messages; `None` if a login would make the Maildir.
    pub(in crate::cli) fn accept(&self, store: &MaildirStore) -> Result<Option<u32>, OpenError> {
        waiting(|| store.accept(self.owner()))
    }

    /// Remembers what a login of the user lists. Returns the number of messages; `None` if the login
    /// would make the Maildir.
    pub(super) fn apply(&self, store: &MaildirStore) -> Result<Option<u32>, OpenError> {
        waiting(|| store.apply(self.owner()))
    }

    /// What the guard says about a listing: a warning, if there is one.
    ///
    /// # Errors
    /// Why it refuses a login.
    pub(in crate::cli) fn guarded(
        &self,
        listing: &LockedListing,
        mode: GuardMode,
    ) -> Result<Option<String>, String> {
        let objection = listing.objection().map(|objection| self.named(objection));
        match (objection, mode) {
            (Some(objection), GuardMode::Refuse) => Err(objection),
            (objection, _) => Ok(objection),
        }
    }

    /// Puts the name of the user into the command that is the way out.
    pub(super) fn named(&self, why: impl Display) -> String {
        why.to_string().replace("accept USER", &format!("accept {}", self.user))
    }
}

/// The users of a configuration.
pub(in crate::cli) struct Accounts {
    /// In the order of the credential files.
    users: Vec<Username>,
    attributes: HashMap<Username, Attributes>,
    /// Users whose lines cannot be used, and why.
    left_out: Vec<(Username, String)>,
    has_file: bool,
    /// The kind of a store whose users cannot be listed.
    unlisted: Option<&'static str>,
    /// The kind of such a store that may say where mail is.
    locating: Option<&'static str>,
}

/// The selected users.
pub(super) struct Selected {
    pub(super) accounts: Vec<Account>,
    /// Users whose mail cannot be located, and why.
    pub(super) left_out: Vec<(Username, String)>,
    unlisted: Option<&'static str>,
}

impl Selected {
    /// Prints the users who are left out.
    pub(super) fn print_left_out(&self) -> Result<(), Failure> {
        self.left_out.iter().try_for_each(|(user, why)| print(format!("{user}: {why}\n")))
    }

    /// # Errors
    /// Whether users are missing here.
    pub(super) fn is_complete(&self) -> Result<(), Failure> {
        if !self.left_out.is_empty() {
            let count = self.left_out.len();
            let what = format!("{count} users have been left out; correct their lines");
            return Err(Failure::new(what));
        }
        self.unlisted.map_or(Ok(()), |kind| Err(unlisted(kind)))
    }
}

fn unlisted(kind: &str) -> Failure {
    Failure::new(format!(
        "the users of the store of kind \"{kind}\" cannot be listed; name each with --user"
    ))
}

impl Accounts {
    /// Reads the credential files.
    pub(in crate::cli) fn read(config: &Config) -> Result<Self, Failure> {
        let weak = WeakSchemes::from(config.auth.weak_schemes);
        let mut accounts = Self {
            users: Vec::new(),
            attributes: HashMap::new(),
            left_out: Vec::new(),
            has_file: false,
            unlisted: None,
            locating: None,
        };
        let mut known = HashSet::new();
        for store in &config.credentials {
            let Credentials::File(FileSection { path, .. }) = store else {
                accounts.unlisted.get_or_insert(store.kind());
                if server::may_locate_mail(store) {
                    accounts.locating.get_or_insert(store.kind());
                }
                continue;
            };
            accounts.has_file = true;
            for user in edit::list(path, weak).map_err(Failure::of)? {
                // The first store that knows a user decides.
                if !known.insert(user.name.clone()) {
                    continue;
                }
                if let Some(attributes) = user.attributes {
                    accounts.attributes.insert(user.name.clone(), attributes);
                    accounts.users.push(user.name);
                } else {
                    let why = user.unusable.map(|why| why.to_string()).unwrap_or_default();
                    accounts.left_out.push((user.name, why));
                }
            }
        }
        Ok(accounts)
    }

    /// The selected users.
    pub(super) fn selected(&self, selection: &Selection) -> Result<Selected, Failure> {
        match &selection.user {
            Some(name) => {
                let accounts = vec![self.by_name(name)?];
                Ok(Selected { accounts, left_out: Vec::new(), unlisted: None })
            }
            None if selection.all => {
                let Self { left_out, unlisted: kind, .. } = self;
                if let (false, Some(kind)) = (self.has_file, kind) {
                    return Err(unlisted(kind));
                }
                let accounts = self.users.iter().map(|user| self.account(user.clone()));
                let accounts = accounts.collect::<Result<_, _>>()?;
                Ok(Selected { accounts, left_out: left_out.clone(), unlisted: *kind })
            }
            None => Err(Failure::new("no user is named; write --user NAME, or --all")),
        }
    }

    /// The account of the user with this name, as it is written on the command line.
    pub(in crate::cli) fn by_name(&self, name: &str) -> Result<Account, Failure> {
        let user = Username::try_from(name)
            .map_err(|error| Failure::new(format!("the user name {error}")))?;
        self.account(user)
    }

    /// The account of a user, also of one that is in no credential file.
    ///
    /// # Errors
    /// When only a login would tell where the mail of the user is.
    pub(super) fn account(&self, user: Username) -> Result<Account, Failure> {
        let attributes = self.attributes.get(&user);
        if let Some((_, why)) = self.left_out.iter().find(|(left_out, _)| *left_out == user) {
            return Err(Failure::new(format!("{user}: {why}")));
        }
        if let (None, Some(kind)) = (attributes, self.locating) {
            return Err(Failure::new(format!(
                "the location of {user}'s mail comes from the store of kind \"{kind}\", which \
                 cannot be asked without a login"
            )));
        }
        let home = attributes.and_then(|attributes| attributes.home.clone());
        let mail = attributes.and_then(|attributes| attributes.mail.clone());
        Ok(Account { user, home, mail })
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

/// What is said about users for whom a login would make the Maildir.
pub(in crate::cli) const NO_MAILDIR: &str =
    "there is no Maildir yet, so there is nothing to do; a login makes it";

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
