//! SHA-crypt hashes, `$5$rounds=5000$salt$digest` and `$6$…`, designed by Ulrich Drepper.

use ::sha_crypt::Params;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::bounds::bounded;
use super::crypt::{self, exactly};
use super::encoding::crypt64;
use super::{Cost, Digest, FieldError};
use crate::protocol::Secret;

/// A SHA256-crypt or SHA512-crypt hash.
///
/// - 1000 to 1 000 000 rounds; 5000 if the text names none.
/// - A salt of up to 16 octets.
#[derive(Debug)]
pub struct ShaCryptHash {
    kind: Digest,
    hash: Hash,
    params: Params,
    rounds: u32,
    salt: Box<[u8]>,
    /// The octets in the order of the text.
    digest: Secret<Box<[u8]>>,
}

/// SHA-crypt of a kind of digest, in the order of the text: password, salt, rounds.
type Hash = fn(&[u8], &[u8], Params) -> Zeroizing<Vec<u8>>;

impl ShaCryptHash {
    const MAX_ROUNDS: u32 = 1_000_000;
    const MAX_SALT: usize = 16;

    /// Reads a hash that begins with `$5$` or `$6$`.
    pub(super) fn parse(text: &str) -> Result<Self, FieldError> {
        let (name, kind, hash): (_, _, Hash) = if text.starts_with("$5$") {
            ("SHA256-CRYPT", Digest::Sha256, sha256_crypt)
        } else {
            ("SHA512-CRYPT", Digest::Sha512, sha512_crypt)
        };
        let mut fields = crypt::fields(text).peekable();
        let rounds = match fields.next_if(|field| field.starts_with("rounds=")) {
            Some(field) => {
                let rounds = field.trim_start_matches("rounds=");
                let bounds = Params::ROUNDS_MIN..=Self::MAX_ROUNDS;
                bounded(name, "rounds", rounds, bounds)?
            }
            None => Params::RECOMMENDED_ROUNDS,
        };
        let damaged = || FieldError::Damaged(name);
        let [salt, digest] = exactly(fields).ok_or_else(damaged)?;
        let digest = crypt64(digest).filter(|digest| digest.len() == kind.octets());
        let (Some(digest), 0..=Self::MAX_SALT) = (digest, salt.len()) else {
            return Err(damaged());
        };
        Ok(Self {
            kind,
            hash,
            params: Params::new(rounds).map_err(|_| damaged())?,
            rounds,
            salt: salt.as_bytes().into(),
            digest: Secret::new(digest.into()),
        })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        crypt::verify(password, |password| {
            (self.hash)(password, &self.salt, self.params).ct_eq(self.digest.expose()).into()
        })
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::ShaCrypt { digest: self.kind, rounds: self.rounds }
    }
}

fn sha256_crypt(password: &[u8], salt: &[u8], params: Params) -> Zeroizing<Vec<u8>> {
    in_order(&*Zeroizing::new(::sha_crypt::sha256_crypt(password, salt, params)), 21)
}

fn sha512_crypt(password: &[u8], salt: &[u8], params: Params) -> Zeroizing<Vec<u8>> {
    in_order(&*Zeroizing::new(::sha_crypt::sha512_crypt(password, salt, params)), 22)
}

/// The octets of a digest in the order of the text: one from each third in turn, `step` further
/// each time. The octets that are left over come last.
fn in_order(digest: &[u8], step: usize) -> Zeroizing<Vec<u8>> {
    let third = digest.len() / 3;
    let place = |nth: usize| {
        if nth < 3 * third { (third * (2 - nth % 3) + nth / 3 * step) % (3 * third) } else { nth }
    };
    let octets = (0..digest.len()).filter_map(|nth| digest.get(place(nth)).copied());
    Zeroizing::new(octets.collect())
}
