//! Password schemes: what a password is checked against, as Dovecot writes it, `{SCHEME}text`.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::phc::Argon2Hash;
use crate::protocol::Secret;

/// What a password is checked against. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// `{ARGON2ID}`, `{ARGON2I}`, `{ARGON2D}`, or a PHC string by itself.
    Argon2(Arc<Argon2Hash>),
    /// `{PLAIN}`: the password itself.
    Plain(Arc<Secret<Box<[u8]>>>),
    /// The user exists and cannot log in, and why; shows nothing secret.
    Unusable(Arc<str>),
}

/// The work of verifying a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cost {
    /// As good as none.
    Trifling,
    /// Argon2 with these parameters.
    Argon2 {
        /// Memory in KiB.
        memory: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

impl Verifier {
    /// Reads the password field of a credential file.
    ///
    /// - The name of the scheme may be in either case. `{CLEAR}` and `{CLEARTEXT}` are `{PLAIN}`.
    /// - Never fails: what cannot be used is [`Verifier::Unusable`] and says why.
    pub fn parse(stored: &str) -> Self {
        let (scheme, text) = match stored.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((scheme, text)) => (scheme.to_ascii_uppercase(), text),
            None if stored.starts_with("$argon2") => ("ARGON2ID".to_owned(), stored),
            None => return Self::unusable(no_scheme(stored)),
        };
        match scheme.as_str() {
            // The string itself says which of the three it is, as for Dovecot.
            "ARGON2ID" | "ARGON2I" | "ARGON2D" => match Argon2Hash::parse(text) {
                Ok(hash) => Self::Argon2(Arc::new(hash)),
                Err(why) => Self::unusable(why),
            },
            "PLAIN" | "CLEAR" | "CLEARTEXT" if text.is_empty() => {
                Self::unusable("its password is empty; set a password")
            }
            "PLAIN" | "CLEAR" | "CLEARTEXT" => Self::plain(text),
            scheme => Self::unusable(unsupported(scheme)),
        }
    }

    /// A password that is kept as it is. An empty one lets nobody in.
    pub fn plain(password: impl Into<Box<str>>) -> Self {
        let password: Box<str> = password.into();
        Self::Plain(Arc::new(Secret::new(password.into_boxed_bytes())))
    }

    /// A user who cannot log in. `why` is for the log and for `restante check`.
    pub fn unusable(why: impl Into<Arc<str>>) -> Self {
        Self::Unusable(why.into())
    }

    /// A verifier that costs what a new user's does and that no password is right for: the decoy
    /// where there are no users.
    pub(super) fn costly() -> Self {
        Self::Argon2(Arc::new(Argon2Hash::costly()))
    }

    /// Whether `password` is right. Takes as long as its [`Cost`] says: not for an async thread.
    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, String> {
        let right = match self {
            Self::Argon2(hash) => hash.verify(password)?,
            Self::Plain(stored) => same(stored.expose(), password),
            Self::Unusable(why) => return Err(why.to_string()),
        };
        Ok(right && !password.is_empty())
    }

    /// The work of one verification; `None` where there can be none.
    pub fn cost(&self) -> Option<Cost> {
        match self {
            Self::Argon2(hash) => {
                let (memory, passes, lanes) = hash.parameters();
                Some(Cost::Argon2 { memory, passes, lanes })
            }
            Self::Plain(_) => Some(Cost::Trifling),
            Self::Unusable(_) => None,
        }
    }
}

/// Compares digests: the time tells neither where the two differ nor whether their lengths do.
fn same(one: &[u8], other: &[u8]) -> bool {
    let one = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(one)));
    let other = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(other)));
    one.ct_eq(&*other).into()
}

/// What is wrong with a password field that names no scheme.
fn no_scheme(stored: &str) -> String {
    let crypt = CRYPT_PREFIXES.iter().find(|(prefix, _)| stored.starts_with(prefix));
    match crypt {
        Some((_, scheme)) => unsupported(scheme),
        None => "its password has no scheme; write {PLAIN} before it, or set a new password".into(),
    }
}

/// Shows a scheme only if it is one: something else in braces may be part of a password.
fn unsupported(scheme: &str) -> String {
    let shown = if UNSUPPORTED.split(' ').any(|known| known == scheme) {
        scheme
    } else {
        "of its password"
    };
    format!("the scheme {shown} is not supported; set a new password")
}

/// How crypt(3) marks its kinds where no scheme is written.
const CRYPT_PREFIXES: [(&str, &str); 7] = [
    ("$1$", "MD5-CRYPT"),
    ("$2", "BLF-CRYPT"),
    ("$5$", "SHA256-CRYPT"),
    ("$6$", "SHA512-CRYPT"),
    ("$7$", "SCRYPT"),
    ("$y$", "YESCRYPT"),
    ("$gy$", "GOST-YESCRYPT"),
];

/// Schemes that other servers have.
const UNSUPPORTED: &str = "BLF-CRYPT CRAM-MD5 CRYPT DES-CRYPT DIGEST-MD5 GOST-YESCRYPT HMAC-MD5 \
    LANMAN LDAP-MD5 MD5 MD5-CRYPT NTLM OTP PBKDF2 PLAIN-MD5 PLAIN-TRUNC RPA SCRAM-SHA-1 \
    SCRAM-SHA-256 SCRYPT SHA SHA1 SHA256 SHA256-CRYPT SHA512 SHA512-CRYPT SMD5 SSHA SSHA256 \
    SSHA512 YESCRYPT";
