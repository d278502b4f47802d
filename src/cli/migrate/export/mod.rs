//! `restante migrate export`: writes the lists of another server, so that it serves the unique-ids
//! that clients know from this one.

use std::path::PathBuf;

use super::accounts::{Accounts, NO_MAILDIR, Selection, load};
use crate::cli::{CONFIG, Failure, print};
use crate::server;

mod list_file;
mod target;

use target::Target;

/// `restante migrate export`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// The server that is to serve the mail.
    #[arg(long, value_enum, value_name = "SERVER")]
    format: Format,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// dovecot-uidlist, in the Maildir or in maildir.dovecot.control.
    Dovecot,
    /// courierpop3dsizelist, in the Maildir.
    Courier,
}

/// Writes the lists of users, and prints what they do not contain.
///
/// # Errors
/// [`Failure`] when a list cannot be written, or does not have all messages.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let (config, store) = load(&args.config)?;
    let accounts = Accounts::read(&config)?;
    let selected = accounts.selected(&args.selection)?;
    let users = &selected.accounts;
    let target = Target::new(args.format, &config, store)
        .map_err(|error| Failure::of_format(&args.config, &error))?;
    // The list belongs to the user that the mail belongs to.
    server::assume(config.run_as.as_ref()).map_err(Failure::of)?;
    selected.print_left_out()?;
    let (mut failed, mut incomplete) = (0, 0);
    for account in users {
        match target.export(account) {
            Ok(None) => print(format!("{}: {NO_MAILDIR}\n", account.user.as_str()))?,
            Ok(Some(export)) => {
                incomplete += usize::from(!export.omitted.is_empty());
                print(format!("{}: {export}", account.user.as_str()))?;
            }
            Err(error) => {
                failed += 1;
                print(format!("{}: {error}\n", account.user.as_str()))?;
            }
        }
    }
    match (failed, incomplete) {
        (0, 0) => selected.is_complete(),
        (0, _) => Err(Failure::new(format!(
            "the lists of {incomplete} of {} users do not have all messages; clients will download \
             the others again",
            users.len()
        ))),
        (_, _) => Err(Failure::new(format!(
            "the lists of {failed} of {} users are not written",
            users.len()
        ))),
    }
}
