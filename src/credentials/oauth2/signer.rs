//! With which algorithm and which key a token claims to be signed (RFC 7515, RFC 7518).

use jsonwebtoken::Algorithm;

use super::error::TokenError;
use super::peer_text::PeerText;

/// The algorithm and the key with which a token claims to be signed.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    pub(super) key: Option<String>,
}

impl Signer {
    /// Takes the `alg` and `kid` of a token.
    ///
    /// - An algorithm with a shared secret is not accepted: the public key could be used as the
    ///   secret (RFC 8725 §3.1).
    pub(super) fn new(algorithm: &str, key: Option<String>) -> Result<Self, TokenError> {
        match accepted(algorithm) {
            Some(algorithm) => Ok(Self { algorithm, key }),
            None => Err(TokenError::Algorithm(PeerText::new(algorithm, MOST_SHOWN))),
        }
    }
}

/// The algorithm with this name, if it is accepted.
pub(super) fn accepted(name: &str) -> Option<Algorithm> {
    let known = ACCEPTED.iter().find(|(known, _)| *known == name);
    known.map(|(_, algorithm)| *algorithm)
}

/// Algorithms with a key pair; neither `none`, nor those with a shared secret (RFC 8725 §3.1).
const ACCEPTED: [(&str, Algorithm); 10] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    // RFC 9864 §2.2
    ("Ed25519", Algorithm::EdDSA),
];

/// How much of the name of an algorithm is shown. Any client can choose one.
const MOST_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_that_are_not_accepted() {
        for algorithm in ["none", "None", "HS256", "HS512", "rs256", "", "ES512", "\u{1b}[2J"] {
            let why = Signer::new(algorithm, None).unwrap_err().to_string();
            assert!(why.contains("not accepted") && !why.contains('\u{1b}'), "{why}");
        }
        let long = Signer::new(&"x".repeat(1000), None).unwrap_err().to_string();
        assert!(long.contains(&format!("algorithm {}, which", "x".repeat(20))), "{long}");
    }
}
