//! The public keys of a provider: fetched, cached, and fetched again when they may have changed
//! (RFC 7517, RFC 8414 §3).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use ureq::http::Uri;

use super::error::{Error, Problem, TokenError};
use super::peer_text::PeerText;
use super::signer::{Signer, accepted};
use super::token::Jwt;
use super::web::Web;
use crate::credentials::breaker::{self, Breaker};

/// The keys of one provider.
///
/// - They are fetched when they are first needed, when they are an hour old, and when a token names
///   a key that is not among them. For the last reason they are fetched at most every 10 s, so that
///   tokens with invented keys do not load the provider.
/// - While the provider is down, the keys are used until they are a day old. An outage overnight
///   locks no user out. A stolen key that the provider has withdrawn works for a day at most, even
///   if the thief can cut us off from the provider.
/// - There is one fetch at a time. All who wait for it share its outcome.
#[derive(Debug)]
pub(super) struct Keyring {
    issuer: String,
    known: RwLock<Option<Arc<KeySet>>>,
    /// Locked during a fetch. When the last fetch that failed ended, and why it failed.
    fetching: Mutex<Option<(Instant, Arc<breaker::Error<Error>>)>>,
}

/// The keys that one fetch found.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    fetched: Instant,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The algorithms that it may be used with.
    algorithms: Vec<Algorithm>,
    verifying: DecodingKey,
}

/// Why a signature is not accepted.
#[derive(Debug)]
pub(super) enum Unverified {
    Bad(TokenError),
    /// The provider's keys are not known.
    Unavailable(Arc<breaker::Error<Error>>),
}

/// The members of the discovery document that are used.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// A set of keys. That of jsonwebtoken fails if it cannot read one of the keys.
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

impl Keyring {
    /// The keys of a provider, before the first fetch.
    pub(super) fn new(issuer: String) -> Self {
        Self { issuer, known: RwLock::default(), fetching: Mutex::default() }
    }

    /// Whether tokens can be verified even if the provider is down.
    pub(super) fn has_keys(&self) -> bool {
        self.known().is_some()
    }

    /// Verifies the signature of a token.
    pub(super) async fn verify(
        &self,
        jwt: &Jwt<'_>,
        web: &Web,
        breaker: &Breaker<Error>,
    ) -> Result<(), Unverified> {
        let signer = jwt.signer().map_err(Unverified::Bad)?;
        let mut down = None;
        let mut known = self.known();
        if known.as_ref().is_none_or(|known| known.fetched.elapsed() >= RENEWED_AFTER) {
            match self.renewed(web, breaker).await {
                Ok(renewed) => known = Some(renewed),
                Err(why) => down = Some(why),
            }
        }
        if let Some(known) = &known {
            if let Some(key) = known.find(&signer) {
                return key.verify(jwt, signer.algorithm);
            }
            if known.fetched.elapsed() < PAUSE {
                return Err(Unverified::Bad(TokenError::UnknownKey));
            }
        }
        // The key may be newer than the last fetch.
        let renewed = match down {
            Some(why) => Err(why),
            None => self.renewed(web, breaker).await,
        };
        match renewed.map_err(Unverified::Unavailable)?.find(&signer) {
            Some(key) => key.verify(jwt, signer.algorithm),
            None => Err(Unverified::Bad(TokenError::UnknownKey)),
        }
    }

