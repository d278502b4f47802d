//! Logins by SCRAM (RFC 5802 §3): the keys of a user, or decoy keys, and the proof of the client.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::{debug, info};

use super::authenticator::{admit, fail};
use super::throttle::Attempt;
use super::turns::Caller;
use super::{Authenticator, Identity, Reason, Refusal, random};
use crate::credentials::{Attributes, CredentialStore};
use crate::limits::Entry;
use crate::password::Verifier;
use crate::protocol::sasl::{
    Awaiting, Nonce, ScramExchange, ScramHash, ScramKeys, ScramProof, ServerFinal,
};
use crate::protocol::{ClaimedName, Secret, Username};

/// A login by SCRAM that waits for the proof of the client. If it is dropped, it has failed, as the
/// server has done work for it.
#[derive(Debug)]
pub struct ScramLogin {
    found: Found,
    pending: Pending,
}

/// The keys that a proof is verified with.
#[derive(Debug)]
struct Found {
    keys: ScramKeys,
    /// The user of the keys; `None` for decoy keys.
    account: Option<(Username, Attributes)>,
}

/// The attempt, until the proof comes.
#[derive(Debug)]
struct Pending {
    name: ClaimedName,
    peer: IpAddr,
    attempt: Option<Attempt>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let attempt = self.attempt.as_ref();
        if attempt.is_some_and(|attempt| attempt.logs(self.peer, Entry::Refusal)) {
            info!(user = %self.name, "a login was given up before its proof");
        }
    }
}

impl<C: CredentialStore> Authenticator<C> {
    /// Continues an exchange with the keys of its user.
    ///
    /// - For a user without such keys, and for an unknown name, it uses decoy keys, which no proof
    ///   fits, at the cost of a known user. The salt of a name stays the same while the process runs.
    /// - Waits first as long as earlier failures demand.
    ///
    /// # Errors
    /// [`Refusal::Throttled`], [`Refusal::Unavailable`], [`Refusal::Overloaded`].
    pub async fn begin_scram(
        &self,
        awaiting: Awaiting,
        peer: IpAddr,
    ) -> Result<(ScramExchange, ScramLogin), Refusal> {
        let (name, hash) = (awaiting.name().clone(), awaiting.hash());
        let mut attempt = self.take_turn(peer, Some(&name)).await?;
        let found = self.find_keys(&name, hash, peer, &mut attempt).await;
        let found = found.map_err(|why| Refusal::of(&name, why))?;
        let random =
            random::octets().map_err(|why| Refusal::of(&name, Reason::unavailable(why)))?;
        // In place of a proof, which may not come. No other exchange has the same octets.
        attempt.begin_check(&Arc::new(Secret::new(random.to_vec())));
        let exchange = awaiting.supply(&found.keys, &Nonce::new(random));
        let pending = Pending { name, peer, attempt: Some(attempt) };
        Ok((exchange, ScramLogin { found, pending }))
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
        let ScramLogin { found: Found { keys, account }, mut pending } = login;
        let attempt = pending.attempt.take().ok_or(Refusal::BadCredentials)?;
        // Each exchange has another proof, so a repeated password cannot be recognised.
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
        admitted
            .map(|identity| (identity, server_final))
            .map_err(|reason| Refusal::of(&name, reason))
    }

    async fn find_keys(
        &self,
        name: &ClaimedName,
        hash: ScramHash,
        peer: IpAddr,
        attempt: &mut Attempt,
    ) -> Result<Found, Reason> {
        let caller = Caller::new(Some(peer), Some(attempt));
        let decoy = |iterations| -> Result<_, Reason> {
            let seed = seed(name.as_bytes())?;
            Ok(ScramKeys::decoy(&seed, iterations, hash))
        };
        let salt = decoy(ScramKeys::ITERATIONS)?.salt;
        let username = Username::try_from(name).ok();
        if let Some(username) = &username
            && let Some(account) = self.known(username, Some(attempt)).await?
        {
            // SCRAM takes no app passwords: each one is wrong.
            if let Verifier::Unusable(why) = &account.verifier
                && !account.takes_only_app_passwords()
            {
                return Err(Reason::unavailable(why));
            }
            match self.keys_of(account.verifier, hash, &salt, caller).await? {
                Some(keys) => {
                    let account = Some((username.clone(), account.attributes));
                    return Ok(Found { keys, account });
                }
                None => debug!(user = %name, "has a password, but no keys for SCRAM"),
            }
        }
        // The same work and the same iterations as for a known user.
        let example = username.and_then(|name| self.decoy(&name));
        let example = match example {
            Some((_, verifier)) => self.keys_of(verifier, hash, &salt, caller).await?,
            None => None,
        };
        let keys = decoy(example.map_or(ScramKeys::ITERATIONS, |keys| keys.iterations))?;
        Ok(Found { keys, account: None })
    }

