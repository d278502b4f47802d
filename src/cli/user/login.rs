//! `restante user test`: what would come of a login, with an exit code for each outcome.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::say;
use crate::cli::password::InputArgs;
use crate::cli::{CONFIG, Failure, check};
use crate::config::{Config, Credentials, FileSection};
use crate::login::{Identity, Reason, Verdict};
use crate::mailbox::maildir::{PathTemplate, could_create, examine};
use crate::protocol::ClaimedName;
use crate::server::stores;

/// What `restante user test` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Args {
    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Ask this credential file alone, in place of the stores of the configuration.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    password: InputArgs,
    /// Where the client would be, for users who may log in from some networks only.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The name as a client would send it.
    name: String,
}

const EXIT_CODES: &str = "Exit codes:
  0  the user would be let in
  1  something else failed, say there was no password
  2  wrong usage
  3  wrong password
  4  unknown user
  5  the password is right, and the user may not use POP3
  6  a store does not answer, or what it says of the user cannot be used
  7  the mail of the user cannot be accessed
  8  the configuration, or a store that it names, cannot be used
  9  the password is right, and the user may not log in from --address

A monitoring probe:
  restante user test --stdin probe@example.org < /etc/restante/probe";

const WRONG_PASSWORD: u8 = 3;
const UNKNOWN_USER: u8 = 4;
const NOT_ALLOWED: u8 = 5;
const NO_ANSWER: u8 = 6;
const NO_MAIL: u8 = 7;
const BAD_CONFIGURATION: u8 = 8;
const NOT_FROM_THERE: u8 = 9;

/// Says what would come of a login.
pub(super) fn test(args: Args) -> Result<(), Failure> {
    let Args { config, file, password, address, name } = args;
    let unusable = |failure: Failure| failure.exit_with(BAD_CONFIGURATION);
    let mut config = Config::load(&config).map_err(Failure::of).map_err(unusable)?;
    if let Some(path) = file {
        config.credentials = vec![Credentials::File(FileSection { path, rehash: false })];
    }
    let password = password.existing(&format!(" of {name}"))?;
    check::become_server_user(config.run_as.as_ref()).map_err(Failure::of).map_err(unusable)?;
    let claimed = ClaimedName::new(name.as_bytes());
    let claimed = match &config.auth.default_domain {
        Some(domain) => claimed.within(domain),
        None => claimed,
    };
    let (Verdict { store, outcome }, labels) = stores::judge(&config, &claimed, password, address)
        .map_err(Failure::new)
        .map_err(unusable)?;
    let decided = match store.and_then(|nth| labels.get(nth)) {
        Some(store) => format!("{store} decided"),
        None => format!("asked: {}", labels.join(", ")),
    };
    let identity = outcome.map_err(|reason| {
        let code = exit_code(&reason);
        Failure::new(format!("{claimed}: {reason}; {decided}")).exit_with(code)
    })?;
    let user = identity.username();
    say(io::stdout(), format_args!("{user}: the password is right; {decided}"))?;
    let maildir = maildir(&config, &identity).map_err(|why| {
        Failure::new(format!("{user} would not be let in all the same: {why}")).exit_with(NO_MAIL)
    })?;
    let sessions = identity.sessions().unwrap_or(config.limits.sessions_per_user);
    say(io::stdout(), format_args!("  mail         {maildir}"))?;
    say(io::stdout(), format_args!("  sessions     {sessions}"))?;
    match identity.allow_nets() {
        Some(networks) => say(io::stdout(), format_args!("  networks     {networks}")),
        None => Ok(()),
    }
}

fn exit_code(reason: &Reason) -> u8 {
    match reason {
        Reason::WrongPassword | Reason::UnknownOrWrong => WRONG_PASSWORD,
        Reason::UnknownUser | Reason::ImpossibleName(_) => UNKNOWN_USER,
        Reason::NotAllowed => NOT_ALLOWED,
        Reason::NotFromThere => NOT_FROM_THERE,
        Reason::Unavailable(_) | Reason::Overloaded | Reason::Throttled => NO_ANSWER,
    }
}

/// Where the mail of a user is, with what there is to say of it, or why it cannot be accessed.
fn maildir(config: &Config, identity: &Identity) -> Result<String, String> {
    let template = PathTemplate::new(&config.maildir.path);
    let path = template
        .path(identity.username(), identity.home(), identity.mail())
        .map_err(|error| error.to_string())?;
    match examine(&path) {
        Ok(()) => {}
        Err(missing)
            if config.maildir.create && missing.source().kind() == io::ErrorKind::NotFound =>
        {
            let highest = template.root().filter(|_| identity.mail().is_none());
            could_create(&path, highest).map_err(|failure| failure.to_string())?;
            return Ok(format!("{}  made at the first login", path.display()));
        }
        Err(failure) => return Err(failure.to_string()),
    }
    for folder in ["cur", "new"].map(|name| path.join(name)) {
        accessible(&folder)?;
    }
    Ok(path.display().to_string())
}

fn accessible(folder: &Path) -> Result<(), String> {
    let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::access(folder, wanted).map_err(|error| {
        format!("{} cannot be read and written: {}", folder.display(), io::Error::from(error))
    })
}
