//! SCRAM: the client proves that it has the password, and the server that it has the keys of the
//! user (RFC 5802 §5, RFC 7677 §3).
//!
//! The steps of an exchange. Each consumes the one before it, so that none can be skipped:
//! 1. [`First`] reads `client-first-message` and yields [`Awaiting`].
//! 2. The caller supplies the keys of the user, which yields a [`ScramExchange`] with a challenge.
//! 3. It reads `client-final-message`, whose [`ScramProof`] is verified with the same keys.
//! 4. The [`ServerFinal`] of a correct proof is the last challenge. Its response is empty.
//!
//! If a message is wrong, the exchange ends with `-ERR` and without `e=`, as RFC 5802 §5.1 allows:
//! one more round would be of no use to a client, and might tell an attacker something.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use super::gs2::{self, Flag};
use super::{Channel, ResponseError, ScramHash, ScramKeys, Step, saslprep};
use crate::protocol::{ClaimedName, Secret};

/// Waits for `client-first-message`.
#[derive(Debug)]
pub(super) struct First {
    pub(super) hash: ScramHash,
    pub(super) variant: Variant,
    pub(super) channel: Channel,
}

/// Whether the mechanism is one of the -PLUS ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// Without channel binding.
    Bare,
    /// With it.
    Plus,
}

impl First {
    pub(super) fn step(self, response: &[u8]) -> Step {
        match self.read(response) {
            Ok(awaiting) => Step::NeedKeys(awaiting),
            Err(error) => Step::Refused(error),
        }
    }

    /// ```abnf
    /// client-first-message      = gs2-header client-first-message-bare
    /// client-first-message-bare = username "," nonce ["," extensions]
    /// username                  = "n=" saslname
    /// nonce                     = "r=" 1*( %x21-2B / %x2D-7E )
    /// ```
    fn read(self, response: &[u8]) -> Result<Awaiting, ResponseError> {
        use ResponseError::{ForAnother, Malformed};
        if response.len() > MAX_FIRST_OCTETS {
            return Err(Malformed);
        }
        let message = std::str::from_utf8(response).map_err(|_| Malformed)?;
        let (header, bare) = gs2::read(message).ok_or(Malformed)?;
        let mut binding = header.octets.as_bytes().to_vec();
        binding.extend_from_slice(self.bind(header.flag)?);

        let mut attributes = bare.split(',');
        let mut next = |name| attributes.next().and_then(|own: &str| own.strip_prefix(name));
        let (name, nonce) = next("n=").zip(next("r=")).ok_or(Malformed)?;
        let name = prepared(name).ok_or(Malformed)?;
        if !is_nonce(nonce) || !attributes.all(is_extension) {
            return Err(Malformed);
        }
        if let Some(acts_as) = header.acts_as {
            let acts_as = prepared(acts_as).ok_or(Malformed)?;
            if !acts_as.as_bytes().eq_ignore_ascii_case(name.as_bytes()) {
                return Err(ForAnother);
            }
        }
        Ok(Awaiting {
            hash: self.hash,
            name,
            binding: STANDARD.encode(binding),
            nonce: nonce.to_owned(),
            first_bare: bare.to_owned(),
        })
    }

    /// The data that the client binds to; empty if it does not bind (RFC 5802 §6).
    fn bind(&self, flag: Flag<'_>) -> Result<&[u8], ResponseError> {
        match (self.variant, flag) {
            (Variant::Plus, Flag::Binds(name)) => {
                self.channel.data(name).ok_or(ResponseError::Unbound)
            }
            // An attacker in between has removed the -PLUS mechanisms from the list.
            (_, Flag::NotOffered) if self.channel.binds() => Err(ResponseError::Downgraded),
            (Variant::Bare, Flag::Unable | Flag::NotOffered) => Ok(&[]),
            (Variant::Plus, Flag::Unable | Flag::NotOffered) | (Variant::Bare, Flag::Binds(_)) => {
                Err(ResponseError::Unbound)
            }
        }
    }
}

/// The client has sent a name; the exchange goes on with the keys of that user.
///
/// - For an unknown name, supply [`ScramKeys::decoy`]: the exchange then takes the same course, and
///   fails where it would with a wrong password.
#[derive(Debug)]
pub struct Awaiting {
    hash: ScramHash,
    name: ClaimedName,
    /// The value that `c=` must have.
    binding: String,
    /// The client's part of the nonce.
    nonce: String,
    first_bare: String,
}

impl Awaiting {
    /// The user, prepared by SASLprep.
    pub fn name(&self) -> &ClaimedName {
        &self.name
    }

    /// The same exchange with the full name of the user. The messages that the proof signs do not
    /// change.
    #[must_use]
    pub fn about(self, name: ClaimedName) -> Self {
        Self { name, ..self }
    }

    /// The hash function of the keys that are needed.
    pub fn hash(&self) -> ScramHash {
        self.hash
    }

    /// Continues with a challenge that tells the client the salt and the iterations.
    ///
    /// ```abnf
    /// server-first-message = nonce "," salt "," iteration-count
    /// ```
    pub fn supply(self, keys: &ScramKeys, nonce: &Nonce) -> ScramExchange {
        let nonce = format!("r={}{}", self.nonce, nonce.0);
        let challenge = format!("{nonce},s={},i={}", STANDARD.encode(&keys.salt), keys.iterations);
        ScramExchange { first: self, nonce, challenge }
    }
}

