//! Password fields and their verification: `{SCHEME}text`, as Dovecot writes it, or `$id$…`, as
//! crypt(3) does.
//!
//! - Here: the [`Verifier`], which is read from a field.
//! - `family`: a hash of any scheme. Each family of schemes has a file, with its syntax, its bounds
//!   and its verification.
//! - `cost`: how much work a verification is. `bounds`: how much it may be.
//! - `new`: the hashes of new passwords, with a `salt`. `generated`: passwords that we make.
//!   `unsupported`: all other schemes.
//!
//! A field that asks for more than about two seconds of a processor, or for more than 256 MiB, is
//! refused when it is read, before anything is allocated or computed.

mod argon2;
mod bcrypt;
mod bounds;
mod compare;
mod cost;
mod crypt;
mod digest;
mod encoding;
mod error;
mod family;
mod generated;
mod md5_crypt;
mod new;
mod new_password;
mod pbkdf2;
mod salt;
mod scram;
mod scrypt;
mod sha_crypt;
mod unsupported;
mod yescrypt;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use self::argon2::Argon2Hash;
pub(crate) use self::compare::{SUBSTITUTE, compare, is_acceptable};
pub use self::cost::Cost;
pub use self::digest::Digest;
use self::digest::DigestHash;
use self::encoding::{Encoding, Field};
pub(crate) use self::error::VerifyError;
pub use self::error::{FieldError, Unusable};
use self::family::Hash;
pub(crate) use self::generated::MOST_OCTETS as MOST_RANDOM_OCTETS;
pub use self::generated::{GivenPasswordError, accept_given, generate};
pub use self::new::NewScheme;
pub use self::new_password::{NewPassword, PasswordError};
use self::pbkdf2::Pbkdf2Hash;
pub use self::salt::HashError;
use self::scram::StoredKeys;
use self::unsupported::UnsupportedScheme;
use crate::protocol::Secret;
use crate::protocol::sasl::{ScramHash, ScramKeys};

/// The longest password that is accepted, in octets.
pub const MAX_PASSWORD_OCTETS: usize = 4096;

/// A hash or another value that a password is verified with. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// `{PLAIN}`: the password itself.
    Plain(Arc<Secret<Box<[u8]>>>),
    /// A hash, with the first 64 bits of the SHA-256 of the text that it was read from.
    Hash(Arc<Hash>, u64),
    /// `{SCRAM-SHA-256}`, `{SCRAM-SHA-1}`: the keys of SCRAM.
    Scram(Arc<StoredKeys>),
    /// Only the store can verify the password. The text is the store's name for the user, such as
    /// the DN in a directory.
    AtStore(Arc<str>),
    /// The user exists and cannot log in.
    Unusable(Unusable),
}

/// Whether hashes that can be cracked quickly are accepted: MD5, and those without a salt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeakSchemes {
    /// The user cannot log in; the log says why.
    #[default]
    Refused,
    /// They are used like any other.
    Allowed,
}

impl Verifier {
    /// Reads a password field.
    ///
    /// - `{SCHEME}text`, in which the scheme may be in either case and may end in `.HEX`, `.B64` or
    ///   `.BASE64`, which say how the text is encoded.
    /// - Without a scheme: a crypt(3) hash or a PHC string, which begin with `$`, or the keys that
    ///   `PostgreSQL` writes, `SCRAM-SHA-256$…`.
    /// - Never fails: a field that cannot be used becomes [`Verifier::Unusable`], which says why.
    pub fn parse(stored: &str, weak: WeakSchemes) -> Self {
        Self::read(stored, weak).unwrap_or_else(Self::unusable)
    }

    /// A password in the clear. An empty one is never right.
    pub fn plain(password: impl Into<Box<str>>) -> Self {
        let password: Box<str> = password.into();
        Self::Plain(Arc::new(Secret::new(password.into_boxed_bytes())))
    }

    /// A user who cannot log in.
    pub fn unusable(error: FieldError) -> Self {
        Self::Unusable(error.into())
    }

    /// Why it cannot be used.
    pub(super) fn why_unusable(&self) -> Option<&Unusable> {
        match self {
            Self::Unusable(why) => Some(why),
            Self::Plain(_) | Self::Hash(..) | Self::Scram(_) | Self::AtStore(_) => None,
        }
    }

    /// Whether the operator has locked the password: the user exists, and no password is right.
    pub(super) fn is_locked(&self) -> bool {
        self.why_unusable().is_some_and(Unusable::is_locked)
    }

    /// Whether it is a single digest with a salt: quick to verify, and safe for a random password.
    pub(super) fn is_salted_digest(&self) -> bool {
        matches!(self, Self::Hash(hash, _) if matches!(**hash, Hash::Salted(_)))
    }

