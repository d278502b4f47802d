//! The control socket, as its two sides see it: requests and answers, one JSON object a line.
//!
//! docs/CONTROL.md is the reference. `client` is the side of the commands; the server's side is in
//! `server`.
//!
//! - A request has any number of answers and then [`Answer::Done`] or [`Answer::Error`].
//! - Points in time are in seconds since 1970, spans of time in seconds.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

mod client;

pub use client::{Client, ClientError};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// The state of the server: one [`Status`].
    Status,
    /// The open connections, the oldest first: a [`Connection`] for each.
    Sessions(Filter),
    /// Ends connections: a [`Kicked`] for each. At least one field of the filter is set.
    Kick(Filter),
    /// Reads the configuration again: one [`Reloaded`].
    Reload,
    /// What delays logins, the longest first: a [`Delay`] for each.
    Throttle(Delayed),
    /// Forgets what delays logins: a [`Delay`] for each, as it was before. At least one field is set.
    ClearThrottle(Delayed),
    /// The dialogue of connections as it happens, those that are there and those that come: a
    /// [`Line`] for each, and the number of lines that were left out. At least one field of the filter
    /// is set. The client ends it by closing the connection.
    Watch(Filter),
}

/// The connections of a request: those that have all the fields that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The user who has logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The address of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The number of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
}

impl Filter {
    /// Whether it matches all connections.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The delays of a request: those that have all the fields that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delayed {
    /// The user, as clients have named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// An address or a network. It has the delays of the networks around it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Whether all of them are meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The state of the server.
    Status(Box<Status>),
    /// An open connection.
    Connection(Connection),
    /// A connection that was to be ended.
    Kicked(Kicked),
    /// A configuration that is in use.
    Reloaded(Reloaded),
    /// What delays logins.
    Delay(Delay),
    /// A line of a dialogue.
    Line(Line),
    /// The number of lines that were left out, because they came faster than they were taken.
    LeftOut(u64),
    /// The request has been carried out. There are no more answers.
    Done {},
    /// The request has not been carried out, for this reason. There are no more answers.
    Error(String),
}

/// The state of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// When the server started.
    pub started: u64,
    /// Whether it stops: sessions that have logged in may go on to QUIT.
    pub is_stopping: bool,
    /// The listening sockets.
    pub listeners: Vec<Listener>,
    /// The number of open connections.
    pub connections: u32,
    /// Those of them that have logged in.
    pub sessions: u32,
    /// The successful logins since the start.
    pub logins: u64,
    /// Those of the last 60 seconds.
    pub logins_last_minute: u32,
    /// The credential stores.
    pub stores: Vec<Store>,
    /// The certificates.
    pub certificates: Vec<Certificate>,
    /// The last reload of the configuration, if there was one.
    pub last_reload: Option<LastReload>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Its address.
    pub address: SocketAddr,
    /// `implicit`, `starttls` or `off`.
    pub tls: String,
}

/// A credential store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Store {
    /// Its kind and place.
    pub name: String,
    /// Why it is down; `None` while it works.
    pub down: Option<String>,
    /// Since when it is down.
    pub down_since: Option<u64>,
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Certificate {
    /// The file.
    pub path: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// When it expires.
    pub expires: u64,
    /// What the file has now, if that is another certificate, or none.
    pub file: Option<OtherFile>,
}

/// What a certificate file has now that is not in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherFile {
    /// The names that its certificate is for.
    pub names: Vec<String>,
    /// When that expires.
    pub expires: Option<u64>,
    /// Why it cannot be used.
    pub error: Option<String>,
}

/// The last reload of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// When it ended.
    pub at: u64,
    /// Why the old configuration stayed in use; `None` if the new one is in use.
    pub error: Option<String>,
}

/// An open connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Connection {
    /// Its number: 1 for the first of the process, and one more for each later one.
    pub id: u64,
    /// The user who has logged in.
    pub user: Option<String>,
    /// The name of the app password that the user has logged in with, if it was one.
    pub app_password: Option<String>,
    /// The address and port of the client.
    pub address: SocketAddr,
    /// The version of TLS; `None` without TLS.
    pub tls: Option<String>,
    /// The state of RFC 1939 §3.
    pub state: State,
    /// When it was accepted.
    pub since: u64,
    /// How long it has waited for a command; `None` while it works.
    pub idle: Option<u64>,
    /// The messages that were sent as a whole.
    pub retrieved: u64,
    /// Their octets.
    pub octets: u64,
    /// The messages that are marked as deleted.
    pub marked: u32,
}

/// The state of a session (RFC 1939 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum State {
    Authorization,
    Transaction,
    Update,
}

/// A connection that was to be ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kicked {
    /// As it was before.
    pub connection: Connection,
    /// `false` if the session removes messages: it ends by itself after that.
    pub is_ended: bool,
}

/// A configuration that is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reloaded {
    /// The keys that have changed and that take effect at the next start only.
    pub needs_restart: Vec<String>,
}

/// What delays the logins of a user, of all users from a network, or of a user from a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// The user; `None` for all users from the network, and for an account.
    pub user: Option<String>,
    /// Whether it is an account that several names lead to.
    pub account: bool,
    /// The network; `None` for all networks from which the user has not logged in lately.
    pub network: Option<String>,
    /// The failures that are not forgotten.
    pub failures: u32,
    /// How long the next attempt waits.
    pub wait: u64,
    /// When all failures are forgotten.
    pub until: u64,
}

/// A line of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, in milliseconds since 1970.
    pub milliseconds: u64,
    /// The number of the connection.
    pub id: u64,
    /// The user who has logged in.
    pub user: Option<String>,
    /// Who says it.
    pub from: Speaker,
    /// What is shown of it.
    pub text: String,
}

/// Who says a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Speaker {
    Client,
    Server,
    /// Nobody: something has happened to the connection.
    Connection,
}

/// A point in time as the objects have it: in seconds since 1970.
pub fn unix_time(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The longest line of a request, in octets.
pub const LONGEST_REQUEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_documented() {
        for (line, expected) in [
            (r#"{"command":"status"}"#, Request::Status),
            (r#"{"command":"sessions"}"#, Request::Sessions(Filter::default())),
            (
                r#"{"command":"kick","user":"mrose","address":"192.0.2.1"}"#,
                Request::Kick(Filter {
                    user: Some("mrose".into()),
                    address: Some("192.0.2.1".parse().unwrap()),
                    id: None,
                }),
            ),
            (r#"{"command":"reload"}"#, Request::Reload),
            (r#"{"command":"throttle"}"#, Request::Throttle(Delayed::default())),
            (
                r#"{"command":"clear-throttle","all":true}"#,
                Request::ClearThrottle(Delayed { all: true, ..Delayed::default() }),
            ),
            (
                r#"{"command":"watch","id":7}"#,
                Request::Watch(Filter { id: Some(7), ..Filter::default() }),
            ),
        ] {
            assert_eq!(serde_json::from_str::<Request>(line).unwrap(), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), line);
        }
        for bad in [
            "",
            "{}",
            "null",
            r#"{"command":"stop"}"#,
            r#"{"command":"kick","id":-1}"#,
            r#"{"command":"sessions","usr":"a"}"#,
        ] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }
}
