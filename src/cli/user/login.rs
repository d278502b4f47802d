//! `restante user test`: tests a login, with an exit code for each outcome.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::cli::password::InputArgs;
use crate::cli::{CONFIG, Failure, check, print};
use crate::config::{Config, Credentials, FileSection};
use crate::login::{Identity, Reason, Verdict};
use crate::mailbox;
use crate::mailbox::maildir::{PathTemplate, could_create, examine};
use crate::protocol::ClaimedName;
use crate::server::stores;

/// `restante user test`
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Use this credential file instead of the stores of the configuration.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    password: InputArgs,
    /// The address of the client, for users who may log in only from some networks.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The name as a client would send it.
    name: String,
}

const EXIT_CODES: &str = "Exit codes:
  0  the login would succeed
  1  another failure, such as no password
  2  wrong usage
  3  wrong password
  4  unknown user
  5  the password is right, but the user may not use POP3
  6  a store does not answer, or its answer cannot be used
  7  the mail of the user cannot be accessed
  8  the configuration, or a store that it names, cannot be used
  9  the password is right, but the user may not log in from --address

A monitoring probe:
  restante user test --stdin probe@example.org < /etc/restante/probe";

const WRONG_PASSWORD: u8 = 3;
const UNKNOWN_USER: u8 = 4;
const NOT_ALLOWED: u8 = 5;
const NO_ANSWER: u8 = 6;
const NO_MAIL: u8 = 7;
const BAD_CONFIGURATION: u8 = 8;
const NOT_FROM_THERE: u8 = 9;

/// Tests a login and prints the result.
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
        .map_err(Failure::of)
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
    print(format!("{user}: the password is right; {decided}\n"))?;
    let maildir = maildir(&config, &identity).map_err(|error| {
        Failure::new(format!("the login of {user} would fail all the same: {error}"))
            .exit_with(NO_MAIL)
    })?;
    if let Some(app_password) = identity.app_password() {
        print(format!("  app password {app_password}\n"))?;
    }
    let sessions = identity.sessions().unwrap_or(config.limits.sessions_per_user);
    print(format!("  mail         {maildir}\n  sessions     {sessions}\n"))?;
    match identity.allow_nets() {
        Some(networks) => print(format!("  networks     {networks}\n")),
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

/// Why the mail of a user cannot be accessed.
#[derive(Debug, thiserror::Error)]
enum MailError {
    #[error(transparent)]
    Maildir(#[from] mailbox::Failure),
    #[error("{} cannot be read and written: {error}", folder.display())]
    Folder { folder: PathBuf, error: io::Error },
}

/// The location of a user's mail, with a remark if it does not exist yet.
fn maildir(config: &Config, identity: &Identity) -> Result<String, MailError> {
    let template = PathTemplate::new(&config.maildir.path);
    let path = template.maildir(identity.into())?;
    match examine(&path) {
        Ok(()) => {}
        Err(missing)
            if config.maildir.create && missing.source().kind() == io::ErrorKind::NotFound =>
        {
            let highest = template.root().filter(|_| identity.mail().is_none());
            could_create(&path, highest)?;
            return Ok(format!("{}  created at the first login", path.display()));
        }
        Err(error) => return Err(error.into()),
    }
    for folder in ["cur", "new"].map(|name| path.join(name)) {
        accessible(&folder)?;
    }
    Ok(path.display().to_string())
}

fn accessible(folder: &Path) -> Result<(), MailError> {
    let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::access(folder, access)
        .map_err(|errno| MailError::Folder { folder: folder.to_owned(), error: errno.into() })
}
