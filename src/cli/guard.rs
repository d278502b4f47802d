//! `restante guard`: what the guard says about the mail of a user, and the confirmation that clients
//! may see it.

use std::fmt::Display;
use std::path::PathBuf;

use super::migrate::accounts::{Account, Accounts, NO_MAILDIR, load};
use super::{CONFIG, Failure, print};
use crate::config::Config;
use crate::mailbox::OpenError;
use crate::mailbox::maildir::MaildirStore;
use crate::protocol::Username;
use crate::server;

/// `restante guard`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say whether a login would be refused, and why.
    ///
    /// Takes the listing as a login would, and writes nothing. The exit code is 0 if a login would
    /// show the mail, and 1 if it would be refused.
    Status(UserArgs),
    /// Let clients see the mail with the unique-ids that it has now.
    ///
    /// Takes the listing as a login would, and remembers it, so that later logins find no change.
    /// Clients download each message again whose unique-id is another than before.
    Accept(UserArgs),
}

#[derive(Debug, clap::Args)]
struct UserArgs {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// The name of the user.
    user: String,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when it failed, or when a login would be refused.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Status(args) => status(&args),
        Command::Accept(args) => accept(&args),
    }
}

fn status(args: &UserArgs) -> Result<(), Failure> {
    let Subject { config, store, account } = Subject::of(args)?;
    let user = &account.user;
    let previewed = server::as_server(config.run_as.as_ref(), || {
        let Some(listing) = account.listing(&store)? else { return Ok(None) };
        let guarded = account.guarded(&listing, config.guard.mode);
        Ok::<_, OpenError>(Some((listing.messages().count(), guarded)))
    });
    let previewed = previewed.map_err(Failure::of)?.map_err(|error| refused(user, error))?;
    let Some((messages, guarded)) = previewed else {
        return print(format!("{user}: {NO_MAILDIR}\n"));
    };
    match guarded.map_err(|why| refused(user, why))? {
        Some(warning) => {
            print(format!("{user}: a login shows {messages} messages; but {warning}\n"))
        }
        None => print(format!("{user}: a login shows {messages} messages\n")),
    }
}

fn accept(args: &UserArgs) -> Result<(), Failure> {
    let Subject { config, store, account } = Subject::of(args)?;
    let user = &account.user;
    let accepted = server::as_server(config.run_as.as_ref(), || account.accept(&store));
    let messages = accepted
        .map_err(Failure::of)?
        .map_err(|error| Failure::new(format!("{user}: cannot be accepted: {error}")))?;
    match messages {
        Some(messages) => {
            print(format!("{user}: {messages} messages are accepted as they are now\n"))
        }
        None => print(format!("{user}: {NO_MAILDIR}\n")),
    }
}

/// The user of a command.
struct Subject {
    config: Config,
    store: MaildirStore,
    account: Account,
}

impl Subject {
    fn of(UserArgs { config, user }: &UserArgs) -> Result<Self, Failure> {
        let (config, store) = load(config)?;
        let account = Accounts::read(&config)?.by_name(user)?;
        Ok(Self { config, store, account })
    }
}

fn refused(user: &Username, why: impl Display) -> Failure {
    Failure::new(format!("{user}: a login would be refused: {why}"))
}