/// The part of a nonce that the server adds: printable, without a comma (RFC 5802 §5.1).
#[derive(Debug)]
pub struct Nonce(String);

impl Nonce {
    /// Makes a nonce from random octets. Use new ones for each exchange.
    pub fn new(random: [u8; 18]) -> Self {
        Self(STANDARD.encode(random))
    }
}

/// Waits for `client-final-message`.
#[derive(Debug)]
pub struct ScramExchange {
    first: Awaiting,
    /// The whole attribute `r=` that the client must send.
    nonce: String,
    challenge: String,
}

impl ScramExchange {
    /// The challenge to send before the response, not yet in base64.
    pub fn challenge(&self) -> &[u8] {
        self.challenge.as_bytes()
    }

    /// Takes the response, decoded.
    ///
    /// # Errors
    /// [`ResponseError`] if it cannot be a proof.
    ///
    /// ```abnf
    /// client-final-message               = client-final-message-without-proof "," proof
    /// client-final-message-without-proof = channel-binding "," nonce ["," extensions]
    /// channel-binding                    = "c=" base64
    /// proof                              = "p=" base64
    /// ```
    pub fn step(self, response: &Secret<Vec<u8>>) -> Result<ScramProof, ResponseError> {
        use ResponseError::{Malformed, Unbound};
        let Self { first, nonce: expected, challenge } = self;
        let message = std::str::from_utf8(response.expose()).map_err(|_| Malformed)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Malformed)?;
        let proof = STANDARD.decode(proof).map(Secret::new).map_err(|_| Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|own| own.strip_prefix("c=")).ok_or(Malformed)?;
        let nonce = attributes.next().ok_or(Malformed)?;
        if nonce != expected
            || proof.expose().len() != first.hash.octets()
            || !attributes.all(is_extension)
        {
            return Err(Malformed);
        }
        // RFC 5802 §6: always compared, since it includes the header.
        if binding != first.binding {
            return Err(Unbound);
        }
        let messages = [&first.first_bare, &challenge, without_proof].join(",");
        Ok(ScramProof { hash: first.hash, name: first.name, messages, proof })
    }
}

/// The proof that the client has the password, not yet verified.
#[derive(Debug)]
pub struct ScramProof {
    hash: ScramHash,
    name: ClaimedName,
    /// `AuthMessage` of RFC 5802 §3.
    messages: String,
    proof: Secret<Vec<u8>>,
}

impl ScramProof {
    /// The user, prepared by SASLprep.
    pub fn name(&self) -> &ClaimedName {
        &self.name
    }

    /// The octets of the proof. They differ in each exchange.
    pub fn proof(&self) -> &[u8] {
        self.proof.expose()
    }

    /// Verifies the proof in constant time with the keys that were supplied (RFC 5802 §3).
    ///
    /// - `None`: the client does not have the password.
    pub fn verify(self, keys: &ScramKeys) -> Option<ServerFinal> {
        let messages = self.messages.as_bytes();
        let signature = self.hash.hmac(keys.stored_key.expose(), messages);
        let pairs = self.proof.expose().iter().zip(signature.expose());
        let client_key = Secret::new(pairs.map(|(one, other)| one ^ other).collect::<Vec<u8>>());
        let digest = self.hash.digest(client_key.expose());
        let fits = digest.expose().ct_eq(keys.stored_key.expose());
        let signature = self.hash.hmac(keys.server_key.expose(), messages);
        bool::from(fits).then(|| ServerFinal(format!("v={}", STANDARD.encode(signature.expose()))))
    }
}

/// The proof of the server, which comes before `+OK` (RFC 5034 §4).
#[derive(Debug)]
pub struct ServerFinal(String);

impl ServerFinal {
    /// The last challenge.
    pub fn challenge(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Takes the response of a client that accepts the proof: an empty one. `+OK` follows.
    ///
    /// # Errors
    /// [`ResponseError::Malformed`] if the response is not empty.
    pub fn close(self, response: &[u8]) -> Result<(), ResponseError> {
        if response.is_empty() { Ok(()) } else { Err(ResponseError::Malformed) }
    }
}

/// The name in an attribute, decoded and prepared (RFC 5802 §5.1).
fn prepared(escaped: &str) -> Option<ClaimedName> {
    let prepared = saslprep(gs2::name(escaped)?.as_bytes())?;
    Some(ClaimedName::new(prepared.expose().as_slice()))
}

fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',')
}

/// Whether an attribute is an extension to ignore. `m=` must not be ignored (RFC 5802 §5.1).
fn is_extension(attribute: &str) -> bool {
    let mut characters = attribute.chars();
    let name = characters.next();
    let well_formed = name.is_some_and(|name| name.is_ascii_alphabetic())
        && characters.next() == Some('=')
        && !characters.as_str().is_empty()
        && !attribute.contains('\0');
    well_formed && name != Some('m')
}

/// Enough for two names of 255 octets, all of them escaped, and a nonce.
const MAX_FIRST_OCTETS: usize = 4096;

#[cfg(test)]
mod tests;
