//! How a login was decided, and why a user was not let in: as the operator may know it
//! ([`Reason`]), and as the client may ([`Refusal`]).

use std::fmt;

use super::Identity;
use crate::protocol::{ClaimedName, NameError};

/// How a login was decided: for the log and for `restante user test`.
#[derive(Debug)]
pub struct Verdict {
    /// Which of the stores decided, counted from 0; `None` when no store knows the user.
    pub store: Option<usize>,
    /// Who it is, or why not.
    pub outcome: Result<Identity, Reason>,
}

/// Why a user was not let in, as the operator may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A name that no user can have.
    ImpossibleName(NameError),
    /// No store knows the user.
    UnknownUser,
    /// A store refused, and cannot say whether it knows the user.
    UnknownOrWrong,
    /// The user has another password.
    WrongPassword,
    /// The password is right, and the user may not use POP3.
    NotAllowed,
    /// The password is right, and the user may not log in from this address.
    NotFromThere,
    /// Too many logins to the account have failed; the password was not looked at.
    Throttled,
    /// Too many passwords were waiting to be verified.
    Overloaded,
    /// The password cannot be checked now, and why.
    Unavailable(String),
}

/// Why a user was not let in, as far as the client may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such user, another password, a name that no user can have (say `../mrose`), or an address
    /// that the user may not log in from.
    ///
    /// These are one on purpose: they cost the same and must look the same to the client.
    BadCredentials,
    /// To the client the same as [`Self::BadCredentials`]: a wrong password that has been tried from
    /// there before, by a device with an old one, say.
    RepeatedPassword,
    /// The password is right, and the user may not use POP3.
    NotAllowed,
    /// The token is not good, or is another user's.
    BadToken,
    /// The certificate is of no user here, or of another one.
    BadCertificate,
    /// Too many logins of this user or from this address have failed. Says nothing about this one.
    Throttled,
    /// Too many passwords were waiting to be verified. Says nothing about this one.
    Overloaded,
    /// The password cannot be checked now, and why: for the log. The client learns only that it
    /// may try again later.
    Unavailable(String),
}

impl Verdict {
    pub(super) fn of(nth: usize, outcome: Result<Identity, Reason>) -> Self {
        Self { store: Some(nth), outcome }
    }

    /// The store with this number has found the password right.
    pub(super) fn barred(nth: usize) -> Self {
        Self::of(nth, Err(Reason::NotFromThere))
    }

    pub(super) fn undecided(reason: Reason) -> Self {
        Self { store: None, outcome: Err(reason) }
    }
}

impl Refusal {
    /// Whether the same login may succeed later, without any change by the user.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Throttled | Self::Overloaded | Self::Unavailable(_))
    }

    /// What the client may know; the name is for the line in the log.
    pub(super) fn of(name: &ClaimedName, reason: Reason) -> Self {
        match reason {
            Reason::ImpossibleName(_)
            | Reason::UnknownUser
            | Reason::UnknownOrWrong
            | Reason::WrongPassword
            | Reason::NotFromThere => Self::BadCredentials,
            Reason::NotAllowed => Self::NotAllowed,
            Reason::Throttled => Self::Throttled,
            Reason::Overloaded => Self::Overloaded,
            Reason::Unavailable(why) => Self::Unavailable(format!("{name}: {why}")),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ImpossibleName(fault) => write!(f, "no user can have this name, it {fault}"),
            Self::UnknownUser => f.write_str("unknown user"),
            Self::UnknownOrWrong => {
                f.write_str("unknown user or wrong password, the store does not say which")
            }
            Self::WrongPassword => f.write_str("wrong password"),
            Self::NotAllowed => f.write_str("the user may not use POP3"),
            Self::NotFromThere => {
                f.write_str("the password is right, and the user may not log in from this address")
            }
            Self::Throttled => f.write_str("too many logins to the account have failed"),
            Self::Overloaded => f.write_str("too many logins at once"),
            Self::Unavailable(why) => write!(f, "passwords cannot be checked now: {why}"),
        }
    }
}

impl std::error::Error for Reason {}
