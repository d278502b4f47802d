//! One password against one verifier.

use super::{MAX_PASSWORD_OCTETS, Verifier, VerifyError};
use crate::protocol::Secret;
use crate::protocol::sasl::saslprep;

/// Compares the password as it came and, where that makes a difference, as SASLprep makes it: hashes
/// that were taken over may be of the one or the other (RFC 4616 §2).
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
        // The same work, so that the answer comes no sooner.
        verifier.verify(SUBSTITUTE).map(|_| false)
    }
}

/// Whether a user can have this password. A NUL would end it early in a program that it is passed to.
pub(crate) fn is_acceptable(password: &Secret<Vec<u8>>) -> bool {
    let octets = password.expose();
    (1..=MAX_PASSWORD_OCTETS).contains(&octets.len()) && !octets.contains(&0)
}

/// What is verified in place of a password that no user can have.
pub(crate) const SUBSTITUTE: &[u8] = b"-";
