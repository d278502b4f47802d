//! The errors of password fields and of verifications.

use std::collections::TryReserveError;
use std::sync::Arc;

use ::argon2::password_hash::phc;
use thiserror::Error;

use super::bounds::ParameterError;
use super::digest::DigestHash;
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
    /// The field begins with `!` or `*`, as that of a locked user does in `shadow(5)`.
    #[error("its password is locked")]
    Locked,
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
    /// An argon2 hash is not a PHC string.
    #[error("its argon2 hash is damaged ({0})")]
    DamagedArgon2(#[from] phc::Error),
    /// The version of argon2 is unknown.
    #[error("its hash is of an unknown argon2 version, v={0}")]
    Argon2Version(u32),
    /// The salt or the digest of an argon2 hash is missing.
    #[error("its argon2 hash has no salt or no digest")]
    Argon2Incomplete,
    /// Nothing follows a digest that should have a salt.
    #[error("its hash has no salt")]
    NoSalt,
    /// The salt of a digest is too long.
    #[error("its hash has a salt of more than {} octets", DigestHash::MAX_SALT)]
    LongSalt,
    /// There are fewer octets than a digest with a salt has.
    #[error("its hash is damaged: it is too short")]
    ShortDigest,
    /// There are more or fewer octets than a digest without a salt has.
    #[error("its hash is damaged: it has another length than such a digest")]
    DigestLength,
    /// The text does not have the form of the keys of SCRAM.
    #[error("its SCRAM keys are damaged")]
    DamagedKeys,
    /// Only the iterations of SCRAM are there: `PostgreSQL`'s form has a colon behind them, which
    /// ends a field of a credential file.
    #[error("its SCRAM keys end at a colon; write a comma in place of : and $")]
    KeysEndAtColon,
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
        } else if *self == Self::Locked {
            "; to unlock it, remove the ! or * before it, or set a new password"
        } else {
            "; set a new password (restante user set-password, or restante hash)"
        }
    }
}

impl Unusable {
    /// Whether the operator has locked the password.
    pub(super) fn is_locked(&self) -> bool {
        matches!(*self.0, FieldError::Locked | FieldError::Null)
    }
}

impl From<FieldError> for Unusable {
    fn from(error: FieldError) -> Self {
        Self(Arc::new(error))
    }
}
