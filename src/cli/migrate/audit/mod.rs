//! `restante migrate audit`: compares what another server lists with what this one would list.
//!
//! - The other server is asked (`old`), or its answers have been saved (`capture`).
//! - `compare` finds the differences, `report` prints them.
//! - `state` has the users that are done, so that an interrupted audit can continue.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{self, Path, PathBuf};

use clap::ValueHint;
use sha2::{Digest as _, Sha256};

use super::accounts::{Account, Accounts, Selection, load};
use super::client::{ServerUrl, Want};
use super::listing::Listing;
use crate::cli::{CONFIG, Failure};
use crate::config::{Config, GuardMode};
use crate::mailbox::maildir::MaildirStore;
use crate::server;

mod capture;
mod compare;
pub(super) mod old;
mod report;
mod state;

use compare::Comparison;
use report::{COULD_NOT_ASK, Compared, Format, Report};
use state::{State, Subject};

/// `restante migrate audit`
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    server: old::ServerArgs,
    /// Write the users that are done to this file, and skip those that are in it. It is refused if it
    /// is of another server, file of users or configuration.
    #[arg(long, value_name = "FILE", requires = "old")]
    state: Option<PathBuf>,
    /// Print a JSON object to standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// A directory with the answers of the other server: USER.uidl for each user, and USER.list if
    /// the octets are to be compared as well.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    capture: Option<PathBuf>,
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["user", "all"],
        help = "The other server: pop3s://HOST[:PORT], or pop3://HOST[:PORT] with STLS"
    )]
    old: Option<ServerUrl>,
}

const AFTER_HELP: &str = "Exit codes:
  0  all users have the same listing on both servers
  1  some have not
  2  some could not be compared

The answers of a server, for one user:
  curl -su USER:PASSWORD pop3s://old.example.org/ -X UIDL > DIR/USER.uidl
  curl -su USER:PASSWORD pop3s://old.example.org/ > DIR/USER.list";

/// Compares the listings of users, and prints how they differ.
///
/// # Errors
/// [`Failure`] with the exit code 1 when they differ, or 2 when they could not be compared.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let unusable = |failure: Failure| failure.exit_with(COULD_NOT_ASK);
    let (config, store) = load(&args.config).map_err(unusable)?;
    let audit = || {
        // The server's user reads the mail, but root may have made the other files.
        let format = if args.json { Format::Json } else { Format::Text };
        match (args.source.capture, args.source.old) {
            (Some(directory), _) => captured(&config, &store, &directory, &args.selection, format),
            (None, Some(url)) => {
                let subject = subject(&args.config, &url, args.server.users())?;
                let state = args.state.map(|path| State::open(&path, &subject)).transpose();
                let state = state.map_err(Failure::of)?;
                asked(&config, &store, url, &args.server, state, format)
            }
            (None, None) => Err(Failure::new("no server is named; write --old or --capture")),
        }
    };
    audit().map_err(unusable)?.finish()
}

/// Compares with saved answers.
fn captured(
    config: &Config,
    store: &MaildirStore,
    directory: &Path,
    selection: &Selection,
    format: Format,
) -> Result<Report, Failure> {
    let selected = Accounts::read(config)?.selected(selection)?;
    let listings = selected.accounts.iter();
    let listings = listings.map(|account| (account, capture::listing(directory, &account.user)));
    let listings = listings.collect::<Vec<_>>();
    server::assume(config.run_as.as_ref()).map_err(Failure::of)?;
    let mut report = Report::new(format, listings.len() + selected.left_out.len());
    for (user, why) in &selected.left_out {
        report.failed(user.as_str(), why)?;
    }
    for (account, listing) in listings {
        let listing = listing.map_err(|error| error.to_string());
        let mode = config.guard.mode;
        match listing.and_then(|listing| compared(store, mode, account, &listing)) {
            Ok(compared) => report.compared(account.user.as_str(), &compared)?,
            Err(why) => report.failed(account.user.as_str(), &why)?,
        }
    }
    report.incomplete = selected.is_complete().err();
    Ok(report)
}

/// What an audit of a running server is of.
fn subject(config: &Path, url: &ServerUrl, users: Option<&Path>) -> Result<Subject, Failure> {
    let unreadable = |error| Failure::new(format!("{}: {error}", config.display()));
    let digest = Sha256::digest(fs::read(config).map_err(unreadable)?);
    let place = |path: &Path| {
        let absolute = path::absolute(path).unwrap_or_else(|_| path.to_owned());
        absolute.as_os_str().as_bytes().escape_ascii().to_string()
    };
    Ok(Subject {
        server: url.to_string(),
        users: users.map(place).unwrap_or_default(),
        configuration: place(config),
        digest: digest.iter().map(|octet| format!("{octet:02x}")).collect(),
    })
}

/// Compares with a server that is running.
fn asked(
    config: &Config,
    store: &MaildirStore,
    url: ServerUrl,
    args: &old::ServerArgs,
    mut state: Option<State>,
    format: Format,
) -> Result<Report, Failure> {
    let accounts = Accounts::read(config)?;
    let (mut logins, server) = (args.logins()?, args.server(url, Want::Listing)?);
    server::assume(config.run_as.as_ref()).map_err(Failure::of)?;
    let mut report = Report::new(format, logins.len());
    let done = state.iter_mut().flat_map(|state| std::mem::take(&mut state.done));
    let done = done.collect::<HashMap<_, _>>();
    for login in logins.extract_if(.., |login| done.contains_key(login.user.as_str())) {
        if let Some(comparison) = done.get(login.user.as_str()) {
            let compared = Compared { comparison: *comparison, warning: None };
            report.compared(login.user.as_str(), &compared)?;
        }
    }
    args.ask(server, logins, |user, listing| {
        let name = user.as_str().to_owned();
        let compared = listing.map_err(|error| error.to_string()).and_then(|listing| {
            let account = accounts.account(user).map_err(|failure| failure.to_string())?;
            compared(store, config.guard.mode, &account, &listing)
        });
        match compared {
            Ok(compared) => {
                report.compared(&name, &compared)?;
                state
                    .as_mut()
                    .map_or(Ok(()), |state| state.add(&name, &compared.comparison))
                    .map_err(Failure::of)
            }
            Err(why) => report.failed(&name, &why),
        }
    })?;
    Ok(report)
}

/// Compares a listing of another server with that of this one.
fn compared(
    store: &MaildirStore,
    mode: GuardMode,
    account: &Account,
    other: &Listing,
) -> Result<Compared, String> {
    let own = account.listing(store).map_err(|error| error.to_string())?;
    let Some(own) = own else {
        let warning = Some("there is no Maildir yet; a login makes it".to_owned());
        return Ok(Compared { comparison: Comparison::of(other, []), warning });
    };
    let warning = account.guarded(&own, mode);
    let warning = warning.map_err(|why| format!("a login would be refused: {why}"))?;
    let messages = own.messages().map(|own| (own.id.as_bytes(), own.octets));
    Ok(Compared { comparison: Comparison::of(other, messages), warning })
}
