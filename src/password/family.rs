//! A hash of any scheme. The beginning of the text tells which scheme it is.

use super::argon2::Argon2Hash;
use super::bcrypt::{self, BcryptHash};
use super::digest::DigestHash;
use super::md5_crypt::Md5CryptHash;
use super::pbkdf2::Pbkdf2Hash;
use super::scrypt::ScryptHash;
use super::sha_crypt::ShaCryptHash;
use super::unsupported::UnsupportedScheme;
use super::yescrypt::YescryptHash;
use super::{Cost, FieldError, VerifyError, WeakSchemes};

/// A hash of any scheme, with parameters within bounds.
#[derive(Debug)]
pub enum Hash {
    /// `{ARGON2ID}`, `{ARGON2I}`, `{ARGON2D}`.
    Argon2(Argon2Hash),
    /// `$y$`
    Yescrypt(YescryptHash),
    /// `$7$`, `$scrypt$`.
    Scrypt(ScryptHash),
    /// `{BLF-CRYPT}`: `$2a$`, `$2b$`, `$2y$`.
    Bcrypt(BcryptHash),
    /// `{SHA256-CRYPT}`, `{SHA512-CRYPT}`: `$5$`, `$6$`.
    ShaCrypt(ShaCryptHash),
    /// `{PBKDF2}`
    Pbkdf2(Pbkdf2Hash),
    /// `{SSHA}`, `{SSHA256}`, `{SSHA512}`, and, weak, `{SMD5}`.
    Salted(DigestHash),
    /// Weak: `{MD5-CRYPT}`, `$1$`.
    Md5Crypt(Md5CryptHash),
    /// Weak: `{SHA}`, `{SHA256}`, `{SHA512}`, `{PLAIN-MD5}`, `{LDAP-MD5}`.
    Bare(DigestHash),
}

impl Hash {
    /// Reads a hash that begins with the `$id$` of its scheme.
    pub(super) fn parse(text: &str, weak: WeakSchemes) -> Result<Self, FieldError> {
        let id = text.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|(id, _)| id);
        match id {
            Some(id) if id.starts_with("argon2") => Argon2Hash::parse(text).map(Self::Argon2),
            Some("y") => YescryptHash::parse(text).map(Self::Yescrypt),
            Some("7" | "scrypt") => ScryptHash::parse(text).map(Self::Scrypt),
            Some("2a" | "2b" | "2y") => BcryptHash::parse(text).map(Self::Bcrypt),
            Some("5" | "6") => ShaCryptHash::parse(text).map(Self::ShaCrypt),
            Some("pbkdf2" | "pbkdf2-sha256" | "pbkdf2-sha512") => {
                Pbkdf2Hash::parse(text).map(Self::Pbkdf2)
            }
            Some("1") => {
                weak.allow("MD5-CRYPT")?;
                Md5CryptHash::parse(text).map(Self::Md5Crypt)
            }
            Some("gy") => Err(UnsupportedScheme::new("GOST-YESCRYPT").into()),
            Some(_) => Err(FieldError::UnknownKind),
            // The traditional crypt(3), and the extended form of BSD.
            None if matches!(text.len(), 13 | 20) && !text.starts_with('$') => {
                Err(UnsupportedScheme::DesCrypt.into())
            }
            None => Err(FieldError::NotAHash),
        }
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, VerifyError> {
        match self {
            Self::Argon2(hash) => hash.verify(password),
            Self::Yescrypt(hash) => hash.verify(password),
            Self::Scrypt(hash) => hash.verify(password),
            Self::Bcrypt(hash) => Ok(hash.verify(password)),
            Self::ShaCrypt(hash) => Ok(hash.verify(password)),
            Self::Pbkdf2(hash) => Ok(hash.verify(password)),
            Self::Salted(hash) => Ok(hash.verify(password)),
            Self::Md5Crypt(hash) => Ok(hash.verify(password)),
            Self::Bare(hash) => Ok(hash.verify(password)),
        }
    }

    pub(super) fn cost(&self) -> Cost {
        match self {
            Self::Argon2(hash) => hash.cost(),
            Self::Yescrypt(hash) => hash.cost(),
            Self::Scrypt(hash) => hash.cost(),
            Self::Bcrypt(hash) => hash.cost(),
            Self::ShaCrypt(hash) => hash.cost(),
            Self::Pbkdf2(hash) => hash.cost(),
            Self::Md5Crypt(_) => Cost::Md5Crypt,
            Self::Salted(_) | Self::Bare(_) => Cost::Negligible,
        }
    }

    /// Whether a new hash of this password would be stronger and cover no more of it.
    pub(super) fn outdated_by(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2(hash) => hash.is_weaker_than_new(),
            Self::Bcrypt(_) => password.len() <= bcrypt::USED_OCTETS,
            Self::Yescrypt(_)
            | Self::Scrypt(_)
            | Self::ShaCrypt(_)
            | Self::Pbkdf2(_)
            | Self::Salted(_)
            | Self::Md5Crypt(_)
            | Self::Bare(_) => true,
        }
    }
}
