//! Everything that a client is told with `-ERR`, in one place.

use std::time::SystemTime;

use super::language::Language;
use crate::auth::{Entry, Refusal};
use crate::mailbox::{Failure, MessageError, OpenError, RemovalError};
use crate::protocol::sasl::ResponseFault;
use crate::protocol::{CommandFault, LineFault, MessageNumber, Reply, ResponseCode, Takes};

/// Why a command was not carried out. The session goes on, unless the client has had enough.
#[derive(Debug)]
pub(super) enum Fault {
    /// No such command.
    UnknownCommand,
    /// The arguments are not what the command of this keyword takes.
    Arguments(&'static str, Takes),
    /// A line beyond its limit.
    LineTooLong,
    /// A NUL or a bare CR in a line.
    ForbiddenOctet,
    /// The last of the bad commands that are put up with.
    TooManyBadCommands,
    /// More commands before login than anybody needs.
    TooManyCommands,
    /// The place of a connection that has not logged in is needed.
    Evicted,
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
    /// A password was about to be sent in the clear.
    CleartextRefused,
    /// USER or PASS where no store takes passwords.
    NoPasswords,
    /// AUTH with a mechanism that is not known.
    UnknownMechanism,
    /// The client gave the exchange up.
    Cancelled,
    /// A response that is not base64.
    NotBase64,
    /// A response that does not follow its mechanism.
    MalformedResponse,
    /// The client wants to act for another user.
    ForAnother,
    /// Somebody has told the client that there is no channel binding.
    Downgraded,
    /// The client is bound to another channel, or to none.
    Unbound,
    /// Unknown user or wrong password: nobody is told which.
    BadCredentials,
    /// The same, with a password that has been wrong before.
    RepeatedPassword,
    /// The password is right, and the user may not use POP3.
    NotAllowed,
    /// The token is not good.
    BadToken,
    /// The certificate is of no user, or of another one.
    BadCertificate,
    /// Too many log-ins of this user, or from this address, have failed.
    Throttled,
    /// Too many passwords wait to be verified.
    Overloaded,
    /// The log-in was not done by its deadline: a store or a file system does not answer.
    TooSlow,
    /// A credential store cannot answer.
    CredentialsUnavailable(String),
    /// The user has too many sessions.
    TooManySessions(u32),
    /// Another session has the maildrop.
    InUse(Option<SystemTime>),
    /// The maildrop cannot be read whole.
    MaildropUnavailable(Failure),
    /// LANG with a language that there is not.
    NoSuchLanguage,
    /// A number without a message.
    NoSuchMessage,
    /// A message that is marked as deleted.
    Deleted,
    /// A message that somebody else has removed.
    Gone(MessageNumber),
    /// A message that cannot be opened.
    Unreadable(MessageNumber, Failure),
    /// Some messages are still there after QUIT.
    NotRemoved {
        /// How many of them.
        remaining: u32,
        /// How many were marked.
        marked: u32,
        /// What went wrong first, if it is known.
        cause: Option<Failure>,
    },
}

/// What a fault says about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    /// Nothing.
    None,
    /// It does not speak POP3 well.
    BadCommand,
    /// It did not get in, for whatever reason.
    FailedLogin,
}

impl Fault {
    /// The one reply that the client gets.
    pub(super) fn reply(&self, language: Language) -> Reply {
        Reply::Err(self.code(), language.explain(self))
    }

