//! The verification of one password: from the cache, by the store, or here, when its turn comes.

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
    /// Does the work of a verification for a user whom no store knows.
    pub(super) async fn spend(
        &self,
        name: &Username,
        password: &Arc<Secret<Vec<u8>>>,
        asked: Asked,
        caller: Caller,
    ) -> Result<(), Reason> {
        // A decoy is some user's verifier: that it matches must not count.
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

    /// What is verified for a name that no store knows, and the store that it is of.
    pub(in crate::login) fn decoy(&self, name: &Username) -> Option<(&C, Verifier)> {
        let decoys = self.stores.iter().filter_map(|store| Some((store, store.decoy(name)?)));
        let (store, decoy) = Decoy::among(name, decoys.collect())?;
        Some((store, decoy.verifier))
    }

    /// Asks the cache whether the password was right lately, verifies it otherwise; remembers the
    /// right one, and lets the store replace its hash by a stronger one.
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
        // Some stores say only now where the user may log in from.
        if let Some(attributes) = verified.as_ref().filter(|attributes| allows(attributes)) {
            if let Some((cache, context)) = &context {
                cache.remember(name, context, password, attributes.clone());
            }
            store.strengthen(name, &account.verifier, password).await;
        }
        Ok(verified)
    }

    /// What the store says of the user when the password is right, `None` when it is wrong.
    async fn verify(
        &self,
        (store, name, account): (&C, &Username, &Account),
        password: &Arc<Secret<Vec<u8>>>,
        caller: Caller,
    ) -> Result<Option<Attributes>, Reason> {
        match &account.verifier {
            Verifier::Unusable(why) => Err(unavailable(why)),
            Verifier::AtStore(_) => {
                let substitute = Secret::new(SUBSTITUTE.to_vec());
                let acceptable = is_acceptable(password);
                let password = if acceptable { password.as_ref() } else { &substitute };
                self.verifications.fetch_add(1, Ordering::Relaxed);
                match store.check(name, account, password).await {
                    Check::Right(attributes) => Ok(Some(attributes).filter(|_| acceptable)),
                    Check::Wrong => Ok(None),
                    Check::Unavailable(why) => Err(Reason::Unavailable(why.to_string())),
                }
            }
            verifier @ (Verifier::Plain(_) | Verifier::Hash(..) | Verifier::Scram(_)) => {
                let right = self.compare_in_turn(verifier.clone(), password, caller).await?;
                Ok(right.then(|| account.attributes.clone()))
            }
        }
    }

    /// Compares the password with a verifier: at once when that is cheap, else in its turn.
    async fn compare_in_turn(
        &self,
        verifier: Verifier,
        password: &Arc<Secret<Vec<u8>>>,
        caller: Caller,
    ) -> Result<bool, Reason> {
        if verifier.cost() == Some(Cost::Negligible) {
            self.verifications.fetch_add(1, Ordering::Relaxed);
            return compare(&verifier, password).map_err(|error| unavailable(&error));
        }
        let (verifications, password) = (Arc::clone(&self.verifications), Arc::clone(password));
        let compared = self.in_turn(caller, move || {
            verifications.fetch_add(1, Ordering::Relaxed);
            compare(&verifier, &password)
        });
        let is_right = compared.await?.map_err(|error| unavailable(&error))?;
        if !is_right && caller.standing == Standing::Known {
            self.wait_as_stranger(caller.peer).await;
        }
        Ok(is_right)
    }

    /// Waits for a turn and lets it go: who is known is answered when a stranger would be, so that
    /// nobody learns by a wrong password who is.
    async fn wait_as_stranger(&self, peer: IpAddr) {
        let stranger = Caller { peer, standing: Standing::Stranger };
        drop(timeout(self.wait, self.turns.take(stranger)).await);
    }

    /// Does what takes a processor for a while, when its turn comes. Once begun it is finished.
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
        done.await.map_err(|why| Reason::Unavailable(format!("a password was not hashed: {why}")))
    }
}

fn unavailable(error: &impl ToString) -> Reason {
    Reason::Unavailable(error.to_string())
}
