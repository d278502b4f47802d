//! The keys of SCRAM (RFC 5802 §3, RFC 7677) in place of a hash: `4096,salt,stored,server` as
//! Dovecot writes them, `4096:salt$stored:server` as `PostgreSQL` does.

use subtle::ConstantTimeEq;

use super::bounds::bounded;
use super::crypt::exactly;
use super::encoding::base64;
use super::pbkdf2::MAX_ROUNDS;
use super::{Cost, Digest, FieldError, HashError, salt};
use crate::protocol::Secret;
use crate::protocol::sasl::{ScramHash, ScramKeys};

/// The keys of a user, with 1 to 2 000 000 iterations.
#[derive(Debug)]
pub struct StoredKeys {
    hash: ScramHash,
    keys: ScramKeys,
}

impl StoredKeys {
    const MAX_SALT: usize = 1024;

    /// Reads the keys in either form.
    pub(super) fn parse(hash: ScramHash, text: &str) -> Result<Self, FieldError> {
        if text.parse::<u32>().is_ok() {
            return Err(FieldError::KeysEndAtColon);
        }
        let [iterations, salt, stored, server] =
            exactly(text.split([',', ':', '$'])).ok_or(FieldError::DamagedKeys)?;
        let iterations = bounded("SCRAM", "iterations", iterations, 1..=MAX_ROUNDS)?;
        let salt = base64(salt)
            .filter(|salt| (1..=Self::MAX_SALT).contains(&salt.len()))
            .ok_or(FieldError::DamagedKeys)?;
        let key = |text| {
            base64(text)
                .filter(|key| key.len() == digest(hash).octets())
                .map(Secret::new)
                .ok_or(FieldError::DamagedKeys)
        };
        let (stored_key, server_key) = (key(stored)?, key(server)?);
        Ok(Self { hash, keys: ScramKeys { salt, iterations, stored_key, server_key } })
    }

    /// Whether these are the keys of `password`.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let ScramKeys { salt, iterations, stored_key, .. } = &self.keys;
        let derived = ScramKeys::derive(password, salt, *iterations, self.hash);
        derived.stored_key.expose().ct_eq(stored_key.expose()).into()
    }

    /// The keys, if they are for this hash.
    pub(super) fn of(&self, hash: ScramHash) -> Option<ScramKeys> {
        let ScramKeys { salt, iterations, stored_key, server_key } = &self.keys;
        (hash == self.hash).then(|| ScramKeys {
            salt: salt.clone(),
            iterations: *iterations,
            stored_key: Secret::new(stored_key.expose().clone()),
            server_key: Secret::new(server_key.expose().clone()),
        })
    }

    pub(super) fn are_for(&self, hash: ScramHash) -> bool {
        hash == self.hash
    }

    pub(super) fn stored_key(&self) -> &[u8] {
        self.keys.stored_key.expose()
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::Pbkdf2 { digest: digest(self.hash), iterations: self.keys.iterations }
    }
}

/// The keys of a password in the clear, with the fewest iterations that RFC 7677 §4 allows: they
/// are not stored, so they cannot be stolen. `None` for an empty password.
pub(super) fn of_password(password: &[u8], salt: &[u8], hash: ScramHash) -> Option<ScramKeys> {
    let iterations = ScramKeys::ITERATIONS;
    (!password.is_empty()).then(|| ScramKeys::derive(password, salt, iterations, hash))
}

/// The field for a new password.
pub(super) fn field(password: &[u8]) -> Result<Secret<String>, HashError> {
    use base64ct::{Base64, Encoding as _};

    let salt: [u8; 16] = salt::new()?;
    let keys = ScramKeys::derive(password, &salt, NEW_ITERATIONS, ScramHash::Sha256);
    Ok(Secret::new(format!(
        "{{SCRAM-SHA-256}}{},{},{},{}",
        keys.iterations,
        Base64::encode_string(&keys.salt),
        Base64::encode_string(keys.stored_key.expose()),
        Base64::encode_string(keys.server_key.expose()),
    )))
}

fn digest(hash: ScramHash) -> Digest {
    match hash {
        ScramHash::Sha1 => Digest::Sha1,
        ScramHash::Sha256 => Digest::Sha256,
    }
}

/// RFC 7677 §4 estimates a tenth of a second for these. The client computes as many.
const NEW_ITERATIONS: u32 = 15_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::tests::parse;
    use crate::password::tests::vectors::{STRONG, TANSTAAF};
    use crate::password::{NewPassword, NewScheme, Verifier};

    #[test]
    fn keys_are_the_stored_ones_or_derived_from_a_plain_password() {
        let (_, stored, _) =
            STRONG.iter().find(|(_, s, _)| s.starts_with("{SCRAM-SHA-256}4096,u08")).unwrap();
        let verifier = parse(stored);
        let keys = verifier.scram(ScramHash::Sha256, b"ignored").unwrap();
        assert_eq!(keys.iterations, 4096);
        assert_eq!(keys.salt, base64("u08vIzdaQl9IwUFwLvyyUQ==").unwrap());
        assert!(verifier.scram(ScramHash::Sha1, b"ignored").is_none());
        // The same password and salt give what Dovecot has stored.
        let derived = Verifier::plain(TANSTAAF).scram(ScramHash::Sha256, &keys.salt).unwrap();
        assert_eq!(derived.stored_key.expose(), keys.stored_key.expose());
        assert_eq!(derived.server_key.expose(), keys.server_key.expose());
        assert_eq!((derived.iterations, &derived.salt), (4096, &keys.salt));
        assert!(Verifier::plain("").scram(ScramHash::Sha256, b"salt").is_none());
        assert!(parse(STRONG[0].1).scram(ScramHash::Sha256, b"salt").is_none());
    }

    #[test]
    fn new_scram_keys_are_for_prepared_passwords() {
        let password = NewPassword::try_from(Secret::new("I\u{ad}X".as_bytes().to_vec())).unwrap();
        let (one, other) =
            (NewScheme::ScramSha256.hash(&password), NewScheme::ScramSha256.field(&password));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_ne!(one.expose(), other.expose());
        for field in [one, other] {
            assert!(field.expose().starts_with("{SCRAM-SHA-256}15000,"));
            let verifier = parse(field.expose());
            assert_eq!(verifier.verify(b"IX"), Ok(true));
            assert_eq!(verifier.verify("I\u{ad}X".as_bytes()), Ok(true));
            assert_eq!(verifier.verify(b"ix"), Ok(false));
        }
        // In Latin-1 there is nothing to prepare.
        let password = NewPassword::try_from(Secret::new(b"p\xe4ss".to_vec())).unwrap();
        let field = NewScheme::ScramSha256.hash(&password).unwrap();
        assert_eq!(parse(field.expose()).verify(b"p\xe4ss"), Ok(true));
    }
}
