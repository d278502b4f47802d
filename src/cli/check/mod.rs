//! `restante check`: reads a configuration and all that it names, as `serve` would.
//!
//! With an error the server does not serve; with a warning it does. All of them are reported at once,
//! each with its place: an error in the file does not keep its other values from being checked.
//! Without errors, a summary says what the server would do.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::geteuid;

use super::Failure;
use crate::config::{Fault, PartialConfig, RunAs};
use crate::server::stores::Extent;
use crate::server::{self, PrivilegeError};
use crate::telemetry;

mod absent;
mod access;
mod account;
mod certificates;
mod listeners;
mod lists;
mod mail;
mod report;
mod stores;
mod unit;

use report::{Report, Severity};
use unit::Unit;

/// What `restante check` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante check --quiet && systemctl reload restante\n  \
        restante check --json | jq '.findings[] | select(.severity == \"error\")'")]
pub struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Do not query stores that are not files: databases, LDAP directories, PAM, programs, OAuth 2
    /// providers.
    #[arg(long)]
    offline: bool,
    /// Examine the Maildirs of all users of credential files, instead of at most a hundred.
    #[arg(long)]
    users: bool,
    /// Print only errors.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Print a JSON object to standard output.
    #[arg(long)]
    json: bool,
}

/// Checks a configuration and prints the report.
///
/// # Errors
/// [`Failure`] when the server could not serve with it.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { config: file, offline, users, quiet, json } = args;
    let is_service = telemetry::is_service();
    let circumstances = Circumstances {
        now: SystemTime::now(),
        bind: true,
        all_users: users,
        is_service,
        // The service itself runs with the restrictions of its unit.
        unit: if is_service { None } else { Unit::serving(&file) },
    };
    let extent = if offline { Extent::Offline } else { Extent::Everything };
    let (mut report, config) = examine(&file, &circumstances);
    if let Some(config) = config {
        // Files that the server cannot read have been reported. From here on, this process cannot
        // read them either.
        let of_unit = circumstances.unit.as_ref().and_then(Unit::user);
        let run_as = config.run_as.clone().or(of_unit);
        let becomes = become_server_user(run_as.as_ref());
        let mut examination =
            Examination { config: &config, circumstances: &circumstances, report: &mut report };
        match becomes {
            // The user of the server is unknown.
            Ok(()) if geteuid().is_root() && !config.is_sound("run-as") => {}
            Ok(()) => examination.stores(extent),
            Err(_) if examination.report.has_errors() => {}
            Err(error) => examination.error("run-as", error),
        }
    }
    let printed = if json { report.print_json() } else { report.print(quiet) };
    printed.map_err(|error| Failure::new(format!("the report cannot be written: {error}")))?;
    report.consequence().map_or(Ok(()), |consequence| Err(Failure::new(consequence)))
}

/// Becomes the user of `run-as` if this process runs as root: a store may accept root but not the
/// server, and programs must not run as root.
pub(super) fn become_server_user(run_as: Option<&RunAs>) -> Result<(), PrivilegeError> {
    match run_as {
        Some(_) if geteuid().is_root() => server::assume(run_as),
        Some(_) | None => Ok(()),
    }
}

/// How a configuration is examined.
struct Circumstances {
    now: SystemTime,
    /// Whether to try to bind the ports.
    bind: bool,
    /// Whether to examine the Maildirs of all users.
    all_users: bool,
    /// Whether the service manager has started this process, with the restrictions of the unit.
    is_service: bool,
    /// The unit that serves the file.
    unit: Option<Unit>,
}

/// Examines a configuration and all that it names, except stores that are not files.
fn examine(file: &Path, circumstances: &Circumstances) -> (Report, Option<PartialConfig>) {
    let mut report = Report::new(file);
    let config = match PartialConfig::load(file) {
        Ok(config) => config,
        Err(faults) => {
            for fault in faults.list() {
                report.add(Severity::Error, file, fault.clone());
            }
            return (report, None);
        }
    };
    for fault in config.faults() {
        report.add(Severity::Error, file, fault.clone());
    }
    let mut examination = Examination { config: &config, circumstances, report: &mut report };
    examination.listeners(circumstances.bind);
    examination.certificates(circumstances.now);
    examination.web(circumstances.now);
    examination.clients();
    examination.mechanisms();
    examination.throttle();
    let users = examination.users();
    examination.bare_names(&users);
    let server_user = examination.server_user();
    if let Some(server_user) = &server_user {
        examination.files(server_user);
    }
    examination.uidl_format();
    examination.mail(users, server_user.as_ref());
    (report, Some(config))
}

/// The examination of a configuration.
struct Examination<'a> {
    config: &'a PartialConfig,
    circumstances: &'a Circumstances,
    report: &'a mut Report,
}

impl Examination<'_> {
    fn add(&mut self, severity: Severity, key: &str, what: impl Display) {
        let place = Some(self.config.place_of(key));
        let fault = Fault { place, key: key.to_owned(), what: what.to_string() };
        self.report.add(severity, self.config.file(), fault);
    }

    fn error(&mut self, key: &str, what: impl Display) {
        self.add(Severity::Error, key, what);
    }

    fn warn(&mut self, key: &str, what: impl Display) {
        self.add(Severity::Warning, key, what);
    }
}

#[cfg(test)]
mod tests;