    /// Fetches the keys, even if some are known.
    pub(super) async fn fetch(&self, web: &Web) -> Result<Arc<KeySet>, Error> {
        let url = discovery_address(&self.issuer);
        let Discovery { issuer, jwks_uri } = web.fetch(&url).await?;
        // RFC 8414 §3.3
        if issuer != self.issuer {
            let (other, issuer) = (PeerText::new(&issuer, MOST_SHOWN), self.issuer.clone());
            return Err(Error::OtherIssuer { url, other, issuer });
        }
        if !may_hold_keys(&jwks_uri, &self.issuer) {
            let keys = PeerText::new(&jwks_uri, MOST_SHOWN);
            return Err(Error::KeysNotHttps { url, keys });
        }
        let keys = keys(web.fetch(&jwks_uri).await?).map_err(Error::answer(&jwks_uri))?;
        let set = Arc::new(KeySet { keys, fetched: Instant::now() });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&set));
        Ok(set)
    }

    /// Keys from a fetch that ended after this was called.
    async fn renewed(
        &self,
        web: &Web,
        breaker: &Breaker<Error>,
    ) -> Result<Arc<KeySet>, Arc<breaker::Error<Error>>> {
        let asked = Instant::now();
        let mut last = self.fetching.lock().await;
        if let Some(known) = self.known().filter(|known| known.fetched > asked) {
            return Ok(known);
        }
        if let Some((_, why)) = last.as_ref().filter(|(at, _)| *at > asked) {
            return Err(Arc::clone(why));
        }
        let fetched = breaker.call(self.fetch(web)).await;
        if let Err(why) = &fetched {
            *last = Some((Instant::now(), Arc::clone(why)));
        }
        fetched
    }

    /// The keys, unless they are too old.
    fn known(&self) -> Option<Arc<KeySet>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| known.fetched.elapsed() < MOST_AGE)
    }
}

impl KeySet {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key of a signer, if exactly one matches.
    fn find(&self, signer: &Signer) -> Option<&Key> {
        let mut possible = self.keys.iter().filter(|key| {
            let named = signer.key.is_none() || signer.key == key.id;
            named && key.algorithms.contains(&signer.algorithm)
        });
        possible.next().filter(|_| possible.next().is_none())
    }
}

impl Key {
    /// A published key; `None` unless it is for signatures with an accepted algorithm.
    fn new(published: Value) -> Option<Self> {
        let only = published.get("alg").and_then(Value::as_str).map(str::to_owned);
        let jwk: Jwk = serde_json::from_value(published).ok()?;
        let purpose = jwk.common.public_key_use.as_ref();
        if purpose.is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
            return None;
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => RSA.to_vec(),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                vec![Algorithm::ES256]
            }
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
                vec![Algorithm::ES384]
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                vec![Algorithm::EdDSA]
            }
            AlgorithmParameters::EllipticCurve(_)
            | AlgorithmParameters::OctetKeyPair(_)
            | AlgorithmParameters::OctetKey(_)
            | AlgorithmParameters::Other(_)
            | _ => return None,
        };
        if let Some(only) = only {
            algorithms.retain(|algorithm| accepted(&only) == Some(*algorithm));
        }
        let verifying = DecodingKey::from_jwk(&jwk).ok().filter(|_| !algorithms.is_empty())?;
        Some(Self { id: jwk.common.key_id, algorithms, verifying })
    }

    fn verify(&self, jwt: &Jwt<'_>, algorithm: Algorithm) -> Result<(), Unverified> {
        let signed = jwt.signed.as_bytes();
        match jsonwebtoken::crypto::verify(jwt.signature, signed, &self.verifying, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Unverified::Bad(TokenError::Signature)),
        }
    }
}

/// The URL of a provider's discovery document.
pub(super) fn discovery_address(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

fn keys(JwkSet { keys: published }: JwkSet) -> Result<Vec<Key>, Problem> {
    if published.len() > MAX_KEYS {
        return Err(Problem::TooManyKeys { found: published.len(), most: MAX_KEYS });
    }
    let keys: Vec<Key> = published.into_iter().filter_map(Key::new).collect();
    if keys.is_empty() {
        return Err(Problem::NoKey);
    }
    Ok(keys)
}

/// Whether an address is safe to fetch keys from: over https, or on this host if the issuer has no
/// TLS either.
fn may_hold_keys(address: &str, issuer: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else { return false };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some("localhost" | "127.0.0.1" | "[::1]")) => issuer.starts_with("http://"),
        _ => false,
    }
}

/// The algorithms that an RSA key may be used with.
const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// More keys than any provider has.
const MAX_KEYS: usize = 100;

/// How much of an address in the discovery document is shown.
const MOST_SHOWN: usize = 200;

/// How long after a fetch an unknown key does not cause another one.
const PAUSE: Duration = Duration::from_secs(10);

/// The age at which keys are fetched again.
const RENEWED_AFTER: Duration = Duration::from_secs(60 * 60);

