//! Why a session ended, and what it did.

use std::{fmt, io};

use crate::credentials::AppPasswordName;
use crate::protocol::{Username, WrongProtocol};

/// Why a session ended. `Display` is the word for the log.
#[derive(Debug)]
pub enum End {
    /// The client sent QUIT.
    Quit,
    /// The client sent STLS, and no octet after it: shake hands and run a new session.
    StartTls,
    /// The client closed the connection, or is gone.
    PeerClosed,
    /// No command for too long after login.
    IdleTimeout,
    /// It was idle, and the user has logged in again.
    Yielded,
    /// No login for too long.
    LoginTimeout,
    /// The client took no octet of what it was sent for too long.
    WriteTimeout,
    /// Too many bad commands in a row.
    TooManyFaults,
    /// Too many commands before login.
    TooManyCommands,
    /// Too many failed logins.
    TooManyFailedLogins,
    /// A message could not be read to its end.
    BodyFailed(io::Error),
    /// Plaintext came after STLS.
    PlaintextAfterStls,
    /// The peer speaks another protocol.
    WrongProtocol(WrongProtocol),
    /// It had not logged in, and its place was needed for another connection.
    Evicted,
    /// The operator has ended it.
    Kicked,
    /// No user can log in, because no credential store answers.
    StoresDown,
    /// The server stops.
    Shutdown,
    /// The stream failed in an unusual way.
    Broken(io::Error),
}

impl End {
    /// Whether the client can no longer be sent a reply.
    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            Self::PeerClosed
            | Self::WriteTimeout
            | Self::PlaintextAfterStls
            | Self::WrongProtocol(_)
            | Self::Broken(_) => true,
            Self::Quit
            | Self::StartTls
            | Self::IdleTimeout
            | Self::Yielded
            | Self::LoginTimeout
            | Self::TooManyFaults
            | Self::TooManyCommands
            | Self::TooManyFailedLogins
            | Self::BodyFailed(_)
            | Self::Evicted
            | Self::Kicked
            | Self::StoresDown
            | Self::Shutdown => false,
        }
    }
}

impl End {
    /// The word for it in the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::StartTls => "starttls",
            Self::PeerClosed => "peer-closed",
            Self::IdleTimeout => "idle-timeout",
            Self::Yielded => "yielded",
            Self::LoginTimeout => "login-timeout",
            Self::WriteTimeout => "write-timeout",
            Self::TooManyFaults => "too-many-faults",
            Self::TooManyCommands => "too-many-commands",
            Self::TooManyFailedLogins => "too-many-failed-logins",
            Self::BodyFailed(_) => "body-failed",
            Self::PlaintextAfterStls => "plaintext-after-stls",
            Self::WrongProtocol(WrongProtocol::Tls) => "tls-on-plain-port",
            Self::WrongProtocol(WrongProtocol::Proxy) => "proxy-protocol",
            Self::WrongProtocol(_) => "wrong-protocol",
            Self::Evicted => "evicted",
            Self::Kicked => "kicked",
            Self::StoresDown => "stores-down",
            Self::Shutdown => "shutdown",
            Self::Broken(_) => "broken",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a session did, for its last line in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The user who was logged in.
    pub user: Option<Username>,
    /// The app password that the user has logged in with, if it was one.
    pub app_password: Option<AppPasswordName>,
    /// Messages sent completely.
    pub retrieved: u64,
    /// Messages removed.
    pub removed: u64,
    /// Messages left.
    pub left: u64,
    /// Octets of messages sent.
    pub octets: u64,
}
