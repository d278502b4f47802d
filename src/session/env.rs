//! What the server gives a session: shared services, policy, and the stream that it runs on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::evictable::{Evictable, Place};
use super::slots::Slots;
use super::wanted::Wanted;
use crate::login::Authenticator;
use crate::protocol::Username;
use crate::protocol::sasl::{Channel, MechanismSet};

/// What every session of a server shares; made anew when the configuration is reloaded.
pub struct Env<M, C> {
    /// Where mail is. Shared, because a maildrop may take longer to open than anybody waits.
    pub mailbox: Arc<M>,
    /// Who may log in.
    pub authenticator: Authenticator<C>,
    /// The operator's choices.
    pub policy: Policy,
    /// How many sessions each user has.
    pub sessions: Arc<Slots<Username, Wanted>>,
    /// Removals under way; they are finished whatever becomes of their sessions.
    pub removals: TaskTracker,
    /// Cancelled when the server is to stop: nobody logs in any more, and who has, goes on to QUIT.
    pub drain: CancellationToken,
    /// Cancelled when the time for that is over: sessions end after the running command.
    pub grace_over: CancellationToken,
}

/// The operator's choices that a session obeys.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The name in the greeting.
    pub hostname: String,
    /// The domain of names without one, unless the link has another.
    pub default_domain: Option<Arc<str>>,
    /// UTF8 is listed among the capabilities; the command is taken in any case.
    pub utf8: bool,
    /// Passwords are taken without TLS.
    pub allow_cleartext: bool,
    /// The mechanisms that may be offered; what every user of the stores can use when there is
    /// nothing here.
    pub mechanisms: Option<MechanismSet>,
    /// A failed log-in is answered at a multiple of this after it began.
    pub failure_delay: Duration,
    /// Bad commands in a row before the connection is closed.
    pub bad_commands: u32,
    /// Failed log-ins before the connection is closed.
    pub failed_logins: u32,
    /// Sessions of one user, those included that wait for the lock.
    pub sessions_per_user: u32,
    /// How long a connection waits in all for another session of its user to end.
    pub lock_wait: Duration,
    /// A session without marks that has waited so long for a command ends when its user logs in
    /// again.
    pub yield_idle: Duration,
    /// Each message that is removed has a line in the log.
    pub log_removals: bool,
    /// Without a command, after login.
    pub idle: Duration,
    /// In which the client takes next to nothing of what waits for it.
    pub write: Duration,
}

/// The stream that a session runs on, as the server found or made it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Whether passwords are safe on it.
    pub security: Security,
    /// Where the client is.
    pub peer: IpAddr,
    /// The version of TLS, for the log.
    pub tls: Option<&'static str>,
    /// What a mechanism can be bound to.
    pub channel: Channel,
    /// The users that the client has a certificate for.
    pub certificate: Vec<Username>,
    /// The domain of names without one, in place of that of the policy.
    pub default_domain: Option<Arc<str>>,
    /// By when the client has to be logged in.
    pub login_deadline: Instant,
    /// The place of the connection among those that may be ended.
    pub place: Arc<Place>,
}

impl Link {
    /// A stream to which nothing can be bound, from a client without a certificate, which is the only
    /// one of its server.
    pub fn new(security: Security, peer: IpAddr, login_deadline: Instant) -> Self {
        let (channel, certificate) = (Channel::default(), Vec::new());
        let (tls, default_domain) = (None, None);
        let place = Arc::new(Arc::<Evictable>::default().enter(peer));
        Self { security, peer, tls, channel, certificate, default_domain, login_deadline, place }
    }
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

impl Security {
    pub(super) fn is_tls(self) -> bool {
        match self {
            Self::Cleartext { .. } => false,
            Self::ImplicitTls | Self::UpgradedTls => true,
        }
    }
}
