//! A POP3 session: the states of RFC 1939 §3 and the loop that drives them.
//!
//! The session sees a stream of bytes and the traits of [`mailbox`](crate::mailbox) and
//! [`auth`](crate::auth); it knows neither sockets nor TLS nor files.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Authenticator, CredentialStore};
use crate::mailbox::Mailbox;
use crate::protocol::Username;

mod slots;

pub use slots::{Slot, Slots};

/// What every session of a server shares; made anew when the configuration is reloaded.
pub struct Env<M, C> {
    /// Where mail is.
    pub mailbox: M,
    /// Who may log in.
    pub authenticator: Authenticator<C>,
    /// The operator's choices.
    pub policy: Policy,
    /// How many sessions each user has.
    pub sessions: Arc<Slots<Username>>,
    /// Removals under way; they are finished whatever becomes of their sessions.
    pub removals: TaskTracker,
    /// Cancelled when the server stops: sessions end after the running command.
    pub drain: CancellationToken,
}

/// The operator's choices that a session obeys.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The name in the greeting.
    pub hostname: String,
    /// Passwords are taken without TLS.
    pub allow_cleartext: bool,
    /// How long the reply to a failed log-in is held back.
    pub failure_delay: Duration,
    /// Bad commands in a row before the connection is closed.
    pub bad_commands: u32,
    /// Failed log-ins before the connection is closed.
    pub failed_logins: u32,
    /// Without a command, after login.
    pub idle: Duration,
    /// Without the client taking a single octet.
    pub write: Duration,
}

/// The stream that a session runs on, as the server found or made it.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Whether passwords are safe on it.
    pub security: Security,
    /// By when the client has to be logged in.
    pub login_deadline: Instant,
}

/// How a stream is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all; STLS is possible when `stls` is so.
    Cleartext {
        /// Whether the server has a certificate for this socket.
        stls: bool,
    },
    /// TLS from the first octet: the session greets.
    ImplicitTls,
    /// TLS after STLS: the client has been greeted (RFC 2595 §4).
    UpgradedTls,
}

/// A session that is over.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub why: End,
    /// What it did, for the log.
    pub summary: Summary,
}

/// Why a session ended.
#[derive(Debug)]
pub enum End {
    /// The client said QUIT.
    Quit,
    /// The client said STLS and nothing after it: shake hands and run a new session.
    StartTls,
    /// The client closed the connection.
    PeerClosed,
    /// Something else. TODO
    Failed(io::Error),
}

/// What a session did, for the line in the log that ends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Who was logged in.
    pub user: Option<Username>,
    /// Messages sent whole.
    pub retrieved: u64,
    /// Messages removed.
    pub removed: u64,
    /// Messages left.
    pub left: u64,
    /// Octets of messages sent.
    pub octets: u64,
}

/// Runs one session to its end. `stream` is flushed but not shut down.
pub async fn run<S, M, C>(stream: &mut S, env: &Env<M, C>, link: Link) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    M: Mailbox,
    C: CredentialStore,
{
    let _ = (stream, env, link);
    Ended { why: End::PeerClosed, summary: Summary::default() }
}
