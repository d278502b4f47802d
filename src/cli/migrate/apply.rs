//! `restante migrate apply`: remembers the unique-ids of all users, so that the lists of the old
//! server are not needed any more.

use std::path::PathBuf;

use super::accounts::{Accounts, NO_MAILDIR, Selection, load};
use crate::cli::progress::Progress;
use crate::cli::{CONFIG, Failure, print};
use crate::server;

/// `restante migrate apply`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    #[command(flatten)]
    selection: Selection,
}

/// Takes the listings of users as logins do, and prints for whom that failed.
///
/// # Errors
/// [`Failure`] when the login of a user would fail.
#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let (config, store) = load(&args.config)?;
    let selected = Accounts::read(&config)?.selected(&args.selection)?;
    let users = &selected.accounts;
    server::assume(config.run_as.as_ref()).map_err(Failure::of)?;
    selected.print_left_out()?;
    let progress = Progress::new(users.len(), "users");
    let (mut messages, mut failed) = (0_u64, 0);
    for (index, account) in users.iter().enumerate() {
        match account.apply(&store) {
            Ok(Some(count)) => messages += u64::from(count),
            Ok(None) => {
                progress.clear()?;
                print(format!("{}: {NO_MAILDIR}\n", account.user))?;
            }
            Err(error) => {
                failed += 1;
                progress.clear()?;
                print(format!("{}: {}\n", account.user, account.named(error)))?;
            }
        }
        progress.show(index + 1)?;
    }
    print(format!("{messages} messages of {} users\n", users.len() - failed))?;
    match failed {
        0 => selected.is_complete(),
        _ => Err(Failure::new(format!(
            "{failed} of {} users have not been applied; correct that, and run it again",
            users.len()
        ))),
    }
}
