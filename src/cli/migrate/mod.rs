//! `restante migrate`: a move from another POP3 server, after which no client downloads twice.
//!
//! - `plan` prints the configuration for the mail of Dovecot, or what users would see; `doveconf` translates its settings.
//! - `adopt` finds messages that have been copied, by the `digest` of their headers.
//! - `apply` remembers unique-ids as logins do.
//! - `audit` compares the listings of both servers, `export` writes the lists of the old one.
//! - `accounts` are the users and their Maildirs, `client` asks another server, `listing` is its
//!   answer; `counts` is what is printed.

use super::Failure;

pub(super) mod accounts;
mod adopt;
mod apply;
mod audit;
mod client;
mod counts;
mod digest;
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
    /// Print the configuration for mail that Dovecot has served, or what users would see.
    Plan(plan::Args),
    /// Remember the unique-ids of users in restante.uids, as their logins would.
    ///
    /// Afterwards the lists of the old server are not read any more, and may be removed. It can be run
    /// again at any time: it takes only what is new.
    Apply(apply::Args),
    /// Compare what another server lists with what this one would list.
    ///
    /// Asks the other server for the unique-ids of all messages, or takes them from files, and prints
    /// how many messages are the same, missing, added or in another order. Nothing is changed on
    /// either side.
    Audit(audit::Args),
    /// Find the messages of another server that have been copied here, and write their unique-ids.
    ///
    /// For mail that was copied over IMAP or POP3. Messages are compared by their headers, octets and
    /// order; those that are unambiguous are written to a map for maildir.map. Nothing is changed on
    /// the other server.
    Adopt(adopt::Args),
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
        Command::Apply(args) => apply::run(args),
        Command::Adopt(args) => adopt::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Export(args) => export::run(args),
    }
}
