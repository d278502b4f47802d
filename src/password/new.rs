//! The hashes of new passwords.

use super::digest::DigestHash;
use super::{HashError, NewPassword, argon2, scram};
use crate::protocol::Secret;

/// A scheme for a new password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewScheme {
    /// Argon2id with today's recommended parameters (19 MiB, 2 passes, 1 lane): the hardest to
    /// guess from the file.
    #[default]
    Argon2id,
    /// The keys of SCRAM-SHA-256: for clients that log in without sending the password.
    ScramSha256,
    /// A single SHA-256 with a salt: only for passwords that nobody can guess, since it does not slow
    /// guesses down. It costs almost nothing to verify.
    SaltedSha256,
}

impl NewScheme {
    /// The hash of the password, with a salt from the operating system, as
    /// [`super::Verifier::parse`] reads it.
    ///
    /// # Errors
    /// [`HashError`] if the system gives no randomness or no memory.
    pub fn hash(self, password: &NewPassword) -> Result<Secret<String>, HashError> {
        match self {
            Self::Argon2id => argon2::hash(password.expose()),
            Self::ScramSha256 => scram::field(password.expose()),
            Self::SaltedSha256 => DigestHash::text(password.expose()),
        }
    }

    /// The same, always with its scheme: Dovecot would misread a PHC string without one.
    ///
    /// # Errors
    /// [`HashError`] as from [`hash`](Self::hash).
    pub fn field(self, password: &NewPassword) -> Result<Secret<String>, HashError> {
        let hash = self.hash(password)?;
        let scheme = if hash.expose().starts_with('$') { "{ARGON2ID}" } else { "" };
        Ok(Secret::new([scheme, hash.expose()].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::Verifier;
    use crate::password::tests::parse;

    #[test]
    fn each_new_hash_is_argon2id_with_another_salt() {
        let password = || NewPassword::try_from(Secret::new(b"tanstaaf".to_vec())).unwrap();
        let hash = || NewScheme::Argon2id.hash(&password()).unwrap();
        let (one, other) = (hash(), hash());
        assert_ne!(one.expose(), other.expose());
        assert!(one.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let verifier = parse(one.expose());
        assert_eq!(verifier.verify(b"tanstaaf"), Ok(true));
        assert_eq!(verifier.verify(b"tanstaa"), Ok(false));
        assert_eq!(verifier.cost(), Verifier::costly().cost());
    }
}