/// The age up to which keys are used while the provider is down.
const MOST_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_key_may_be_used_for() {
        let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        let ec = json!({"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB"});
        for (base, changed, algorithms) in [
            (&rsa, json!({}), &RSA[..]),
            (&rsa, json!({"use": "sig", "alg": "PS256"}), &[Algorithm::PS256]),
            (&rsa, json!({"use": "enc"}), &[]),
            (&rsa, json!({"alg": "RSA-OAEP"}), &[]),
            (&rsa, json!({"alg": "ES256"}), &[]),
            (&rsa, json!({"alg": "HS256"}), &[]),
            (&rsa, json!({"n": null}), &[]),
            (&rsa, json!({"n": "+"}), &[]),
            (&rsa, json!({"kid": 1}), &[]),
            (&rsa, json!({"kty": "oct", "k": "AQAB"}), &[]),
            (&ec, json!({}), &[Algorithm::ES256]),
            (&ec, json!({"crv": "P-384"}), &[Algorithm::ES384]),
            (&ec, json!({"crv": "P-384", "alg": "ES256"}), &[]),
            (&ec, json!({"crv": "secp256k1"}), &[]),
            (&ec, json!({"kty": "OKP", "crv": "Ed25519"}), &[Algorithm::EdDSA]),
            (&ec, json!({"kty": "OKP", "crv": "X25519"}), &[]),
        ] {
            let mut published = base.clone();
            for (name, value) in changed.as_object().unwrap() {
                published[name] = value.clone();
            }
            let key = Key::new(published.clone());
            let usable = key.map_or_else(Vec::new, |key| key.algorithms);
            assert_eq!(usable, algorithms, "{published}");
        }
    }

    #[test]
    fn sets_of_keys() {
        let key = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
        let set = |count, key: &Value| keys(JwkSet { keys: vec![key.clone(); count] });
        assert_eq!(set(100, &key).unwrap().len(), 100);
        let why = |count, key| set(count, key).unwrap_err().to_string();
        assert_eq!(why(101, &key), "101 keys are too many, 100 are taken");
        assert!(why(0, &key).contains("no key"));
        assert!(why(3, &json!("key")).contains("no key"));
    }

    #[test]
    fn the_key_that_is_named_or_the_only_one() {
        let key =
            |kid, alg| json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": kid, "alg": alg});
        let published = vec![key("a", "RS256"), key("b", "RS256"), key("b", "PS256")];
        let keys = keys(JwkSet { keys: published }).unwrap();
        let set = KeySet { keys, fetched: Instant::now() };
        for (algorithm, named, found) in [
            ("RS256", Some("a"), Some("a")),
            ("RS256", Some("b"), Some("b")),
            ("PS256", Some("a"), None),
            ("RS256", Some("c"), None),
            ("PS256", None, Some("b")),
            ("RS256", None, None),
            ("RS384", None, None),
        ] {
            let signer = Signer::new(algorithm, named.map(str::to_owned)).unwrap();
            let key = set.find(&signer).map(|key| key.id.as_deref().unwrap());
            assert_eq!(key, found, "{algorithm} {named:?}");
        }
    }

    #[test]
    fn ed25519_by_either_name() {
        let key = |alg| json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAB", "alg": alg});
        for name in ["EdDSA", "Ed25519"] {
            let keys = keys(JwkSet { keys: vec![key("EdDSA"), json!({"kty": "oct"})] }).unwrap();
            let set = KeySet { keys, fetched: Instant::now() };
            assert!(set.find(&Signer::new(name, None).unwrap()).is_some(), "{name}");
            assert!(Key::new(key(name)).is_some(), "{name}");
        }
        assert!(Key::new(key("Ed448")).is_none());
    }

    #[test]
    fn addresses_of_keys() {
        let (there, here) = ("https://login.example.org", "http://127.0.0.1:3000");
        for (address, issuer, may) in [
            ("https://keys.example.org/jwks", there, true),
            ("https://keys.example.org/jwks", here, true),
            ("http://localhost:3000/jwks", here, true),
            ("http://[::1]:3000/jwks", here, true),
            ("http://localhost:3000/jwks", there, false),
            ("http://keys.example.org/jwks", here, false),
            ("http://127.0.0.1@keys.example.org/jwks", here, false),
            ("file:///etc/passwd", here, false),
            ("jwks", here, false),
            ("", here, false),
        ] {
            assert_eq!(may_hold_keys(address, issuer), may, "{address}");
        }
    }
}