    /// Whether the client is to be counted a strike.
    pub(super) fn strike(&self) -> Strike {
        match self {
            Self::UnknownCommand
            | Self::Arguments(..)
            | Self::LineTooLong
            | Self::ForbiddenOctet
            | Self::TooManyBadCommands
            | Self::LogInFirst
            | Self::AlreadyLoggedIn
            | Self::UserFirst
            | Self::TlsActive
            | Self::NoTls
            | Self::CleartextRefused
            | Self::NoPasswords
            | Self::UnknownMechanism
            | Self::Cancelled
            | Self::NotBase64
            | Self::MalformedResponse => Strike::BadCommand,
            Self::ForAnother
            | Self::Downgraded
            | Self::Unbound
            | Self::BadCredentials
            | Self::RepeatedPassword
            | Self::NotAllowed
            | Self::BadToken
            | Self::BadCertificate
            | Self::Throttled
            | Self::Overloaded
            | Self::TooSlow
            | Self::CredentialsUnavailable(_)
            | Self::TooManySessions(_)
            | Self::InUse(_)
            | Self::MaildropUnavailable(_) => Strike::FailedLogin,
            Self::TooManyCommands
            | Self::Evicted
            | Self::NoSuchLanguage
            | Self::NoSuchMessage
            | Self::Deleted
            | Self::Gone(_)
            | Self::Unreadable(..)
            | Self::NotRemoved { .. } => Strike::None,
        }
    }

    /// Which lines of the log a failed login counts among; none when the client had the right
    /// password, of which the log tells in any case.
    pub(super) fn entry(&self) -> Option<Entry> {
        let had_right_password = matches!(
            self,
            Self::NotAllowed
                | Self::TooManySessions(_)
                | Self::InUse(_)
                | Self::MaildropUnavailable(_)
        );
        // What config/fail2ban looks for.
        let is_guess = matches!(self, Self::BadCredentials);
        let entry = if is_guess { Entry::WrongPassword } else { Entry::Refusal };
        (!had_right_password).then_some(entry)
    }

    /// The same of the line that [`log`](Self::log) writes, where strangers can make it write one.
    pub(super) fn told_of_strangers(&self) -> Option<Entry> {
        let is_strangers = matches!(
            self,
            Self::CleartextRefused
                | Self::Downgraded
                | Self::Unbound
                | Self::Throttled
                | Self::Overloaded
                | Self::TooSlow
                | Self::CredentialsUnavailable(_)
        );
        is_strangers.then_some(Entry::Refusal)
    }

    /// Tells the operator what the client is not told.
    pub(super) fn log(&self) {
        match self {
            Self::MaildropUnavailable(failure) => {
                tracing::error!(%failure, "the maildrop cannot be opened");
            }
            Self::Unreadable(number, failure) => {
                tracing::error!(%number, %failure, "a message cannot be read");
            }
            Self::NotRemoved { remaining, marked, cause } => {
                let cause = cause
                    .as_ref()
                    .map_or_else(|| "the removal was cut short".to_owned(), ToString::to_string);
                tracing::error!(remaining, marked, %cause, "messages were not removed");
            }
            Self::CredentialsUnavailable(why) => tracing::error!(why, "a password was not checked"),
            Self::Downgraded => {
                tracing::warn!("a client did not see the -PLUS mechanisms that are offered");
            }
            Self::Unbound => tracing::warn!("a client is not bound to this TLS connection"),
            Self::Overloaded => tracing::warn!("too many passwords wait to be verified"),
            Self::TooSlow => tracing::error!("a log-in was not done before its deadline"),
            Self::TooManySessions(limit) => tracing::info!(limit, "too many sessions of this user"),
            Self::InUse(_) => tracing::info!("the maildrop is in use"),
            Self::CleartextRefused => tracing::info!("a log-in without TLS was refused"),
            Self::Gone(number) => tracing::info!(%number, "a message is gone"),
            Self::NotAllowed => tracing::info!("the user may not use POP3"),
            Self::Throttled => {
                tracing::info!("too many log-ins have failed, this one was not heard")
            }
            Self::ForAnother
            | Self::BadCredentials
            | Self::RepeatedPassword
            | Self::BadToken
            | Self::BadCertificate
            | Self::UnknownCommand
            | Self::Arguments(..)
            | Self::LineTooLong
            | Self::ForbiddenOctet
            | Self::TooManyBadCommands
            | Self::TooManyCommands
            | Self::Evicted
            | Self::LogInFirst
            | Self::AlreadyLoggedIn
            | Self::UserFirst
            | Self::TlsActive
            | Self::NoTls
            | Self::NoPasswords
            | Self::UnknownMechanism
            | Self::Cancelled
            | Self::NotBase64
            | Self::MalformedResponse
            | Self::NoSuchLanguage
            | Self::NoSuchMessage
            | Self::Deleted => tracing::debug!(fault = ?self, "a command was refused"),
        }
    }

