//! `restante check`: reads a configuration with everything that it names, as `serve` would.
//!
//! An error is what keeps the server from serving; a warning is what it serves in spite of. All of
//! them are reported at once, each with its place: what is wrong in the file hides nothing of what
//! is right in it. Without errors, a summary says what the server would do.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::geteuid;

use super::Failure;
use crate::config::{Draft, Fault, RunAs};
use crate::server;
use crate::server::stores::Extent;
use crate::telemetry;

mod absent;
mod access;
mod account;
mod certificates;
mod domain;
mod listeners;
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
    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Do not ask the stores that are elsewhere: databases, directories, programs, providers.
    #[arg(long)]
    offline: bool,
    /// Look at the Maildirs of all users of credential files, not only at a hundred.
    #[arg(long)]
    users: bool,
    /// Say nothing but errors.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Print one JSON object for programs, on standard output.
    #[arg(long)]
    json: bool,
}

/// Prints what there is to say about a configuration.
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
        // The service itself is within what its unit allows, and sees it.
        unit: if is_service { None } else { Unit::serving(&file) },
    };
    let extent = if offline { Extent::Offline } else { Extent::Everything };
    let (mut report, draft) = look_at(&file, &circumstances);
    if let Some(draft) = draft {
        // What is closed to the server has been reported, and is closed to us from here on.
        let of_unit = circumstances.unit.as_ref().and_then(Unit::user);
        let run_as = draft.run_as.clone().or(of_unit);
        let becomes = become_the_server(run_as.as_ref());
        let mut examination = Examination::new(&draft, &circumstances, &mut report);
        match becomes {
            // Whose work it would be is not known.
            Ok(()) if geteuid().is_root() && !draft.is_sound("run-as") => {}
            Ok(()) => examination.stores(extent),
            Err(_) if examination.report.has_errors() => {}
            Err(why) => examination.error("run-as", why.to_string()),
        }
    }
    let printed = if json { report.print_json() } else { report.print(quiet) };
    printed.map_err(|error| Failure::new(format!("the report cannot be written: {error}")))?;
    report.consequence().map_or(Ok(()), |consequence| Err(Failure::new(consequence)))
}

/// Becomes the user of `run-as`, when this is root's doing: a store may let root in and not the
/// server, and no program is run as root that was not meant to be.
pub(super) fn become_the_server(run_as: Option<&RunAs>) -> Result<(), Failure> {
    match run_as {
        Some(_) if geteuid().is_root() => server::assume(run_as).map_err(Failure::of),
        Some(_) | None => Ok(()),
    }
}

/// What a configuration is looked at with.
struct Circumstances {
    now: SystemTime,
    /// Whether to try the ports.
    bind: bool,
    /// Whether to look at each user's Maildir.
    all_users: bool,
    /// Whether the service manager has started this, with the restrictions of the unit.
    is_service: bool,
    /// The unit that serves the file.
    unit: Option<Unit>,
}

/// Looks at a configuration, and at all that it names but for stores that are not files.
fn look_at(file: &Path, circumstances: &Circumstances) -> (Report, Option<Draft>) {
    let mut report = Report::new(file);
    let draft = match Draft::load(file) {
        Ok(draft) => draft,
        Err(faults) => {
            for fault in faults.list() {
                report.add(Severity::Error, file, fault.clone());
            }
            return (report, None);
        }
    };
    for fault in draft.faults() {
        report.add(Severity::Error, file, fault.clone());
    }
    let mut examination = Examination::new(&draft, circumstances, &mut report);
    examination.listeners(circumstances.bind);
    examination.certificates(circumstances.now);
    examination.clients();
    examination.mechanisms();
    examination.throttle();
    let users = examination.users();
    examination.bare_names(&users);
    let account = examination.account();
    if let Some(account) = &account {
        examination.files(account);
    }
    examination.mail(users, account.as_ref());
    (report, Some(draft))
}

/// A configuration that is being looked at.
struct Examination<'a> {
    draft: &'a Draft,
    all_users: bool,
    is_service: bool,
    unit: Option<&'a Unit>,
    report: &'a mut Report,
}

impl<'a> Examination<'a> {
    fn new(draft: &'a Draft, circumstances: &'a Circumstances, report: &'a mut Report) -> Self {
        let &Circumstances { all_users, is_service, ref unit, .. } = circumstances;
        Self { draft, all_users, is_service, unit: unit.as_ref(), report }
    }

    fn add(&mut self, severity: Severity, key: &str, what: impl Into<String>) {
        let place = Some(self.draft.place_of(key));
        let fault = Fault { place, key: key.to_owned(), what: what.into() };
        self.report.add(severity, self.draft.file(), fault);
    }

    fn error(&mut self, key: &str, what: impl Into<String>) {
        self.add(Severity::Error, key, what);
    }

    fn warn(&mut self, key: &str, what: impl Into<String>) {
        self.add(Severity::Warning, key, what);
    }
}

#[cfg(test)]
mod tests;
