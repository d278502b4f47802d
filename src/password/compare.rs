//! Comparison of a password with a verifier.

use super::{MAX_PASSWORD_OCTETS, Verifier, VerifyError};
use crate::protocol::Secret;
use crate::protocol::sasl::saslprep;

/// Compares the password as it came and, if SASLprep changes it, in the prepared form as well: a
/// hash from another server may be of either (RFC 4616 §2).
pub(crate) fn compare(
    verifier: &Verifier,
    password: &Secret<Vec<u8>>,
) -> Result<bool, VerifyError> {
    if is_acceptable(password) {
        if verifier.verify(password.expose())? {
            return Ok(true);
        }
        match saslprep(password.expose()) {
            Some(prepared) if prepared.expose() != password.expose() => {
                verifier.verify(prepared.expose())
            }
            Some(_) | None => Ok(false),
        }
    } else {
        // The same work, so that the answer takes as long.
        verifier.verify(SUBSTITUTE).map(|_| false)
    }
}

/// Whether a user can have this password. A program that receives it would end it at a NUL.
pub(crate) fn is_acceptable(password: &Secret<Vec<u8>>) -> bool {
    let octets = password.expose();
    (1..=MAX_PASSWORD_OCTETS).contains(&octets.len()) && !octets.contains(&0)
}

/// Verified in place of a password that no user can have.
pub(crate) const SUBSTITUTE: &[u8] = b"-";