    /// A single digest with a salt that no password fits.
    pub(super) fn salted_digest_of_nothing() -> Self {
        Self::hash(Hash::Salted(DigestHash::of_nothing()), "")
    }

    /// A verifier that costs as much as that of a new user and accepts no password: the decoy when
    /// there are no users.
    pub(super) fn costly() -> Self {
        Self::hash(Hash::Argon2(Argon2Hash::costly()), "")
    }

    /// Whether `password` is right. Takes as long as [`Cost`] says, so not on an async thread.
    ///
    /// - An empty password is never right, nor is one with a NUL: no command can carry it
    ///   (RFC 4616 §2), crypt(3) ends the password there, and HMAC ignores a NUL at the end of a key.
    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, VerifyError> {
        let right = match self {
            Self::Plain(stored) => same(stored.expose(), password),
            Self::Hash(hash, _) => hash.verify(password)?,
            Self::Scram(keys) => keys.verify(password),
            Self::AtStore(_) => return Err(VerifyError::AtStore),
            Self::Unusable(why) => return Err(why.clone().into()),
        };
        Ok(right && !password.is_empty() && !password.contains(&b'\0'))
    }

    /// The keys for SCRAM with `hash`; `None` if there are none and none can be derived.
    ///
    /// - Stored keys are returned as they are. From a password in the clear they are derived with
    ///   `salt`, which should stay the same for a user and differ between users. That takes some
    ///   milliseconds, so not on an async thread.
    pub fn scram(&self, hash: ScramHash, salt: &[u8]) -> Option<ScramKeys> {
        match self {
            Self::Plain(password) => scram::of_password(password.expose(), salt, hash),
            Self::Scram(keys) => keys.of(hash),
            Self::Hash(..) | Self::AtStore(_) | Self::Unusable(_) => None,
        }
    }

