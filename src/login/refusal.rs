//! The outcome of a login. [`Reason`] says to the operator why it failed, [`Refusal`] to the client.

use super::Identity;
use crate::protocol::{ClaimedName, NameError};

/// The outcome of a login and the store that decided: for the log and for `restante user test`.
#[derive(Debug)]
pub struct Verdict {
    /// The number of the store that decided, from 0; `None` when no store knows the user.
    pub store: Option<usize>,
    /// The identity of the user, or why the login failed.
    pub outcome: Result<Identity, Reason>,
}

/// Why a login failed, as the operator may know it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A name that no user can have.
    #[error("no user can have this name, it {0}")]
    ImpossibleName(NameError),
    /// No store knows the user.
    #[error("unknown user")]
    UnknownUser,
    /// A store refused, and cannot say whether it knows the user.
    #[error("unknown user or wrong password, the store does not say which")]
    UnknownOrWrong,
    /// The user has another password.
    #[error("wrong password")]
    WrongPassword,
    /// The password is right, and the user may not use POP3.
    #[error("the user may not use POP3")]
    NotAllowed,
    /// The password is right, and the user may not log in from this address.
    #[error("the password is right, and the user may not log in from this address")]
    NotFromThere,
    /// Too many logins to the account have failed. The password was not checked.
    #[error("too many logins to the account have failed")]
    Throttled,
    /// Too many passwords were waiting to be verified.
    #[error("too many logins at once")]
    Overloaded,
    /// The password cannot be checked now, for this reason.
    #[error("passwords cannot be checked now: {0}")]
    Unavailable(String),
}

/// Why a login failed, as far as the client may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such user, another password, a name that no user can have (say `../mrose`), or an address
    /// that the user may not log in from.
    ///
    /// They cost the same and must look the same to the client.
    BadCredentials,
    /// A wrong password that has been tried from there before, by a device with an old one, say. To
    /// the client the same as [`Self::BadCredentials`].
    RepeatedPassword,
    /// The password is right, and the user may not use POP3.
    NotAllowed,
    /// The token is not good, or belongs to another user.
    BadToken,
    /// The certificate belongs to no user here, or to another one.
    BadCertificate,
    /// Too many logins of this user or from this address have failed. This one was not checked.
    Throttled,
    /// Too many passwords were waiting to be verified. This one was not.
    Overloaded,
    /// The password cannot be checked now. The reason is for the log; the client learns only that it
    /// may try again later.
    Unavailable(String),
}

impl Verdict {
    pub(super) fn of(nth: usize, outcome: Result<Identity, Reason>) -> Self {
        Self { store: Some(nth), outcome }
    }

    /// The store with this number has found the password right, and the user may not log in from this
    /// address.
    pub(super) fn barred(nth: usize) -> Self {
        Self::of(nth, Err(Reason::NotFromThere))
    }

    pub(super) fn undecided(reason: Reason) -> Self {
        Self { store: None, outcome: Err(reason) }
    }
}

impl Reason {
    #[expect(clippy::needless_pass_by_value, reason = "so it is an argument of map_err")]
    pub(super) fn unavailable(why: impl ToString) -> Self {
        Self::Unavailable(why.to_string())
    }
}

impl Refusal {
    /// The word for it in the metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::BadCredentials => "wrong-password",
            Self::RepeatedPassword => "repeated-password",
            Self::NotAllowed => "not-allowed",
            Self::BadToken => "bad-token",
            Self::BadCertificate => "bad-certificate",
            Self::Throttled => "throttled",
            Self::Overloaded => "overloaded",
            Self::Unavailable(_) => "store-down",
        }
    }

    /// Whether the same login may succeed later, without any change by the user.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Throttled | Self::Overloaded | Self::Unavailable(_))
    }

    /// The part of a reason that the client may know. The name is for the log.
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
