//! MD5-crypt hashes, `$1$salt$digest`: weak, and still in many files. Designed by Poul-Henning
//! Kamp, who has himself declared it unsafe.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::crypt::{self, exactly};
use super::encoding::crypt64;
use super::{Digest, FieldError};
use crate::protocol::Secret;

/// An MD5-crypt hash, with a salt of up to 8 octets.
#[derive(Debug)]
pub struct Md5CryptHash {
    salt: Box<[u8]>,
    /// The octets in the order of the text.
    digest: Secret<Box<[u8]>>,
}

impl Md5CryptHash {
    const MAX_SALT: usize = 8;

    /// Reads a hash that begins with `$1$`.
    pub(super) fn parse(text: &str) -> Result<Self, FieldError> {
        let [salt, digest] = exactly(crypt::fields(text)).ok_or(DAMAGED)?;
        let digest = crypt64(digest).filter(|digest| digest.len() == Digest::Md5.octets());
        let (Some(digest), 0..=Self::MAX_SALT) = (digest, salt.len()) else {
            return Err(DAMAGED);
        };
        Ok(Self { salt: salt.as_bytes().into(), digest: Secret::new(digest.into()) })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        crypt::verify(password, |password| {
            let digest = md5_crypt(password, &self.salt);
            let ordered: Zeroizing<Vec<u8>> = Zeroizing::new(
                ORDER.iter().filter_map(|&place| digest.get(place).copied()).collect(),
            );
            ordered.ct_eq(self.digest.expose()).into()
        })
    }
}

fn md5_crypt(password: &[u8], salt: &[u8]) -> Zeroizing<Vec<u8>> {
    let md5 = |parts: &[&[u8]]| Digest::Md5.of(parts);
    let first = md5(&[password, salt, password]);
    let repeated: Zeroizing<Vec<u8>> =
        Zeroizing::new(first.iter().copied().cycle().take(password.len()).collect());
    // For each bit of the length, from the lowest: a NUL, or the first octet of the password.
    let mut bits = Vec::new();
    let mut length = password.len();
    while length > 0 {
        let octet = if length & 1 == 1 { Some(&0) } else { password.first() };
        bits.extend(octet);
        length >>= 1;
    }
    let mut digest = md5(&[password, b"$1$", salt, &repeated, &bits]);
    for round in 0..1000 {
        let odd = round % 2 == 1;
        digest = md5(&[
            if odd { password } else { &digest },
            if round % 3 == 0 { b"" } else { salt },
            if round % 7 == 0 { b"" } else { password },
            if odd { &digest } else { password },
        ]);
    }
    digest
}

/// For each octet of the text, its place in the digest.
const ORDER: [usize; 16] = [12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11];

const DAMAGED: FieldError = FieldError::Damaged("MD5-CRYPT");
