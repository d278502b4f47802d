//! The errors of password fields and of verifications.

use std::collections::TryReserveError;
use std::sync::Arc;

use thiserror::Error;

use super::argon2::Argon2Error;
use super::bounds::ParameterError;
use super::digest::DigestError;
use super::scram::KeysError;
use super::unsupported::UnsupportedScheme;

/// Why a user who exists cannot log in. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}{advice}", advice = .0.advice())]
pub struct Unusable(Arc<FieldError>);

/// Why a password field cannot be used. Shows nothing of a password, a salt or a digest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldError {
    /// The field is empty.
    #[error("it has no password")]
    Missing,
    /// The field is `NULL` in a database.
    #[error("its password is NULL")]
    Null,
    /// There is a scheme, but no password.
    #[error("its password is empty")]
    Empty,
    /// There is no scheme, and the text is not a known kind of hash either.
    #[error("its password has no scheme before it, as {{PLAIN}} would be")]
    NoScheme,
    /// The scheme is weak, and `weak-schemes` is not true.
    #[error("the scheme {0} is weak and weak-schemes is not true")]
    Weak(&'static str),
    /// The scheme is not supported.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedScheme),
    /// The text should be in hex.
    #[error("its password is not in hex")]
    NotHex,
    /// The text should be in base64.
    #[error("its password is not in base64")]
    NotBase64,
    /// A hash that is text has octets that are not UTF-8.
    #[error("its hash is damaged: it is not text")]
    NotText,
    /// The text does not have the form of a hash.
    #[error("its hash is damaged")]
    NotAHash,
    /// The identifier of the hash, `$id$`, is not known.
    #[error("its hash is of no known kind")]
    UnknownKind,
    /// The scheme has several kinds of hashes, and this is none of them.
    #[error("its {0} hash is of no known kind")]
    UnknownKindOf(&'static str),
    /// The hash does not have the form that this scheme has.
    #[error("its {0} hash is damaged")]
    Damaged(&'static str),
    /// The parameters of a hash are out of bounds or cannot be used.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// An argon2 hash cannot be used.
    #[error(transparent)]
    Argon2(#[from] Argon2Error),
    /// A single digest does not have the right length.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The keys of SCRAM cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// Why a password cannot be verified.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum VerifyError {
    #[error("only the store itself can check this password")]
    AtStore,
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error("no memory to verify a password with: {0}")]
    NoMemory(#[from] TryReserveError),
    #[error("argon2: {0}")]
    Argon2(#[from] ::argon2::Error),
    #[error("scrypt: {0}")]
    Scrypt(#[from] ::scrypt::errors::InvalidOutputLen),
    #[error("yescrypt: {0}")]
    Yescrypt(#[from] ::yescrypt::Error),
}

impl FieldError {
    /// What an administrator can do about it. In a database, NULL is how a user is locked out.
    fn advice(&self) -> &'static str {
        if *self == Self::Null {
            ""
        } else {
            "; set a new password (restante user set-password, or restante hash)"
        }
    }
}

impl From<FieldError> for Unusable {
    fn from(error: FieldError) -> Self {
        Self(Arc::new(error))
    }
}
