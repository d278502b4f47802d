//! The users of a migration, and where their mail is.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::super::Failure;
use crate::config::{Config, Credentials, FileSection};
use crate::credentials::{Attributes, edit};
use crate::mailbox::{self, maildir::PathTemplate};
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

/// A user and the path of their Maildir.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: Username,
    pub(super) path: PathBuf,
    home: Option<PathBuf>,
}

impl Account {
    /// The path that another template gives for this user.
    pub(super) fn fill_in(&self, template: &PathTemplate) -> Result<PathBuf, mailbox::Failure> {
        template.path(&self.user, self.home.as_deref(), None)
    }
}

/// The users of a configuration.
pub(super) struct Accounts {
    template: PathTemplate,
    listed: Vec<(Username, Attributes)>,
}

impl Accounts {
    /// Reads the credential files.
    pub(super) fn read(config: &Config) -> Result<Self, Failure> {
        let weak = WeakSchemes::from(config.auth.weak_schemes);
        let mut listed = Vec::new();
        for store in &config.credentials {
            let Credentials::File(FileSection { path, .. }) = store else { continue };
            let users = edit::list(path, weak).map_err(Failure::of)?;
            listed.extend(users.into_iter().filter_map(|user| Some((user.name, user.attributes?))));
        }
        let mut seen = HashSet::new();
        // The first store that knows a user decides.
        listed.retain(|(user, _)| seen.insert(user.clone()));
        Ok(Self { template: PathTemplate::new(&config.maildir.path), listed })
    }

    /// The selected users.
    pub(super) fn selected(&self, selection: &Selection) -> Result<Vec<Account>, Failure> {
        match &selection.user {
            Some(name) => {
                let name = Username::try_from(name.as_str())
                    .map_err(|error| Failure::new(format!("the user name {error}")))?;
                Ok(vec![self.account(name)?])
            }
            None if selection.all => {
                let users = self.listed.iter();
                users.map(|(user, _)| self.account(user.clone())).collect()
            }
            None => Err(Failure::new("no user is named; write --user NAME, or --all")),
        }
    }

    /// The account of a user, also of one that is in no credential file.
    pub(super) fn account(&self, user: Username) -> Result<Account, Failure> {
        let listed = self.listed.iter().find(|(listed, _)| *listed == user);
        let (home, mail) = listed.map_or((None, None), |(_, attributes)| {
            (attributes.home.as_deref(), attributes.mail.as_deref())
        });
        let path = self.template.path(&user, home, mail).map_err(Failure::of)?;
        let home = home.map(Path::to_owned);
        Ok(Account { user, path, home })
    }
}
