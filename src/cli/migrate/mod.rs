//! `restante migrate`: a move from another POP3 server, after which no client downloads twice.
//!
//! - `plan` prints the configuration for the mail of Dovecot; `doveconf` translates its settings.
//! - `audit` compares the listings of both servers, `export` writes the lists of the old one.
//! - `accounts` are the users and their Maildirs, `client` asks another server, `listing` is its
//!   answer.

use super::Failure;

mod accounts;
mod audit;
mod client;
mod doveconf;
mod export;
mod listing;
mod plan;

/// `restante migrate`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the configuration for mail that Dovecot has served.
    Plan(plan::Args),
    /// Compare what another server lists with what this one would list.
    ///
    /// Asks the other server for the unique-ids of all messages, or takes them from files, and prints
    /// how many messages are the same, missing, added or in another order. Nothing is changed on
    /// either side.
    Audit(audit::Args),
    /// Write the list from which Dovecot or Courier serves the unique-ids that clients know from
    /// this server.
    ///
    /// Dovecot's list keeps its UIDVALIDITY, UIDs and GUIDs, so that IMAP clients do not notice. The
    /// old list is kept beside the new one. Neither server may serve these users at the moment.
    Export(export::Args),
}

/// Runs a step of a migration.
///
/// # Errors
/// [`Failure`] when it failed.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Plan(args) => plan::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Export(args) => export::run(args),
    }
}
