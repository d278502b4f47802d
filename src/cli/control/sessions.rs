//! `restante sessions` and `restante kick`.

use std::net::IpAddr;

use super::table::{since, span};
use super::{Table, Target, Who, print_json};
use crate::cli::{Failure, print};
use crate::control::{Answer, Connection, Filter, Kicked, Request, State};

/// `restante sessions`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Only those of this user.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only those from this address.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
}

/// Lists the open connections.
///
/// # Errors
/// [`Failure`] when the server cannot be asked.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { target, user, address } = args;
    let mut table = Table::new(&HEAD);
    target.ask(&Request::Sessions(Filter { user, address, id: None }), |answer| {
        let Answer::Connection(connection) = answer else { return Ok(()) };
        if target.json { print_json(&connection) } else { table.add(row(connection)) }
    })?;
    if target.json { Ok(()) } else { table.end() }
}

const HEAD: [&str; 10] = [
    "ID",
    "USER",
    "APP-PASSWORD",
    "ADDRESS",
    "TLS",
    "STATE",
    "SINCE",
    "IDLE",
    "RETRIEVED",
    "MARKED",
];

fn row(connection: Connection) -> [String; 10] {
    let none = || "-".to_owned();
    let Connection {
        id,
        user,
        app_password,
        address,
        tls,
        state,
        since: opened,
        idle,
        retrieved,
        marked,
        ..
    } = connection;
    [
        id.to_string(),
        user.unwrap_or_else(none),
        app_password.unwrap_or_else(none),
        address.to_string(),
        tls.unwrap_or_else(none),
        match state {
            State::Authorization => "authorization",
            State::Transaction => "transaction",
            State::Update => "update",
        }
        .to_owned(),
        span(since(opened)),
        idle.map_or_else(none, span),
        retrieved.to_string(),
        marked.to_string(),
    ]
}

/// `restante kick`
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
        restante kick mrose@example.org\n  \
        restante kick 192.0.2.7\n  \
        restante kick 4711                 # the ID in restante sessions")]
pub struct KickArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    who: Who,
}

/// Ends connections.
///
/// # Errors
/// [`Failure`] when the server cannot be asked, or when there is no such connection.
pub fn kick(args: KickArgs) -> Result<(), Failure> {
    let KickArgs { target, who } = args;
    let mut kicked = 0_u32;
    target.ask(&Request::Kick(who.filter()), |answer| {
        let Answer::Kicked(one) = answer else { return Ok(()) };
        kicked += 1;
        if target.json { print_json(&one) } else { print(line(&one)) }
    })?;
    match kicked {
        0 => Err(Failure::new(format!("no connection of {who}; see restante sessions"))),
        _ => Ok(()),
    }
}

fn line(Kicked { connection, is_ended }: &Kicked) -> String {
    let Connection { id, user, address, .. } = connection;
    let who = match user {
        Some(user) => format!("{id}: {user} from {address}"),
        None => format!("{id}: {address}, not logged in"),
    };
    match is_ended {
        true if connection.state == State::Update => {
            format!("{who}: ended, after it has removed messages\n")
        }
        true => format!("{who}: ended, nothing is removed\n"),
        false => format!("{who}: it removes messages and ends by itself\n"),
    }
}
