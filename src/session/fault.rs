//! Faults: every reason for an `-ERR`, with its response code, its strike and its log line.

use crate::limits::Entry;
use crate::login::Refusal;
use crate::mailbox::{Failure, MessageError, OpenError};
use crate::protocol::sasl::ResponseError;
use crate::protocol::{CommandError, LineError, MessageNumber, ResponseCode};

/// Why a command was not carried out. The session goes on, unless the client has reached a limit.
///
/// A new fault needs a variant, its place in [`class`](Self::class), and a text in each language.
/// A new [`Refusal`] needs the texts. By default it is `[AUTH]` and logged at the level `debug`; see
/// [`Refusal::is_temporary`] and [`log`](Self::log).
#[derive(Debug)]
pub(super) enum Fault {
    /// The line is too long, or has octets that are not allowed.
    Line(LineError),
    /// The line is no command.
    Command(CommandError),
    /// The response in a SASL exchange is not acceptable.
    Response(ResponseError),
    /// The login was refused.
    Refused(Refusal),
    /// The maildrop cannot be opened.
    Maildrop(OpenError),
    /// This message cannot be opened.
    Message(MessageNumber, MessageError),
    /// The last of the bad commands that the limit allows.
    TooManyBadCommands,
    /// More commands before login than any client needs.
    TooManyCommands,
    /// The server needs this connection, which has not logged in, for another client.
    Evicted,
    /// The operator has ended the session.
    Kicked,
    /// A command of the TRANSACTION state, before login.
    LogInFirst,
    /// A command of the AUTHORIZATION state, after login.
    AlreadyLoggedIn,
    /// PASS without USER.
    UserFirst,
    /// STLS inside TLS.
    TlsActive,
    /// STLS where there is no certificate.
    NoTls,
    /// A password was about to be sent without TLS.
    CleartextRefused,
    /// USER or PASS where no store takes passwords.
    NoPasswords,
    /// The client cancelled the exchange.
    Cancelled,
    /// The login missed its deadline: a store or a file system does not answer.
    TooSlow,
    /// The user has too many sessions.
    TooManySessions(u32),
    /// LANG with a language that is not available.
    NoSuchLanguage,
    /// The message is marked as deleted.
    Deleted,
    /// Some messages remain after QUIT.
    NotRemoved {
        /// How many of them.
        remaining: u32,
        /// How many were marked.
        marked: u32,
        /// The first error, if it is known.
        cause: Option<Failure>,
    },
}

/// How a fault counts against the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// It does not count.
    None,
    /// As a bad command.
    BadCommand,
    /// As a failed login, whatever the reason.
    FailedLogin,
}

impl Fault {
    /// The response code of the reply.
    pub(super) fn response_code(&self) -> Option<ResponseCode> {
        self.class().1
    }

    /// How it counts against the client.
    pub(super) fn strike(&self) -> Strike {
        self.class().0
    }

    /// How it counts against the client, and the response code of the reply.
    fn class(&self) -> (Strike, Option<ResponseCode>) {
        use ResponseCode::{Auth, InUse, SysTemp};
        use Strike::{BadCommand, FailedLogin};
        match self {
            Self::Command(CommandError::NoSuchMessage)
            | Self::TooManyCommands
            | Self::NoSuchLanguage
            | Self::Deleted => (Strike::None, None),
            Self::Evicted | Self::Kicked | Self::Message(..) | Self::NotRemoved { .. } => {
                (Strike::None, Some(SysTemp))
            }
            Self::Line(_)
            | Self::Command(_)
            | Self::Response(ResponseError::NotBase64 | ResponseError::Malformed)
            | Self::TooManyBadCommands
            | Self::LogInFirst
            | Self::AlreadyLoggedIn
            | Self::UserFirst
            | Self::TlsActive
            | Self::NoTls
            | Self::Cancelled => (BadCommand, None),
            // RFC 3206 §5 [AUTH]: the user must change something, possibly the settings.
            Self::CleartextRefused | Self::NoPasswords => (BadCommand, Some(Auth)),
            Self::Response(ResponseError::Downgraded | ResponseError::Unbound) => {
                (FailedLogin, None)
            }
            Self::Refused(refusal) if refusal.is_temporary() => (FailedLogin, Some(SysTemp)),
            Self::Response(ResponseError::ForAnother) | Self::Refused(_) => {
                (FailedLogin, Some(Auth))
            }
            Self::TooSlow | Self::Maildrop(OpenError::Unavailable(_) | OpenError::Guarded(_)) => {
                (FailedLogin, Some(SysTemp))
            }
            Self::TooManySessions(_) | Self::Maildrop(OpenError::InUse { .. }) => {
                (FailedLogin, Some(InUse))
            }
        }
    }

