//! Single digests of a password: with a salt after it, as `OpenLDAP` and Dovecot make them
//! (`{SSHA}` and the like), or without one, which is weak.

use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::encoding::Encoding;
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

/// The digest of a password with a salt after it.
#[derive(Debug)]
pub struct SaltedDigest {
    bare: BareDigest,
    salt: Box<[u8]>,
}

/// The digest of a password alone.
#[derive(Debug)]
pub struct BareDigest {
    kind: Digest,
    digest: Secret<Box<[u8]>>,
}

/// Why octets are not a digest, or not one with a salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Nothing follows the digest.
    #[error("its hash has no salt")]
    NoSalt,
    /// The salt is too long.
    #[error("its hash has a salt of more than {} octets", SaltedDigest::MAX_SALT)]
    LongSalt,
    /// There are fewer octets than the digest has.
    #[error("its hash is damaged: it is too short")]
    TooShort,
    /// There are more or fewer octets than the digest has.
    #[error("its hash is damaged: it has another length than such a digest")]
    Length,
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

impl SaltedDigest {
    const MAX_SALT: usize = 64;

    /// Takes a digest with the salt after it.
    pub(super) fn new(kind: Digest, octets: &[u8]) -> Result<Self, DigestError> {
        match octets.split_at_checked(kind.octets()) {
            Some((digest, salt)) if (1..=Self::MAX_SALT).contains(&salt.len()) => {
                Ok(Self { bare: BareDigest::new(kind, digest)?, salt: salt.into() })
            }
            Some((_, [])) => Err(DigestError::NoSalt),
            Some(_) => Err(DigestError::LongSalt),
            None => Err(DigestError::TooShort),
        }
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        self.bare.is_of(&[password, &self.salt])
    }
}

impl BareDigest {
    pub(super) fn new(kind: Digest, octets: &[u8]) -> Result<Self, DigestError> {
        if octets.len() != kind.octets() {
            return Err(DigestError::Length);
        }
        Ok(Self { kind, digest: Secret::new(octets.into()) })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        self.is_of(&[password])
    }

    fn is_of(&self, parts: &[&[u8]]) -> bool {
        self.kind.of(parts).ct_eq(self.digest.expose()).into()
    }
}
