//! Yescrypt hashes, `$y$parameters$salt$digest`, as in `/etc/shadow` of Debian, Fedora and Ubuntu.

use ::yescrypt::{Mode, Params};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::bounds::{ParameterError, within_memory};
use super::crypt::{self, exactly};
use super::encoding::crypt64;
use super::{Cost, FieldError, VerifyError};
use crate::protocol::Secret;

/// A yescrypt hash of at most N·r = 2 097 152, which is 256 MiB.
///
/// - The crate allocates the memory itself, usually 16 MiB. glibc may retain that much in each of
///   its arenas, of which there are eight per processor. `config/restante.service` prevents that;
///   this program cannot, without `unsafe`.
/// - Only the flavour that crypt(3) makes, without extra time and parallelism.
#[derive(Debug)]
pub struct YescryptHash {
    params: Params,
    salt: Box<[u8]>,
    digest: Secret<Box<[u8]>>,
}

impl YescryptHash {
    const DIGEST_OCTETS: usize = 32;
    const MAX_SALT: usize = 64;

    /// Reads a hash that begins with `$y$`.
    pub(super) fn parse(text: &str) -> Result<Self, FieldError> {
        let [parameters, salt, digest] = exactly(crypt::fields(text)).ok_or(DAMAGED)?;
        let params: Params = parameters.parse().map_err(ParameterError::Yescrypt)?;
        within_memory("yescrypt", params.n().ilog2(), params.r(), params.p())?;
        // `Params` does not tell its extra time, but its text does.
        let usual = Params::new(Mode::default(), params.n(), params.r(), 1);
        if !usual.is_ok_and(|usual| usual.to_string() == parameters) {
            return Err(ParameterError::Flavour.into());
        }
        let salt = crypt64(salt).filter(|salt| salt.len() <= Self::MAX_SALT);
        let digest = crypt64(digest).filter(|digest| digest.len() == Self::DIGEST_OCTETS);
        let (Some(salt), Some(digest)) = (salt, digest) else {
            return Err(DAMAGED);
        };
        Ok(Self { params, salt: salt.into(), digest: Secret::new(digest.into()) })
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, VerifyError> {
        let mut digest = Zeroizing::new([0; Self::DIGEST_OCTETS]);
        ::yescrypt::yescrypt(password, &self.salt, &self.params, &mut *digest)?;
        Ok(digest.ct_eq(self.digest.expose()).into())
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::Yescrypt { n: self.params.n(), r: self.params.r() }
    }
}

const DAMAGED: FieldError = FieldError::Damaged("yescrypt");
