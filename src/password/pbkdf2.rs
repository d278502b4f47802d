//! PBKDF2 hashes: `$1$salt$rounds$digest` as Dovecot writes them, with HMAC-SHA-1 and hex, and
//! `$pbkdf2-sha256$rounds$salt$digest` as Python's passlib does.

use ::pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::bounds::bounded;
use super::crypt::exactly;
use super::encoding::{hex, passlib64};
use super::{Cost, Digest, FieldError};
use crate::protocol::Secret;

/// A PBKDF2 hash, of 1 to 2 000 000 rounds.
#[derive(Debug)]
pub struct Pbkdf2Hash {
    kind: Digest,
    derive: Derive,
    rounds: u32,
    salt: Box<[u8]>,
    digest: Secret<Box<[u8]>>,
}

/// PBKDF2 with HMAC of a kind of digest: password, salt, rounds, output.
type Derive = fn(&[u8], &[u8], u32, &mut [u8]);

/// More than twice the recommended number for HMAC-SHA-1; about two seconds with HMAC-SHA-512.
pub(super) const MAX_ROUNDS: u32 = 2_000_000;

impl Pbkdf2Hash {
    const MAX_SALT: usize = 1024;

    /// Reads a hash in either form.
    pub(super) fn parse(text: &str) -> Result<Self, FieldError> {
        let (id, fields) =
            text.strip_prefix('$').and_then(|rest| rest.split_once('$')).ok_or(DAMAGED)?;
        let [one, two, digest] = exactly(fields.split('$')).ok_or(DAMAGED)?;
        let (kind, derive): (_, Derive) = match id {
            "1" | "pbkdf2" => (Digest::Sha1, pbkdf2_hmac::<Sha1>),
            "pbkdf2-sha256" => (Digest::Sha256, pbkdf2_hmac::<Sha256>),
            "pbkdf2-sha512" => (Digest::Sha512, pbkdf2_hmac::<Sha512>),
            _ => return Err(FieldError::UnknownKindOf("PBKDF2")),
        };
        let (rounds, salt, digest) = if id == "1" {
            (two, Some(one.as_bytes().to_vec()), hex(digest))
        } else {
            (one, passlib64(two), passlib64(digest))
        };
        let rounds = bounded("PBKDF2", "rounds", rounds, 1..=MAX_ROUNDS)?;
        let salt = salt.filter(|salt| salt.len() <= Self::MAX_SALT).ok_or(DAMAGED)?;
        let digest = digest.filter(|digest| digest.len() == kind.octets()).ok_or(DAMAGED)?;
        let digest = Secret::new(digest.into());
        Ok(Self { kind, derive, rounds, salt: salt.into(), digest })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let mut digest = Zeroizing::new(vec![0; self.kind.octets()]);
        (self.derive)(password, &self.salt, self.rounds, &mut digest);
        digest.ct_eq(self.digest.expose()).into()
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::Pbkdf2 { digest: self.kind, iterations: self.rounds }
    }
}

const DAMAGED: FieldError = FieldError::Damaged("PBKDF2");
