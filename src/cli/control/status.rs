//! `restante status`.

use super::table::{now, since, span};
use super::{Target, print_json};
use crate::cli::{Failure, print};
use crate::control::{Answer, Certificate, LastReload, OtherFile, Request, Status, Store};

/// Prints the state of the server.
///
/// # Errors
/// [`Failure`] when the server cannot be asked.
pub fn run(target: &Target) -> Result<(), Failure> {
    target.ask(&Request::Status, |answer| {
        let Answer::Status(status) = answer else { return Ok(()) };
        if target.json { print_json(&status) } else { print(text(&status)) }
    })
}

fn text(status: &Status) -> String {
    let Status { version, pid, started, connections, sessions, logins, .. } = status;
    let mut lines = Vec::new();
    let mut line = |about: &str, what: String| {
        // The errors of a configuration are one a line.
        let what = what.replace('\n', &format!("\n{:13}", ""));
        lines.push(format!("{about:<13}{}\n", what.trim_end()));
    };
    let stopping = if status.is_stopping { ", stopping" } else { "" };
    line("server", format!("{version}, pid {pid}, up {}{stopping}", span(since(*started))));
    for listener in &status.listeners {
        line("listening", format!("{}, tls {}", listener.address, listener.tls));
    }
    line("connections", format!("{connections}, {sessions} of them logged in"));
    line("logins", format!("{logins}, {} in the last minute", status.logins_last_minute));
    for Store { name, down, down_since } in &status.stores {
        let age = down_since.map(|point| format!(" for {}", span(since(point))));
        match down {
            Some(why) => {
                line("store", format!("{name}: down{}: {why}", age.unwrap_or_default()));
            }
            None => line("store", format!("{name}: up")),
        }
    }
    for certificate in &status.certificates {
        line("certificate", expiry(certificate));
    }
    if let Some(LastReload { at, error }) = &status.last_reload {
        let ago = span(since(*at));
        match error {
            Some(error) => line("reload", format!("refused {ago} ago: {error}")),
            None => line("reload", format!("{ago} ago")),
        }
    }
    lines.concat()
}

fn expiry(Certificate { path, names, expires, file }: &Certificate) -> String {
    let used = format!("{path} ({}): {}", names.join(", "), end(*expires));
    match file {
        None => used,
        Some(OtherFile { error: Some(error), .. }) => {
            format!("{used}\nnot in use: the file cannot be used: {error}")
        }
        Some(OtherFile { names, expires, .. }) => {
            let end = expires.map_or_else(String::new, |expires| format!(": {}", end(expires)));
            format!("{used}\nnot in use yet: the file has another one ({}){end}", names.join(", "))
        }
    }
}

fn end(expires: u64) -> String {
    match expires.checked_sub(now()) {
        Some(left) => format!("expires in {}", span(left)),
        None => "has expired".to_owned(),
    }
}
