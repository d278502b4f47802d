//! Log-ins by SCRAM: the keys of a user, or such as look like some, and the proof that fits them
//! (RFC 5802 §3).

use std::net::IpAddr;
use std::sync::OnceLock;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::{debug, info};

use super::authenticator::{admit, fail};
use super::{
    Attributes, Authenticator, CredentialStore, Identity, Reason, Refusal, Verifier, random,
};
use crate::protocol::sasl::{
    Awaiting, Nonce, ScramExchange, ScramHash, ScramKeys, ScramProof, ServerFinal,
};
use crate::protocol::{ClaimedName, Secret, Username};

/// A log-in by SCRAM that waits for the proof of the client.
#[derive(Debug)]
pub struct ScramLogin {
    keys: ScramKeys,
    /// Whose keys they are; nobody's when they only look like some.
    account: Option<(Username, Attributes)>,
}

impl<C: CredentialStore> Authenticator<C> {
    /// Finds the keys of the user that an exchange is about, and goes on with it.
    ///
    /// - For a user without such keys, and for a name that nobody has, it goes on with keys that no
    ///   proof fits, at the cost of a known user. The salt of a name stays the same for as long as
    ///   the process runs.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`], [`Refusal::Overloaded`].
    pub async fn begin_scram(
        &self,
        awaiting: Awaiting,
    ) -> Result<(ScramExchange, ScramLogin), Refusal> {
        let (name, hash) = (awaiting.name().clone(), awaiting.hash());
        let login = self.find_keys(&name, hash).await.map_err(|why| Refusal::of(&name, why))?;
        let random =
            random::octets().map_err(|why| Refusal::of(&name, Reason::Unavailable(why)))?;
        let exchange = awaiting.supply(&login.keys, &Nonce::new(random));
        Ok((exchange, login))
    }

    /// Verifies the proof of the client.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub async fn end_scram(
        &self,
        login: ScramLogin,
        proof: ScramProof,
        peer: IpAddr,
    ) -> Result<(Identity, ServerFinal), Refusal> {
        let name = proof.name().clone();
        let attempt = self.take_turn(peer, Some(&name)).await?;
        let ScramLogin { keys, account } = login;
        // Each exchange has a proof of its own: that it is the same password again cannot be seen.
        let guess = Secret::new(proof.proof().to_vec());
        let (Some(server_final), Some((username, attributes))) = (proof.verify(&keys), account)
        else {
            debug!(user = %name, "refused: the proof does not fit");
            return Err(fail(attempt, &guess).await.err().unwrap_or(Refusal::BadCredentials));
        };
        let admitted = admit(username, attributes, Some(peer));
        match &admitted {
            Err(reason @ Reason::NotFromThere) => {
                info!(user = %name, "refused: {reason}");
                fail(attempt, &guess).await?;
            }
            Ok(_) | Err(_) => attempt.succeeded(),
        }
        admitted.map(|it| (it, server_final)).map_err(|reason| Refusal::of(&name, reason))
    }

    async fn find_keys(&self, name: &ClaimedName, hash: ScramHash) -> Result<ScramLogin, Reason> {
        let decoy = |iterations| -> Result<_, Reason> {
            let seed = seed(name.as_bytes()).map_err(Reason::Unavailable)?;
            Ok(ScramKeys::decoy(&seed, iterations, hash))
        };
        let salt = decoy(ScramKeys::ITERATIONS)?.salt;
        let username = Username::try_from(name).ok();
        if let Some(username) = &username
            && let Some(account) = self.known(username).await?
        {
            if let Verifier::Unusable(why) = account.verifier {
                return Err(Reason::Unavailable(why.to_string()));
            }
            match self.keys_of(account.verifier, hash, &salt).await? {
                Some(keys) => {
                    let account = Some((username.clone(), account.attributes));
                    return Ok(ScramLogin { keys, account });
                }
                None => debug!(user = %name, "has a password, but no keys for SCRAM"),
            }
        }
        // The same work as for a user, and as many iterations as one has.
        let example = username.and_then(|name| self.stores().iter().find_map(|s| s.decoy(&name)));
        let example = match example {
            Some(verifier) => self.keys_of(verifier, hash, &salt).await?,
            None => None,
        };
        let keys = decoy(example.map_or(ScramKeys::ITERATIONS, |keys| keys.iterations))?;
        Ok(ScramLogin { keys, account: None })
    }

    /// The keys that a verifier has or that can be made of it.
    async fn keys_of(
        &self,
        verifier: Verifier,
        hash: ScramHash,
        salt: &[u8],
    ) -> Result<Option<ScramKeys>, Reason> {
        match verifier {
            Verifier::Scram(_) => Ok(verifier.scram(hash, salt)),
            Verifier::Plain(_) => {
                let salt = salt.to_vec();
                self.in_turn(move || verifier.scram(hash, &salt)).await
            }
            Verifier::Hash(..) | Verifier::AtStore(_) | Verifier::Unusable(_) => Ok(None),
        }
    }
}

/// What the salt of a name is made of: the same for each name as long as the process runs.
fn seed(name: &[u8]) -> Result<[u8; 32], String> {
    static KEY: OnceLock<Secret<[u8; 32]>> = OnceLock::new();
    let key = match KEY.get() {
        Some(key) => key,
        None => {
            let fresh = Secret::new(random::octets()?);
            KEY.get_or_init(|| fresh)
        }
    };
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose()).map_err(|error| error.to_string())?;
    mac.update(&name.to_ascii_lowercase());
    Ok(mac.finalize().into_bytes().into())
}
