//! SHA-crypt hashes, `$5$rounds=5000$salt$digest` and `$6$…`, the work of Ulrich Drepper.

use ::sha_crypt::Params;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::bounds::bounded;
use super::encoding::crypt64;
use super::{Cost, Digest, FieldError, crypt};
use crate::protocol::Secret;

/// A SHA256-crypt or SHA512-crypt hash.
///
/// - 1000 to 1 000 000 rounds, 5000 where none are named.
/// - A salt of up to 16 octets.
#[derive(Debug)]
pub struct ShaCryptHash {
    wide: Wide,
    params: Params,
    rounds: u32,
    salt: Box<[u8]>,
    /// In the order of the text.
    digest: Secret<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug)]
enum Wide {
    Sha256,
    Sha512,
}

impl ShaCryptHash {
    const MAX_ROUNDS: u32 = 1_000_000;
    const MAX_SALT: usize = 16;

    /// Reads a hash that begins with `$5$` or `$6$`.
    pub(super) fn parse(text: &str) -> Result<Self, FieldError> {
        let wide = if text.starts_with("$5$") { Wide::Sha256 } else { Wide::Sha512 };
        let mut fields = crypt::fields(text).peekable();
        let rounds = match fields.next_if(|field| field.starts_with("rounds=")) {
            Some(field) => {
                let rounds = field.trim_start_matches("rounds=");
                let bounds = Params::ROUNDS_MIN..=Self::MAX_ROUNDS;
                bounded(wide.name(), "rounds", rounds, bounds)?
            }
            None => Params::RECOMMENDED_ROUNDS,
        };
        let damaged = || FieldError::Damaged(wide.name());
        let (Some(salt), Some(digest), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(damaged());
        };
        let digest = crypt64(digest).filter(|digest| digest.len() == wide.digest().octets());
        let (Some(digest), 0..=Self::MAX_SALT) = (digest, salt.len()) else {
            return Err(damaged());
        };
        Ok(Self {
            wide,
            params: Params::new(rounds).map_err(|_| damaged())?,
            rounds,
            salt: salt.as_bytes().into(),
            digest: Secret::new(digest.into()),
        })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        crypt::verify(password, |password| {
            let digest = match self.wide {
                Wide::Sha256 => {
                    let digest = ::sha_crypt::sha256_crypt(password, &self.salt, self.params);
                    in_order(&*Zeroizing::new(digest), 21)
                }
                Wide::Sha512 => {
                    let digest = ::sha_crypt::sha512_crypt(password, &self.salt, self.params);
                    in_order(&*Zeroizing::new(digest), 22)
                }
            };
            digest.ct_eq(self.digest.expose()).into()
        })
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::ShaCrypt { digest: self.wide.digest(), rounds: self.rounds }
    }
}

impl Wide {
    fn digest(self) -> Digest {
        match self {
            Self::Sha256 => Digest::Sha256,
            Self::Sha512 => Digest::Sha512,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA256-CRYPT",
            Self::Sha512 => "SHA512-CRYPT",
        }
    }
}

/// The octets of a digest in the order in which the text has them: of three thirds in turn, each
/// time `step` further, and what three does not divide at the end.
fn in_order(digest: &[u8], step: usize) -> Zeroizing<Vec<u8>> {
    let third = digest.len() / 3;
    let place = |nth: usize| {
        if nth < 3 * third { (third * (2 - nth % 3) + nth / 3 * step) % (3 * third) } else { nth }
    };
    let octets = (0..digest.len()).filter_map(|nth| digest.get(place(nth)).copied());
    Zeroizing::new(octets.collect())
}
