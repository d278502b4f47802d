//! `restante selftest`: tests how a POP3 server keeps the rules of the RFCs.
//!
//! - `rules` are the rules, each a value with its test; `rule` is their type.
//! - `probe` is the server under test, `dialogue` a connection to it, `record` what was said on it,
//!   `capabilities` what the server claims, `target` its address, `login` that of a user.
//! - `report` prints the outcomes.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Builder;

use super::Failure;
use super::client::Connector;
use super::password::InputArgs;

mod capabilities;
mod dialogue;
mod login;
mod probe;
mod record;
mod report;
mod rule;
mod rules;
mod target;

use login::Login;
use probe::Probe;
use report::{Format, Report};
use rule::{Finding, Needs};
use target::{Address, Target, Tls};

/// `restante selftest`
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Args {
    /// The server: HOST, HOST:PORT or [ADDRESS]:PORT.
    #[arg(value_name = "HOST[:PORT]")]
    server: Address,
    /// When TLS begins. The default is starttls for port 110, and implicit for other ports. The
    /// default port is 995, or 110 for starttls and off.
    #[arg(long, value_enum, value_name = "WHEN")]
    tls: Option<Tls>,
    /// Accept any certificate.
    #[arg(long, conflicts_with = "cafile")]
    insecure: bool,
    /// Accept the certificates of the authorities in this PEM file, instead of those of this system.
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// Log in as this user, for the rules that need it. One wrong password is sent on purpose.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    password: InputArgs,
    /// Test removal, too: REMOVES THE FIRST MESSAGE of the user. Use a mailbox made for it.
    #[arg(long, requires = "user")]
    destructive: bool,
    /// Test, too, that an idle session lasts ten minutes.
    #[arg(long, requires = "user")]
    slow: bool,
    /// How long the server may take for each line.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Print what was sent and what came for every rule, not only for broken ones.
    #[arg(long)]
    verbose: bool,
    /// Print JSON, an object a line: one for each rule, then a summary.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "Exit codes:
  0  no rule is broken
  1  a rule is broken, or the server cannot be reached, or the login is refused
  2  wrong usage

Examples:
  restante selftest pop.example.org
  restante selftest pop.example.org:110 --user mrose@example.org
  restante selftest localhost --insecure --user test --stdin --destructive < password";

/// Tests the server, and prints the outcomes.
///
/// # Errors
/// [`Failure`] when a rule is broken, or when the server cannot be tested.
pub fn run(args: Args) -> Result<(), Failure> {
    let target = Target::new(args.server, args.tls);
    let connector = match (args.insecure, &args.cafile) {
        (true, _) => Connector::accepting_any(),
        (false, Some(path)) => Connector::of_authorities(path),
        (false, None) => Connector::verifying(),
    };
    let connector = connector.map_err(Failure::of)?;
    let login = match args.user {
        Some(user) => {
            let password = args.password.existing(&format!(" of {user}"))?;
            Some(Login { user, password })
        }
        None => None,
    };
    if let (true, Some(Login { user, .. })) = (args.destructive, &login) {
        warn(&format!("--destructive: the first message of {user} at {target} is removed"))?;
    }
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::of)?;
    let patience = Duration::from_secs(args.timeout);
    let mut probe = Probe::new(target, connector, login, patience, runtime);
    reachable(&mut probe)?;
    let format = if args.json { Format::Json } else { Format::Text { verbose: args.verbose } };
    let mut report = Report::begin(format, &probe, rules::all().count())?;
    for rule in rules::all() {
        probe.record.borrow_mut().restart();
        let found = match rule.needs {
            Needs::Removal if !args.destructive => {
                Err(Finding::not_tested("it removes mail: --destructive"))
            }
            Needs::Patience if !args.slow => {
                Err(Finding::not_tested("it takes 10 minutes: --slow"))
            }
            Needs::Login if probe.login.is_none() => probe.needed_login().map(drop),
            Needs::Nothing | Needs::Login | Needs::Removal | Needs::Patience => {
                (rule.check)(&mut probe)
            }
        };
        let exchange = probe.record.borrow_mut().take();
        report.outcome(rule, found, exchange)?;
    }
    report.finish(&probe)
}

/// Whether the server answers as a POP3 server does; otherwise there is nothing to test.
fn reachable(probe: &mut Probe) -> Result<(), Failure> {
    let Target { tls, .. } = probe.target;
    let why = match probe.fresh() {
        Ok(dialogue) => {
            probe.keep(dialogue);
            return Ok(());
        }
        Err(Finding::NotOffered(why) | Finding::NotTested(why)) => why,
        Err(Finding::Broken(why)) => {
            let hint = match tls {
                Tls::Implicit => "if TLS begins with STLS there, write --tls starttls",
                Tls::Starttls => "if the server has no STLS, write --tls off",
                Tls::Off => "if TLS is there from the start, write --tls implicit",
            };
            format!("{why}; {hint}")
        }
    };
    Err(Failure::new(format!("{}, {tls}: {why}", probe.target)))
}

fn warn(what: &str) -> Result<(), Failure> {
    let written = writeln!(io::stderr(), "restante: {what}");
    written.map_err(|error| Failure::new(format!("cannot write to standard error: {error}")))
}