    /// The log budget for the line about a failed login. `None`: the line is always written, because
    /// the client had the right password.
    pub(super) fn entry(&self) -> Option<Entry> {
        let had_right_password = matches!(
            self,
            Self::Refused(Refusal::NotAllowed) | Self::TooManySessions(_) | Self::Maildrop(_)
        );
        // What config/fail2ban looks for.
        let is_guess = matches!(self, Self::Refused(Refusal::BadCredentials));
        let entry = if is_guess { Entry::WrongPassword } else { Entry::Refusal };
        (!had_right_password).then_some(entry)
    }

    /// The outcome of a failed login, for the counters.
    pub(super) fn login_outcome(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.word(),
            Self::Maildrop(OpenError::Unavailable(_)) => "maildrop-unavailable",
            Self::Maildrop(OpenError::Guarded(_)) => "guarded",
            Self::Maildrop(OpenError::InUse { .. }) => "in-use",
            Self::TooManySessions(_) => "too-many-sessions",
            Self::TooSlow => "too-slow",
            Self::Line(_)
            | Self::Command(_)
            | Self::Response(_)
            | Self::Message(..)
            | Self::TooManyBadCommands
            | Self::TooManyCommands
            | Self::Evicted
            | Self::Kicked
            | Self::LogInFirst
            | Self::AlreadyLoggedIn
            | Self::UserFirst
            | Self::TlsActive
            | Self::NoTls
            | Self::CleartextRefused
            | Self::NoPasswords
            | Self::Cancelled
            | Self::NoSuchLanguage
            | Self::Deleted
            | Self::NotRemoved { .. } => "other",
        }
    }

    /// The log budget for the line of [`log`](Self::log). `None`: before login, no client without the
    /// right password can cause the line, or it is at the level `debug`.
    pub(super) fn log_entry(&self) -> Option<Entry> {
        let is_bounded = matches!(
            self,
            Self::CleartextRefused
                | Self::Response(ResponseError::Downgraded | ResponseError::Unbound)
                | Self::TooSlow
        );
        let is_temporary = matches!(self, Self::Refused(refusal) if refusal.is_temporary());
        (is_bounded || is_temporary).then_some(Entry::Refusal)
    }

    /// Logs the details that the reply omits.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the operator need not know of the others")]
    pub(super) fn log(&self) {
        match self {
            Self::Maildrop(OpenError::Unavailable(failure)) => {
                tracing::error!(%failure, "the maildrop cannot be opened");
            }
            Self::Maildrop(OpenError::Guarded(failure)) => {
                tracing::error!(%failure, "the guard has refused a login");
            }
            Self::Maildrop(OpenError::InUse { .. }) => tracing::info!("the maildrop is in use"),
            Self::Message(number, MessageError::Unreadable(failure)) => {
                tracing::error!(%number, %failure, "a message cannot be read");
            }
            Self::Message(number, MessageError::Gone) => {
                tracing::info!(%number, "a message is gone");
            }
            Self::NotRemoved { remaining, marked, cause } => {
                let cause = cause
                    .as_ref()
                    .map_or_else(|| "the removal was cut short".to_owned(), ToString::to_string);
                tracing::error!(remaining, marked, %cause, "messages were not removed");
            }
            Self::Refused(Refusal::Unavailable(why)) => {
                tracing::error!(why, "a password was not checked");
            }
            Self::Refused(Refusal::Overloaded) => {
                tracing::warn!("too many passwords wait to be verified");
            }
            Self::Refused(Refusal::Throttled) => {
                tracing::info!("too many logins have failed: the password was not checked");
            }
            Self::Refused(Refusal::NotAllowed) => tracing::info!("the user may not use POP3"),
            Self::Response(ResponseError::Downgraded) => {
                tracing::warn!("a client did not see the -PLUS mechanisms that are offered");
            }
            Self::Response(ResponseError::Unbound) => {
                tracing::warn!("a client is not bound to this TLS connection");
            }
            Self::TooSlow => tracing::error!("a login missed its deadline"),
            Self::TooManySessions(limit) => tracing::info!(limit, "too many sessions of this user"),
            Self::CleartextRefused => tracing::info!("a login without TLS was refused"),
            _ => tracing::debug!(fault = ?self, "a command was refused"),
        }
    }
}
