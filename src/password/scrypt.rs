//! Scrypt hashes (RFC 7914): `$7$` as crypt(3) writes them, `$scrypt$ln=16,r=8,p=1$salt$digest` as
//! a PHC string.

use ::scrypt::Params;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::bounds::{ParameterError, bounded, within_memory};
use super::crypt::{self, exactly};
use super::encoding::{base64, crypt64};
use super::{Cost, FieldError, VerifyError};
use crate::protocol::Secret;

/// A scrypt hash with N·r·p of at most 2 097 152: 256 MiB once, or less memory several times.
#[derive(Debug)]
pub struct ScryptHash {
    params: Params,
    salt: Box<[u8]>,
    digest: Secret<Box<[u8]>>,
}

impl ScryptHash {
    const DIGEST_OCTETS: usize = 32;

    /// Reads a hash that begins with `$7$` or `$scrypt$`.
    pub(super) fn parse(text: &str) -> Result<Self, FieldError> {
        match text.strip_prefix("$7$") {
            Some(rest) => Self::of_crypt(rest),
            None => Self::of_phc(text),
        }
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, VerifyError> {
        let mut digest = Zeroizing::new([0; Self::DIGEST_OCTETS]);
        ::scrypt::scrypt(password, &self.salt, &self.params, &mut *digest)?;
        Ok(digest.ct_eq(self.digest.expose()).into())
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::Scrypt { log_n: self.params.log_n(), r: self.params.r(), p: self.params.p() }
    }

    /// One character for log N, five each for r and p, then the salt as plain text.
    fn of_crypt(rest: &str) -> Result<Self, FieldError> {
        let (head, digest) = rest.split_once('$').ok_or(DAMAGED)?;
        let (parameters, salt) = head.split_at_checked(11).ok_or(DAMAGED)?;
        let (log_n, sizes) = parameters.split_at_checked(1).ok_or(DAMAGED)?;
        let (r, p) = sizes.split_at_checked(5).ok_or(DAMAGED)?;
        let (log_n, r, p) = (number(log_n)?, number(r)?, number(p)?);
        let digest = crypt64(digest).ok_or(DAMAGED)?;
        Self::new(log_n, r, p, salt.as_bytes(), digest)
    }

    fn of_phc(text: &str) -> Result<Self, FieldError> {
        let [parameters, salt, digest] = exactly(crypt::fields(text)).ok_or(DAMAGED)?;
        let mut parameters = parameters.split(',');
        let mut number = |name: &'static str| {
            let (found, number) =
                parameters.next().and_then(|one| one.split_once('=')).ok_or(DAMAGED)?;
            if found != name {
                return Err(NAMES);
            }
            Ok(bounded("scrypt", name, number, 1..=u32::MAX)?)
        };
        let (log_n, r, p) = (number("ln")?, number("r")?, number("p")?);
        if parameters.next().is_some() {
            return Err(NAMES);
        }
        let salt = base64(salt).ok_or(DAMAGED)?;
        let digest = base64(digest).ok_or(DAMAGED)?;
        Self::new(log_n, r, p, &salt, digest)
    }

    fn new(log_n: u32, r: u32, p: u32, salt: &[u8], digest: Vec<u8>) -> Result<Self, FieldError> {
        within_memory("scrypt", log_n, r, p)?;
        if log_n == 0 {
            let (kind, name) = ("scrypt", "N");
            return Err(ParameterError::Below { kind, name, number: 1, least: 2 }.into());
        }
        if digest.len() != Self::DIGEST_OCTETS {
            return Err(DAMAGED);
        }
        let log_n = u8::try_from(log_n).map_err(|_| DAMAGED)?;
        let params = Params::new(log_n, r, p).map_err(ParameterError::Scrypt)?;
        Ok(Self { params, salt: salt.into(), digest: Secret::new(digest.into()) })
    }
}

/// A number of up to five characters, the lowest six bits first.
fn number(text: &str) -> Result<u32, FieldError> {
    // Padded with zeros to a whole number of octets.
    let octets = crypt64(&format!("{text:.<8}")).ok_or(DAMAGED)?;
    octets.first_chunk().map(|number| u32::from_le_bytes(*number)).ok_or(DAMAGED)
}

const DAMAGED: FieldError = FieldError::Damaged("scrypt");

const NAMES: FieldError =
    FieldError::Parameter(ParameterError::Names { kind: "scrypt", wanted: "ln, r and p" });