    /// What the reply says to software.
    fn code(&self) -> Option<ResponseCode> {
        match self {
            // RFC 3206 §5 [AUTH]: the user has to change something, and be it the settings.
            Self::CleartextRefused
            | Self::NoPasswords
            | Self::ForAnother
            | Self::BadCredentials
            | Self::RepeatedPassword
            | Self::NotAllowed
            | Self::BadToken
            | Self::BadCertificate => Some(ResponseCode::Auth),
            Self::Throttled
            | Self::Overloaded
            | Self::TooSlow
            | Self::CredentialsUnavailable(_)
            | Self::Evicted
            | Self::MaildropUnavailable(_)
            | Self::Gone(_)
            | Self::Unreadable(..)
            | Self::NotRemoved { .. } => Some(ResponseCode::SysTemp),
            Self::TooManySessions(_) | Self::InUse(_) => Some(ResponseCode::InUse),
            Self::UnknownCommand
            | Self::Arguments(..)
            | Self::LineTooLong
            | Self::ForbiddenOctet
            | Self::TooManyBadCommands
            | Self::TooManyCommands
            | Self::LogInFirst
            | Self::AlreadyLoggedIn
            | Self::UserFirst
            | Self::TlsActive
            | Self::NoTls
            | Self::UnknownMechanism
            | Self::Cancelled
            | Self::NotBase64
            | Self::MalformedResponse
            | Self::Downgraded
            | Self::Unbound
            | Self::NoSuchLanguage
            | Self::NoSuchMessage
            | Self::Deleted => None,
        }
    }
}

impl From<CommandFault> for Fault {
    fn from(fault: CommandFault) -> Self {
        match fault {
            CommandFault::Unknown => Self::UnknownCommand,
            CommandFault::Arguments(keyword, takes) => Self::Arguments(keyword, takes),
            CommandFault::NoSuchMessage => Self::NoSuchMessage,
            CommandFault::UnknownMechanism => Self::UnknownMechanism,
        }
    }
}

impl From<LineFault> for Fault {
    fn from(fault: LineFault) -> Self {
        match fault {
            LineFault::TooLong => Self::LineTooLong,
            LineFault::ForbiddenOctet => Self::ForbiddenOctet,
        }
    }
}

impl From<ResponseFault> for Fault {
    fn from(fault: ResponseFault) -> Self {
        match fault {
            ResponseFault::Malformed => Self::MalformedResponse,
            ResponseFault::ForAnother => Self::ForAnother,
            ResponseFault::Downgraded => Self::Downgraded,
            ResponseFault::Unbound => Self::Unbound,
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BadCredentials => Self::BadCredentials,
            Refusal::RepeatedPassword => Self::RepeatedPassword,
            Refusal::NotAllowed => Self::NotAllowed,
            Refusal::BadToken => Self::BadToken,
            Refusal::BadCertificate => Self::BadCertificate,
            Refusal::Throttled => Self::Throttled,
            Refusal::Overloaded => Self::Overloaded,
            Refusal::Unavailable(why) => Self::CredentialsUnavailable(why),
        }
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse { since } => Self::InUse(since),
            OpenError::Unavailable(failure) => Self::MaildropUnavailable(failure),
        }
    }
}

impl Fault {
    /// A message that was not opened.
    pub(super) fn message(number: MessageNumber, error: MessageError) -> Self {
        match error {
            MessageError::Gone => Self::Gone(number),
            MessageError::Unreadable(failure) => Self::Unreadable(number, failure),
        }
    }

    /// A removal that was not complete.
    pub(super) fn removal(marked: u32, error: RemovalError) -> Self {
        Self::NotRemoved { remaining: error.remaining, marked, cause: Some(error.cause) }
    }
}
