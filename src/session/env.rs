//! What the server passes to a session: shared services, the policy, and its connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, Handle, Open};
use super::slots::Slots;
use crate::last_login::LastLogins;
use crate::login::Authenticator;
use crate::protocol::Username;
use crate::protocol::sasl::{Channel, Mechanism};

/// What the sessions of a server share. A reload of the configuration creates a new one.
pub struct Env<M, C> {
    /// The mail store. Tasks share it, which go on opening a maildrop after a session has given up.
    pub mailbox: Arc<M>,
    /// Decides who may log in.
    pub authenticator: Authenticator<C>,
    /// The operator's choices.
    pub policy: Policy,
    /// The sessions of each user. Those that want its maildrop notify the one that has it.
    pub sessions: Arc<Slots<Username, Arc<Notify>>>,
    /// The logins that have not been written yet.
    pub last_logins: Arc<LastLogins>,
    /// Removals in progress. They are finished even after their sessions have ended.
    pub removals: TaskTracker,
    /// Cancelled when the server begins to stop: there are no more logins, and sessions that are
    /// logged in may go on to QUIT.
    pub drain: CancellationToken,
    /// Cancelled when the grace time is over: sessions end after the current command.
    pub grace_over: CancellationToken,
}

impl<M, C> Env<M, C> {
    /// The environment of a server that is not stopping, without sessions.
    pub fn new(mailbox: M, authenticator: Authenticator<C>, policy: Policy) -> Self {
        Self {
            mailbox: Arc::new(mailbox),
            authenticator,
            policy,
            sessions: Slots::new(),
            last_logins: Arc::default(),
            removals: TaskTracker::new(),
            drain: CancellationToken::new(),
            grace_over: CancellationToken::new(),
        }
    }
}

/// The operator's choices that a session obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The name in the greeting.
    pub hostname: String,
    /// The domain of names without one, unless the link has another.
    pub default_domain: Option<Arc<str>>,
    /// UTF8 is listed among the capabilities; the command is accepted in any case.
    pub utf8: bool,
    /// Passwords are accepted without TLS.
    pub allow_cleartext: bool,
    /// The mechanisms that the operator allows. `None`: those that every user can use.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// A failed login is answered at a multiple of this after it began.
    pub failure_delay: Duration,
    /// Bad commands in a row before the connection is closed.
    pub bad_commands: u32,
    /// Failed logins before the connection is closed.
    pub failed_logins: u32,
    /// Sessions of one user, including those that wait for the lock.
    pub sessions_per_user: u32,
    /// How long a connection waits, in all, for another session of its user to end.
    pub lock_wait: Duration,
    /// After this time without a command, a session without marks ends when its user logs in again.
    pub yield_idle: Duration,
    /// Each removed message is logged.
    pub log_removals: bool,
    /// How long a client may send no command after login.
    pub idle: Duration,
    /// How long a client may acknowledge none of what was sent to it.
    pub write: Duration,
}

impl Policy {
    /// The policy of a configuration that only sets the hostname.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            default_domain: None,
            utf8: false,
            allow_cleartext: false,
            mechanisms: None,
            failure_delay: Duration::from_secs(2),
            bad_commands: 20,
            failed_logins: 5,
            sessions_per_user: 4,
            lock_wait: Duration::from_secs(5),
            yield_idle: Duration::from_secs(60),
            log_removals: true,
            idle: Duration::from_secs(600),
            write: Duration::from_secs(300),
        }
    }
}

/// What a session knows of its connection.
#[derive(Clone, Debug)]
pub struct Link {
    /// Whether passwords are safe on it.
    pub security: Security,
    /// The channel bindings for SASL mechanisms.
    pub channel: Channel,
    /// The users that the client has a certificate for.
    pub certificate: Vec<Username>,
    /// The domain of names without one, in place of that of the policy.
    pub default_domain: Option<Arc<str>>,
    /// The time by which the client must have logged in.
    pub login_deadline: Instant,
    /// The connection among those of the server.
    pub connection: Arc<Open>,
}

impl Link {
    /// A connection without channel bindings and certificate.
    pub fn new(security: Security, connection: Arc<Open>, login_deadline: Instant) -> Self {
        Self {
            security,
            channel: Channel::default(),
            certificate: Vec::new(),
            default_domain: None,
            login_deadline,
            connection,
        }
    }

    /// The only connection of a server, from `peer`.
    pub fn alone(security: Security, peer: IpAddr, login_deadline: Instant) -> Self {
        let connection = Arc::<Connections>::default().enter(SocketAddr::new(peer, 0));
        Self::new(security, Arc::new(connection), login_deadline)
    }

    /// What all tasks share of the connection.
    pub(super) fn handle(&self) -> &Arc<Handle> {
        self.connection.handle()
    }

    /// The address of the client.
    pub(super) fn peer(&self) -> IpAddr {
        self.handle().peer().ip()
    }
}

/// How a stream is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all. STLS is possible if `stls` is true.
    Cleartext {
        /// Whether the server has a certificate for this socket.
        stls: bool,
    },
    /// TLS from the first octet: the session greets.
    ImplicitTls,
    /// TLS after STLS: the client has been greeted (RFC 2595 §4).
    UpgradedTls,
}

impl Security {
    pub(super) fn is_tls(self) -> bool {
        match self {
            Self::Cleartext { .. } => false,
            Self::ImplicitTls | Self::UpgradedTls => true,
        }
    }
}
