//! Password schemes: what a password is checked against, as Dovecot writes it, `{SCHEME}text`, or
//! as crypt(3) does, `$id$…`.
//!
//! - Here: what a password field says, and what can be done with it.
//! - `family`: which family a hash is of. A file per family beside: how it is written, what bounds
//!   there are, how it is verified.
//! - `cost`: how much work a verification is. `bounds`: how much it may be.
//! - `new`: what passwords that are set are kept as. `unsupported`: what is said of other schemes.
//!
//! A field that asks for more work than about two seconds of a processor or more than 256 MiB is
//! refused as it is read, before anything is allocated or computed.

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
mod md5_crypt;
mod new;
mod new_password;
mod pbkdf2;
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
use self::digest::{BareDigest, SaltedDigest};
use self::encoding::{Encoding, Field};
pub(crate) use self::error::VerifyError;
pub use self::error::{FieldError, Unusable};
use self::family::Hash;
pub use self::new::{HashError, NewScheme, hash};
pub use self::new_password::{NewPassword, PasswordFault};
use self::pbkdf2::Pbkdf2Hash;
use self::scram::StoredKeys;
use self::unsupported::UnsupportedScheme;
use crate::protocol::Secret;
use crate::protocol::sasl::{ScramHash, ScramKeys};

/// The longest password that is accepted, in octets.
pub const MAX_PASSWORD_OCTETS: usize = 4096;

/// What a password is checked against. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// `{PLAIN}`: the password itself.
    Plain(Arc<Secret<Box<[u8]>>>),
    /// A hash, and the beginning of the SHA-256 of the text that it was read from.
    Hash(Arc<Hash>, u64),
    /// `{SCRAM-SHA-256}`, `{SCRAM-SHA-1}`: the keys of SCRAM.
    Scram(Arc<StoredKeys>),
    /// The store keeps what it compares with to itself and has to be asked. The text is the
    /// store's name for the user, say the DN of a directory.
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
    /// They count as any other.
    Allowed,
}

impl Verifier {
    /// Reads a password field.
    ///
    /// - `{SCHEME}text`, in which the scheme may be in either case and may end in `.HEX`, `.B64` or
    ///   `.BASE64`, which say how the text is encoded.
    /// - Without a scheme: what begins with `$` as a crypt(3) hash or a PHC string does, and the
    ///   keys that `PostgreSQL` writes, `SCRAM-SHA-256$…`.
    /// - Never fails: what cannot be used is [`Verifier::Unusable`] and says why.
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
    pub(super) fn flaw(&self) -> Option<&Unusable> {
        match self {
            Self::Unusable(why) => Some(why),
            Self::Plain(_) | Self::Hash(..) | Self::Scram(_) | Self::AtStore(_) => None,
        }
    }

    /// A verifier that costs what a new user's does and that no password is right for: the decoy
    /// where there are no users.
    pub(super) fn costly() -> Self {
        Self::hash(Hash::Argon2(Argon2Hash::costly()), "")
    }

    /// Whether `password` is right. Takes as long as its [`Cost`] says: not for an async thread.
    ///
    /// - An empty one never is, and neither is one with a NUL: no command carries it (RFC 4616 §2),
    ///   crypt(3) takes it for the end, and to HMAC a key is the same with NULs behind it.
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

    /// The keys for SCRAM with `hash`; `None` where there are none and none can be made.
    ///
    /// - Stored keys come as they are. For a password that is kept as it is they are made with
    ///   `salt`, which should be the same each time for one user and another for each, and that
    ///   takes some milliseconds: not for an async thread.
    pub fn scram(&self, hash: ScramHash, salt: &[u8]) -> Option<ScramKeys> {
        match self {
            Self::Plain(password) => scram::of_password(password.expose(), salt, hash),
            Self::Scram(keys) => keys.of(hash),
            Self::Hash(..) | Self::AtStore(_) | Self::Unusable(_) => None,
        }
    }

    /// Whether there are keys for SCRAM with `hash`, or some can be made.
    pub(super) fn has_keys(&self, hash: ScramHash) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Scram(keys) => keys.are_for(hash),
            Self::Hash(..) | Self::AtStore(_) | Self::Unusable(_) => false,
        }
    }

    /// Tells this verifier, of the store with this number, from others of the same user: what was
    /// right for one need not be for another.
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

    /// What identifies the account: names with the same lead to the same account. `None` where two
    /// accounts may share it.
    ///
    /// - Not a password as it is, nor its bare hash: two users may have the same one, and neither is
    ///   to find that out.
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

    /// The work of one verification; `None` where there can be none.
    pub fn cost(&self) -> Option<Cost> {
        match self {
            Self::Plain(_) => Some(Cost::Trifling),
            Self::Hash(hash, _) => Some(hash.cost()),
            Self::Scram(keys) => Some(keys.cost()),
            Self::AtStore(_) | Self::Unusable(_) => None,
        }
    }

    /// Whether the hash, by which `password` has just been found right, should be replaced by a new
    /// [`hash()`].
    ///
    /// - So it is for everything that is weaker than argon2id with today's parameters.
    /// - Not for `{PLAIN}` and the keys of SCRAM: the user would lose SCRAM.
    /// - Not where the hash stands for the beginning of the password only: an end that never
    ///   counted, and that another client of the user leaves out, would count from then on.
    pub(super) fn outdated_by(&self, password: &[u8]) -> bool {
        match self {
            Self::Hash(hash, _) => hash.is_weaker_than_new() && password.len() <= hash.reach(),
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
            let salted = SaltedDigest::new(digest, &field.octets(Encoding::Base64)?)?;
            Ok(hash(Hash::Salted(salted)))
        };
        let bare = |name, digest: Digest| {
            weak.allow(name)?;
            let bare = BareDigest::new(digest, &field.octets(digest.encoding_of(text))?)?;
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
            // Which of them it is the text itself says, as it does for Dovecot.
            "ARGON2ID" | "ARGON2I" | "ARGON2D" | "CRYPT" | "BLF-CRYPT" | "SHA256-CRYPT"
            | "SHA512-CRYPT" | "MD5-CRYPT" | "DES-CRYPT" | "SCRYPT" | "YESCRYPT" => {
                Hash::parse(&field.text()?, weak).map(hash)
            }
            // Here `$1$` does not stand for MD5.
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

/// Compares digests: the time tells neither where the two differ nor whether their lengths do.
fn same(one: &[u8], other: &[u8]) -> bool {
    let one = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(one)));
    let other = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(other)));
    one.ct_eq(&*other).into()
}

#[cfg(test)]
mod tests;