    /// The keys that a verifier has, or that are made from its password.
    async fn keys_of(
        &self,
        verifier: Verifier,
        hash: ScramHash,
        salt: &[u8],
        caller: Caller,
    ) -> Result<Option<ScramKeys>, Reason> {
        match verifier {
            Verifier::Scram(_) => Ok(verifier.scram(hash, salt)),
            Verifier::Plain(_) => {
                let salt = salt.to_vec();
                self.in_turn(caller, move || verifier.scram(hash, &salt)).await
            }
            Verifier::Hash(..) | Verifier::AtStore(_) | Verifier::Unusable(_) => Ok(None),
        }
    }
}

/// The seed of a decoy salt. It stays the same for each name while the process runs.
fn seed(name: &[u8]) -> Result<[u8; 32], Reason> {
    static KEY: OnceLock<Secret<[u8; 32]>> = OnceLock::new();
    let key = match KEY.get() {
        Some(key) => key,
        None => {
            let fresh = Secret::new(random::octets().map_err(Reason::unavailable)?);
            KEY.get_or_init(|| fresh)
        }
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).map_err(Reason::unavailable)?;
    mac.update(&name.to_ascii_lowercase());
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::credentials::Table;
    use crate::login::{Rules, Throttle};
    use crate::protocol::sasl::{Channel, Mechanism, Step};

    /// Begins a login of `mrose`; returns how long it took.
    async fn begin(
        authenticator: &Authenticator<Table>,
    ) -> Result<(Duration, ScramLogin), Refusal> {
        let first = Secret::new(b"n,,n=mrose,r=abc".to_vec());
        let Step::NeedKeys(awaiting) = Mechanism::ScramSha256.begin(Channel::default()).step(first)
        else {
            panic!()
        };
        let begun = Instant::now();
        let peer = "192.0.2.1".parse().unwrap();
        let (_, login) = authenticator.begin_scram(awaiting, peer).await?;
        Ok((begun.elapsed(), login))
    }

    #[tokio::test(start_paused = true)]
    async fn an_exchange_without_a_proof_is_a_failure_and_the_next_one_waits() {
        let settings = crate::config::ThrottleSection {
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(15),
            forget_after: Duration::from_secs(600),
            trusted: Vec::new(),
        };
        let throttle = Arc::new(Throttle::new(settings, 100));
        let keys = "mrose:{SCRAM-SHA-256}4096,lM3TOSIUFchasAiAMXLJog==,dkxLqgv7gR1Ti4eYesgCq4vfY03k\
             RCTlo1JausQB+sQ=,EVrZeovszWWC08KpabtyQLPxZLbTZPagxwpT9FF/WWc=\n";
        let table = Table::try_from(keys.as_bytes()).unwrap();
        let authenticator = Authenticator::new(vec![table], Rules::default(), throttle).unwrap();
        for waited in [0, 1, 2, 4, 8, 15, 15] {
            let (delay, login) = begin(&authenticator).await.unwrap();
            assert_eq!(delay.as_secs(), waited);
            drop(login);
        }
        // Many at once wait as well.
        let _first = begin(&authenticator).await.unwrap();
        let _second = begin(&authenticator).await.unwrap();
        let begun = Instant::now();
        let third = begin(&authenticator).await;
        assert!(third.is_err() || begun.elapsed() >= Duration::from_secs(15));
    }
}
