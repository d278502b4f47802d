//! Single digests of a password: with a salt after it, as `OpenLDAP` and Dovecot make them
//! (`{SSHA}` and the like), or without one, which is weak.

use base64ct::{Base64, Encoding as _};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::encoding::Encoding;
use super::{FieldError, HashError, salt};
use crate::protocol::Secret;

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// MD5, weak.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// The digest of a password, with a salt after it or without one.
#[derive(Debug)]
pub struct DigestHash {
    kind: Digest,
    digest: Secret<Box<[u8]>>,
    /// Empty in a digest of the password alone.
    salt: Box<[u8]>,
}

impl Digest {
    /// The length in octets.
    pub(super) fn octets(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The encoding of a digest without a salt. As for Dovecot, the length of the text decides.
    pub(super) fn encoding_of(self, text: &str) -> Encoding {
        if text.len() == 2 * self.octets() { Encoding::Hex } else { Encoding::Base64 }
    }

    /// The digest of all `parts`, one after the other.
    pub(super) fn of(self, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        fn of<D: sha2::Digest>(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
            let mut digest = D::new();
            for part in parts {
                digest.update(part);
            }
            Zeroizing::new(digest.finalize().to_vec())
        }
        match self {
            Self::Md5 => of::<Md5>(parts),
            Self::Sha1 => of::<Sha1>(parts),
            Self::Sha256 => of::<Sha256>(parts),
            Self::Sha512 => of::<Sha512>(parts),
        }
    }
}

impl DigestHash {
    /// The most octets of a salt.
    pub(super) const MAX_SALT: usize = 64;

    /// Takes a digest with the salt after it.
    pub(super) fn salted(kind: Digest, octets: &[u8]) -> Result<Self, FieldError> {
        match octets.split_at_checked(kind.octets()) {
            Some((_, [])) => Err(FieldError::NoSalt),
            Some((_, salt)) if salt.len() > Self::MAX_SALT => Err(FieldError::LongSalt),
            Some((digest, salt)) => Ok(Self::new(kind, digest, salt)),
            None => Err(FieldError::ShortDigest),
        }
    }

    /// Takes a digest without a salt.
    pub(super) fn bare(kind: Digest, octets: &[u8]) -> Result<Self, FieldError> {
        if octets.len() != kind.octets() {
            return Err(FieldError::DigestLength);
        }
        Ok(Self::new(kind, octets, &[]))
    }

    /// The text of a new salted SHA-256.
    pub(super) fn text(password: &[u8]) -> Result<Secret<String>, HashError> {
        let salt = salt::new()?;
        let digest = Digest::Sha256.of(&[password, &salt]);
        let octets = Zeroizing::new([digest.as_slice(), &salt].concat());
        Ok(Secret::new(["{SSHA256}", &Base64::encode_string(&octets)].concat()))
    }

    /// A salted SHA-256 that no password has, to be verified for its cost.
    pub(super) fn of_nothing() -> Self {
        Self::new(Digest::Sha256, &[0; 32], &[0; 16])
    }

    fn new(kind: Digest, digest: &[u8], salt: &[u8]) -> Self {
        Self { kind, digest: Secret::new(digest.into()), salt: salt.into() }
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        self.kind.of(&[password, &self.salt]).ct_eq(self.digest.expose()).into()
    }
}
