//! The keys of SCRAM, which a server stores in place of a password (RFC 5802 §3).

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::saslprep;
use crate::protocol::Secret;

/// The hash function of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramHash {
    /// SHA-1 (RFC 5802).
    Sha1,
    /// SHA-256 (RFC 7677).
    Sha256,
}

impl ScramHash {
    /// The octets of a digest, a key and a proof.
    pub fn octets(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    pub(super) fn digest(self, input: &[u8]) -> Secret<Vec<u8>> {
        Secret::new(match self {
            Self::Sha1 => Sha1::digest(input).to_vec(),
            Self::Sha256 => Sha256::digest(input).to_vec(),
        })
    }

    pub(super) fn hmac(self, key: &[u8], message: &[u8]) -> Secret<Vec<u8>> {
        match self {
            Self::Sha1 => authenticate::<Hmac<Sha1>>(key, message),
            Self::Sha256 => authenticate::<Hmac<Sha256>>(key, message),
        }
    }

    /// `Hi` of RFC 5802 §2.2, which is PBKDF2.
    fn stretch(self, password: &[u8], salt: &[u8], iterations: u32) -> Secret<Vec<u8>> {
        let mut salted = vec![0; self.octets()];
        match self {
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut salted),
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted),
        }
        Secret::new(salted)
    }
}

/// The keys that verify a SCRAM client. They do not reveal the password.
#[derive(Debug)]
pub struct ScramKeys {
    /// Sent to the client.
    pub salt: Vec<u8>,
    /// Sent to the client: how many times it hashes.
    pub iterations: u32,
    /// The hash of the key that only the client has.
    pub stored_key: Secret<Vec<u8>>,
    /// Proves to the client that the server knows the user.
    pub server_key: Secret<Vec<u8>>,
}

impl ScramKeys {
    /// The length of the salt of new keys.
    pub const SALT_OCTETS: usize = 16;

    /// The fewest iterations that should be used (RFC 7677 §3).
    pub const ITERATIONS: u32 = 4096;

    /// Makes the keys of a password (RFC 5802 §3).
    ///
    /// - The password is prepared with SASLprep, as the client does (RFC 5802 §2.2). One that
    ///   cannot be prepared is used as it is; clients that accept it do the same.
    /// - The time is proportional to `iterations`, so bound them first.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32, hash: ScramHash) -> Self {
        let prepared = saslprep(password);
        let password = prepared.as_ref().map_or(password, |prepared| prepared.expose().as_slice());
        let salted = hash.stretch(password, salt, iterations);
        let client_key = hash.hmac(salted.expose(), b"Client Key");
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: hash.digest(client_key.expose()),
            server_key: hash.hmac(salted.expose(), b"Server Key"),
        }
    }

    /// Keys for an unknown name: they look like those of a user, and no proof matches them.
    ///
    /// - `seed` is a digest of the name with a secret key. So a name gets the same salt each time,
    ///   as a user does, and clients cannot tell that the salt was made up.
    pub fn decoy(seed: &[u8; 32], iterations: u32, hash: ScramHash) -> Self {
        let mut salt = hash.hmac(seed, b"salt").expose().clone();
        salt.truncate(Self::SALT_OCTETS);
        Self {
            salt,
            iterations,
            stored_key: hash.hmac(seed, b"stored key"),
            server_key: hash.hmac(seed, b"server key"),
        }
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn authenticate<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Secret<Vec<u8>> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("any length will do");
    mac.update(message);
    Secret::new(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    /// RFC 5802 §5 and RFC 7677 §3: `pencil` with their salts.
    #[test]
    fn keys_of_the_examples() {
        for (hash, salt, stored_key, server_key) in [
            (
                ScramHash::Sha1,
                "QSXCR+Q6sek8bf92",
                "6dlGYMOdZcOPutkcNY8U2g7vK9Y=",
                "D+CSWLOshSulAsxiupA+qs2/fTE=",
            ),
            (
                ScramHash::Sha256,
                "W22ZaJ0SNY7soEsUEjb6gQ==",
                "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
                "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
            ),
        ] {
            let keys = ScramKeys::derive(b"pencil", &STANDARD.decode(salt).unwrap(), 4096, hash);
            assert_eq!(STANDARD.encode(keys.stored_key.expose()), stored_key);
            assert_eq!(STANDARD.encode(keys.server_key.expose()), server_key);
        }
    }

    #[test]
    fn passwords_that_look_alike_have_the_same_keys() {
        let keys = |password: &str| {
            let keys = ScramKeys::derive(password.as_bytes(), b"salt", 1, ScramHash::Sha256);
            keys.stored_key.expose().clone()
        };
        assert_eq!(keys("I\u{ad}X"), keys("\u{2168}"));
        assert_ne!(keys("IX"), keys("ix"));
        assert_ne!(keys("\u{7}"), keys("\u{8}"));
    }

    #[test]
    fn a_decoy_has_the_shape_of_keys_and_stays_the_same() {
        for hash in [ScramHash::Sha1, ScramHash::Sha256] {
            let decoy = ScramKeys::decoy(&[7; 32], 4096, hash);
            assert_eq!((decoy.salt.len(), decoy.iterations), (ScramKeys::SALT_OCTETS, 4096));
            assert_eq!(decoy.stored_key.expose().len(), hash.octets());
            assert_eq!(decoy.server_key.expose().len(), hash.octets());
            assert_eq!(decoy.salt, ScramKeys::decoy(&[7; 32], 4096, hash).salt);
            assert_ne!(decoy.salt, ScramKeys::decoy(&[8; 32], 4096, hash).salt);
        }
        // The keys of one user for two hash functions have different salts.
        let salt = |hash| ScramKeys::decoy(&[7; 32], 4096, hash).salt;
        assert_ne!(salt(ScramHash::Sha1), salt(ScramHash::Sha256));
    }
}
