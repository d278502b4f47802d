//! `restante throttle`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::table::{span, until};
use super::{Table, Target, print_json};
use crate::cli::Failure;
use crate::control::{Answer, Delay, Delayed, Request};

/// `restante throttle`
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List who waits before a login, and for how long.
    ///
    /// Who has failed to log in waits before the next attempt: a network, a user, or a user from a
    /// network. A login waits for the longest of them. Users who have logged in from a network within
    /// seven days wait there only for their own failures.
    List(ListArgs),
    /// Let somebody log in again at once.
    ///
    /// Forgets the failures of a user, of an address and the networks around it, or of a network.
    #[command(after_long_help = "Examples:\n  \
            restante throttle clear mrose@example.org\n  \
            restante throttle clear 192.0.2.7\n  \
            restante throttle clear 192.0.2.0/24\n  \
            restante throttle clear --all")]
    Clear(ClearArgs),
}

/// `restante throttle list`
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    target: Target,
    /// Only what delays this user alone.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only what delays logins from this address or network.
    #[arg(long, value_name = "ADDRESS|NETWORK")]
    address: Option<String>,
}

/// `restante throttle clear`
#[derive(Debug, clap::Args)]
pub struct ClearArgs {
    #[command(flatten)]
    target: Target,
    /// A user, an address or a network.
    #[arg(value_name = "USER|ADDRESS|NETWORK", required_unless_present = "all")]
    who: Option<String>,
    /// It is a user, even if it looks like an address.
    #[arg(long, requires = "who")]
    user: bool,
    /// Forget all failures.
    #[arg(long, conflicts_with = "who")]
    all: bool,
}

/// Lists or clears what delays logins.
///
/// # Errors
/// [`Failure`] when the server cannot be asked, or when there is nothing to clear.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(ListArgs { target, user, address: network }) => {
            let delayed = Delayed { user, network, all: false };
            print_delays(&target, &Request::Throttle(delayed))?;
            Ok(())
        }
        Command::Clear(ClearArgs { target, who, user, all }) => {
            let is_network = !user && who.as_deref().is_some_and(is_network);
            let (user, network) =
                if is_network { (None, who.clone()) } else { (who.clone(), None) };
            let delayed = Delayed { user, network, all };
            match (print_delays(&target, &Request::ClearThrottle(delayed))?, who) {
                (0, Some(who)) => {
                    let why = format!("nothing delays {who}; see restante throttle list");
                    Err(Failure::new(why))
                }
                (_, _) => Ok(()),
            }
        }
    }
}

fn is_network(who: &str) -> bool {
    who.parse::<IpAddr>().is_ok() || who.parse::<IpNet>().is_ok()
}

/// Prints delays, and returns how many there are.
fn print_delays(target: &Target, request: &Request) -> Result<u64, Failure> {
    let (mut table, mut delays) = (Table::new(&HEAD), 0);
    target.ask(request, |answer| {
        let Answer::Delay(delay) = answer else { return Ok(()) };
        delays += 1;
        if target.json { print_json(&delay) } else { table.add(row(delay)) }
    })?;
    let is_list = matches!(request, Request::Throttle(_));
    if !target.json && (is_list || delays > 0) {
        table.end()?;
    }
    Ok(delays)
}

const HEAD: [&str; 5] = ["USER", "FROM", "FAILURES", "WAIT", "FORGOTTEN-IN"];

fn row(Delay { user, account, network, failures, wait, until: point }: Delay) -> [String; 5] {
    let all = || "all".to_owned();
    let user = if account { Some("several-names".to_owned()) } else { user };
    [
        user.unwrap_or_else(all),
        network.unwrap_or_else(all),
        failures.to_string(),
        span(wait),
        span(until(point)),
    ]
}
