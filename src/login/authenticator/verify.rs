//! The verification of one password: by the cache, by the store, or by its hash.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::timeout;

use super::{Asked, Authenticator};
use crate::credentials::{Account, Attributes, Check, CredentialStore, Decoy};
use crate::login::Reason;
use crate::login::turns::{Caller, Standing};
use crate::password::{Cost, Verifier};
use crate::password::{SUBSTITUTE, compare, is_acceptable};
use crate::protocol::{Secret, Username};
use crate::threads;

impl<C: CredentialStore> Authenticator<C> {
    /// Does the work of a verification for a user whom no store knows, so that it costs the same.
    pub(super) async fn spend(
        &self,
        name: &Username,
        password: &Arc<Secret<Vec<u8>>>,
        asked: Asked,
        caller: Caller,
    ) -> Result<(), Reason> {
        // A decoy is the verifier of some user, so the result does not count.
        match (self.decoy(name), asked) {
            (Some((store, decoy)), _) => {
                self.verify((store, name, &Account::new(decoy)), password, caller).await.map(drop)
            }
            (None, Asked::Store) => Ok(()),
            (None, Asked::NoStore) => {
                self.compare_in_turn(Verifier::costly(), password, caller).await.map(drop)
            }
        }
    }

    /// The verifier for a name that no store knows, and the store that it comes from.
    pub(in crate::login) fn decoy(&self, name: &Username) -> Option<(&C, Verifier)> {
        let decoys = self.stores.iter().filter_map(|store| Some((store, store.decoy(name)?)));
        let (store, decoy) = Decoy::among(name, decoys.collect())?;
        Some((store, decoy.verifier))
    }

    /// Asks the cache whether the password was right lately. If not, verifies it; a right password is
    /// remembered, and the store may replace its hash by a stronger one.
    pub(super) async fn check_password(
        &self,
        (nth, store, name, account): (usize, &C, &Username, &Account),
        password: &Arc<Secret<Vec<u8>>>,
        peer: Option<IpAddr>,
        caller: Caller,
    ) -> Result<Option<Attributes>, Reason> {
        let allows = |attributes: &Attributes| peer.is_none_or(|peer| attributes.allow(peer));
        if !allows(&account.attributes) {
            return self.verify((store, name, account), password, caller).await;
        }
        let cache =
            self.cache.as_ref().filter(|_| account.verifier.cost() != Some(Cost::Negligible));
        let context = cache.map(|cache| (cache, account.verifier.fingerprint(nth)));
        if let Some((cache, context)) = &context
            && let Some(attributes) = cache.knows(name, context, password)
            && allows(&attributes)
        {
            return Ok(Some(attributes));
        }
        let verified = self.verify((store, name, account), password, caller).await?;
        // Some stores have the networks of the user only now.
        if let Some(attributes) = verified.as_ref().filter(|attributes| allows(attributes)) {
            if let Some((cache, context)) = &context {
                cache.remember(name, context, password, attributes.clone());
            }
            store.strengthen(name, &account.verifier, password).await;
        }
        Ok(verified)
    }

    /// The attributes of the user if the password is right, `None` if it is wrong.
    async fn verify(
        &self,
        (store, name, account): (&C, &Username, &Account),
        password: &Arc<Secret<Vec<u8>>>,
        caller: Caller,
    ) -> Result<Option<Attributes>, Reason> {
        match &account.verifier {
            Verifier::Unusable(why) => Err(Reason::unavailable(why)),
            Verifier::AtStore(_) => {
                let substitute = Secret::new(SUBSTITUTE.to_vec());
                let acceptable = is_acceptable(password);
                let password = if acceptable { password.as_ref() } else { &substitute };
                self.verifications.fetch_add(1, Ordering::Relaxed);
                match store.check(name, account, password).await {
                    Check::Right(attributes) => Ok(Some(attributes).filter(|_| acceptable)),
                    Check::Wrong => Ok(None),
                    Check::Unavailable(why) => Err(Reason::unavailable(why)),
                }
            }
            verifier @ (Verifier::Plain(_) | Verifier::Hash(..) | Verifier::Scram(_)) => {
                let right = self.compare_in_turn(verifier.clone(), password, caller).await?;
                Ok(right.then(|| account.attributes.clone()))
            }
        }
    }

    /// Compares the password with a verifier: at once if that is cheap, else when it has a turn.
    async fn compare_in_turn(
        &self,
        verifier: Verifier,
        password: &Arc<Secret<Vec<u8>>>,
        caller: Caller,
    ) -> Result<bool, Reason> {
        if verifier.cost() == Some(Cost::Negligible) {
            self.verifications.fetch_add(1, Ordering::Relaxed);
            return compare(&verifier, password).map_err(Reason::unavailable);
        }
        let (verifications, password) = (Arc::clone(&self.verifications), Arc::clone(password));
        let compared = self.in_turn(caller, move || {
            verifications.fetch_add(1, Ordering::Relaxed);
            compare(&verifier, &password)
        });
        let is_right = compared.await?.map_err(Reason::unavailable)?;
        if !is_right && caller.standing == Standing::Known {
            self.wait_as_new(caller.peer).await;
        }
        Ok(is_right)
    }

    /// Waits for a turn of a new pair and gives it up: the time of the answer to a wrong password must
    /// not reveal that the caller is known.
    async fn wait_as_new(&self, peer: IpAddr) {
        let new = Caller { peer, standing: Standing::New };
        drop(timeout(self.wait, self.turns.take(new)).await);
    }

    /// Waits for a turn and does work that takes a processor for a while. Work that has begun is
    /// finished even if the future is dropped.
    pub(in crate::login) async fn in_turn<T: Send + 'static>(
        &self,
        caller: Caller,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Reason> {
        let turn = timeout(self.wait, self.turns.take(caller)).await;
        let turn = turn.map_err(|_elapsed| Reason::Overloaded)?;
        let done = threads::hashes().run(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|why| Reason::unavailable(format!("a password was not hashed: {why}")))
    }
}