    /// Whether there are keys for SCRAM with `hash`, or they can be derived.
    pub(super) fn has_keys(&self, hash: ScramHash) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Scram(keys) => keys.are_for(hash),
            Self::Hash(..) | Self::AtStore(_) | Self::Unusable(_) => false,
        }
    }

    /// Distinguishes this verifier, in the store with this number, from others of the same user: a
    /// password that was right for one may be wrong for another.
    pub(super) fn fingerprint(&self, store: usize) -> Vec<u8> {
        let mut fingerprint = store.to_be_bytes().to_vec();
        match self {
            Self::Hash(_, number) => fingerprint.extend(number.to_be_bytes()),
            Self::Scram(keys) => fingerprint.extend(keys.stored_key()),
            Self::AtStore(handle) => fingerprint.extend(handle.as_bytes()),
            Self::Plain(_) | Self::Unusable(_) => {}
        }
        fingerprint
    }

    /// An identifier of the account: names with the same one lead to the same account. `None` if
    /// two accounts might share it.
    ///
    /// - Never made from a password in the clear or from its hash without a salt: two users may
    ///   have the same password, and neither must find that out.
    #[cfg(any(feature = "ldap", feature = "sql"))]
    pub(crate) fn account(&self) -> Option<Vec<u8>> {
        match self {
            Self::Hash(hash, _) if matches!(**hash, Hash::Bare(_)) => None,
            Self::AtStore(handle) if handle.is_empty() => None,
            Self::AtStore(handle) => Some(handle.to_lowercase().into_bytes()),
            Self::Hash(..) | Self::Scram(_) => Some(self.fingerprint(0)),
            Self::Plain(_) | Self::Unusable(_) => None,
        }
    }

    /// The work of one verification; `None` if none is possible here.
    pub fn cost(&self) -> Option<Cost> {
        match self {
            Self::Plain(_) => Some(Cost::Negligible),
            Self::Hash(hash, _) => Some(hash.cost()),
            Self::Scram(keys) => Some(keys.cost()),
            Self::AtStore(_) | Self::Unusable(_) => None,
        }
    }

    /// Whether this hash, which `password` has just matched, should be replaced by one of
    /// [`NewScheme::Argon2id`].
    ///
    /// - Yes if it is weaker than argon2id with today's parameters.
    /// - Not for `{PLAIN}` and the keys of SCRAM: the user could no longer log in with SCRAM.
    /// - Not if the hash covers only the beginning of the password: the rest was never compared,
    ///   and another client of the user may leave it out. From then on it would matter.
    pub(super) fn outdated_by(&self, password: &[u8]) -> bool {
        match self {
            Self::Hash(hash, _) => hash.outdated_by(password),
            Self::Plain(_) | Self::Scram(_) | Self::AtStore(_) | Self::Unusable(_) => false,
        }
    }

    /// The verifier of a hash that was read from `stored`.
    fn hash(hash: Hash, stored: &str) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(stored.as_bytes()));
        Self::Hash(Arc::new(hash), u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    fn read(stored: &str, weak: WeakSchemes) -> Result<Self, FieldError> {
        let Some((scheme, text)) = stored.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        else {
            return Self::without_scheme(stored, weak);
        };
        let scheme = scheme.to_ascii_uppercase();
        let (scheme, field) = Field::new(&scheme, text);
        let hash = |hash| Self::hash(hash, stored);
        let salted = |digest| {
            let salted = DigestHash::salted(digest, &field.octets(Encoding::Base64)?)?;
            Ok(hash(Hash::Salted(salted)))
        };
        let bare = |name, digest: Digest| {
            weak.allow(name)?;
            let bare = DigestHash::bare(digest, &field.octets(digest.encoding_of(text))?)?;
            Ok(hash(Hash::Bare(bare)))
        };
        match scheme {
            "PLAIN" | "CLEAR" | "CLEARTEXT" => {
                let password = field.octets(Encoding::None)?;
                if password.is_empty() {
                    return Err(FieldError::Empty);
                }
                Ok(Self::Plain(Arc::new(Secret::new(password.as_slice().into()))))
            }
            // The text itself says which of these it is, as for Dovecot.
            "ARGON2ID" | "ARGON2I" | "ARGON2D" | "CRYPT" | "BLF-CRYPT" | "SHA256-CRYPT"
            | "SHA512-CRYPT" | "MD5-CRYPT" | "DES-CRYPT" | "SCRYPT" | "YESCRYPT" => {
                Hash::parse(&field.text()?, weak).map(hash)
            }
            // In this scheme `$1$` does not stand for MD5.
            "PBKDF2" => Ok(hash(Hash::Pbkdf2(Pbkdf2Hash::parse(&field.text()?)?))),
            "SCRAM-SHA-1" => StoredKeys::parse(ScramHash::Sha1, &field.text()?).map(Self::from),
            "SCRAM-SHA-256" => StoredKeys::parse(ScramHash::Sha256, &field.text()?).map(Self::from),
            "SSHA" => salted(Digest::Sha1),
            "SSHA256" => salted(Digest::Sha256),
            "SSHA512" => salted(Digest::Sha512),
            "SMD5" => weak.allow("SMD5").and_then(|()| salted(Digest::Md5)),
            "MD5" if text.starts_with('$') => Hash::parse(text, weak).map(hash),
            "MD5" => bare("MD5", Digest::Md5),
            "PLAIN-MD5" => bare("PLAIN-MD5", Digest::Md5),
            "LDAP-MD5" => bare("LDAP-MD5", Digest::Md5),
            "SHA" => bare("SHA", Digest::Sha1),
            "SHA1" => bare("SHA1", Digest::Sha1),
            "SHA256" => bare("SHA256", Digest::Sha256),
            "SHA512" => bare("SHA512", Digest::Sha512),
            scheme => Err(UnsupportedScheme::new(scheme).into()),
        }
    }

    fn without_scheme(stored: &str, weak: WeakSchemes) -> Result<Self, FieldError> {
        if let Some(keys) = stored.strip_prefix("SCRAM-SHA-256$") {
            StoredKeys::parse(ScramHash::Sha256, keys).map(Self::from)
        } else if stored.starts_with('$') {
            Hash::parse(stored, weak).map(|hash| Self::hash(hash, stored))
        } else if stored.is_empty() {
            Err(FieldError::Missing)
        } else if stored.starts_with(['!', '*']) {
            Err(FieldError::Locked)
        } else {
            Err(FieldError::NoScheme)
        }
    }
}

impl From<StoredKeys> for Verifier {
    fn from(keys: StoredKeys) -> Self {
        Self::Scram(Arc::new(keys))
    }
}

impl WeakSchemes {
    fn allow(self, scheme: &'static str) -> Result<(), FieldError> {
        match self {
            Self::Allowed => Ok(()),
            Self::Refused => Err(FieldError::Weak(scheme)),
        }
    }
}

impl From<bool> for WeakSchemes {
    /// As `weak-schemes` says in the configuration.
    fn from(allowed: bool) -> Self {
        if allowed { Self::Allowed } else { Self::Refused }
    }
}

/// Compares digests, so that the time reveals neither where the two differ nor their lengths.
fn same(one: &[u8], other: &[u8]) -> bool {
    let one = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(one)));
    let other = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(other)));
    one.ct_eq(&*other).into()
}

#[cfg(test)]
mod tests;
