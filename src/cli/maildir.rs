//! Creating mail roots and Maildirs: `restante init-root`, and `restante user add --maildir`.

use std::path::{Path, PathBuf};

use clap::ValueHint;

use super::{Failure, print};
use crate::config::Config;
use crate::mailbox::maildir::{self, Made, MailOwner, PathTemplate};
use crate::protocol::Username;
use crate::server;

/// `restante init-root`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory that holds the mail of all users, or the mail on one file system.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

/// Marks a directory as a mail root.
///
/// # Errors
/// [`Failure`] when the mark cannot be created.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn init_root(args: Args) -> Result<(), Failure> {
    let directory = args.directory.display();
    let is_new = maildir::mark_root(&args.directory).map_err(|error| {
        Failure::new(format!("{directory} cannot be marked as a mail root: {error}"))
    })?;
    print(match is_new {
        true => format!(
            "{directory} is a mail root now; missing Maildirs below it can be created at login\n"
        ),
        false => format!("{directory} is a mail root already\n"),
    })
}

/// The path of a user's Maildir, if no store provides another location.
pub(super) fn path(config: &Config, user: &Username) -> Result<PathBuf, Failure> {
    let owner = MailOwner { user, home: None, mail: None };
    PathTemplate::new(&config.maildir.path).maildir(owner).map_err(Failure::of)
}

/// Creates the Maildir of a user at `path`, owned by the user that the server runs as.
pub(super) fn create(config: &Config, path: &Path) -> Result<(), Failure> {
    let template = PathTemplate::new(&config.maildir.path);
    let made = server::as_server(config.run_as.as_ref(), || {
        let made = maildir::create(path, template.root())?;
        maildir::examine(path).map(|()| made)
    });
    let path = path.display();
    match made.map_err(Failure::of)?.map_err(Failure::of)? {
        Made::Maildir | Made::Tmp => print(format!("{path} has been created\n")),
        Made::Nothing => print(format!("{path} exists already\n")),
    }
}
