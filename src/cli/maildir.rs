//! Mail roots and Maildirs, made by hand: `restante init-root`, and what `restante user add
//! --maildir` adds to a user.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Failure;
use crate::config::Config;
use crate::mailbox::maildir::{self, Made, PathTemplate};
use crate::protocol::Username;
use crate::server;

/// What `restante init-root` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory that holds the mail of all users, or a file system of it.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Makes a directory a mail root.
///
/// # Errors
/// [`Failure`] when it cannot be made one.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn init_root(args: Args) -> Result<(), Failure> {
    let directory = args.directory.display();
    let is_new = maildir::mark_root(&args.directory).map_err(|error| {
        Failure::new(format!("{directory} cannot be made a mail root: {error}"))
    })?;
    say(&if is_new {
        format!("{directory} is a mail root now: Maildirs that are missing can be made below it")
    } else {
        format!("{directory} is a mail root already")
    })
}

/// Where the Maildir of a user is about whom no store says more.
pub(super) fn place(config: &Config, user: &Username) -> Result<PathBuf, Failure> {
    PathTemplate::new(&config.maildir.path).path(user, None, None).map_err(Failure::of)
}

/// Makes the Maildir of a user at `path`, so that it belongs to the user that the server runs as.
pub(super) fn make(config: &Config, path: &Path) -> Result<(), Failure> {
    let template = PathTemplate::new(&config.maildir.path);
    let made = server::as_server(config.run_as.as_ref(), || {
        let made = maildir::create(path, template.root())?;
        maildir::examine(path).map(|()| made)
    });
    let path = path.display();
    match made.map_err(Failure::of)?.map_err(Failure::of)? {
        Made::Maildir | Made::Tmp => say(&format!("{path} is made")),
        Made::Nothing => say(&format!("{path} is there already")),
    }
}

fn say(words: &str) -> Result<(), Failure> {
    let said = writeln!(io::stdout(), "{words}");
    said.map_err(|error| Failure::new(format!("cannot write: {error}")))
}
