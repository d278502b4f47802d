//! The verification of one password: as an app password, by the cache, by the store, or by its hash.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::timeout;

use super::{Asked, Authenticator};
use crate::credentials::{
    Account, AppPasswordName, AppPasswords, Attributes, Check, CredentialStore, Decoy,
};
use crate::login::Reason;
use crate::login::turns::{Caller, Standing};
use crate::password::{Cost, Verifier};
use crate::password::{SUBSTITUTE, compare, is_acceptable};
use crate::protocol::{Secret, Username};
use crate::threads;

/// A password that is right.
pub(super) struct Right {
    /// What the store says of the user.
    pub(super) attributes: Attributes,
    /// Which app password it is; `None` for the user's own password.
    pub(super) app_password: Option<AppPasswordName>,
}

impl<C: CredentialStore> Authenticator<C> {
    /// Does the work of a login for a user whom no store knows, so that it costs the same.
    pub(super) async fn spend_on_unknown(
        &self,
        name: &Username,
        password: &Arc<Secret<Vec<u8>>>,
        asked: Asked,
        caller: Caller,
    ) -> Result<(), Reason> {
        AppPasswords::default().find_in_vain(password);
        self.spend(name, password, asked, caller).await
    }

    /// Does the work of the verification of a user's own password.
    async fn spend(
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

    /// Compares the password with the app passwords of the user, and then with the user's own.
    ///
    /// - A wrong password costs what it costs for a user without app passwords, and so does a right
    ///   one from an address that is not allowed.
    pub(super) async fn check_password(
        &self,
        tried: (usize, &C, &Username, &Account),
        password: &Arc<Secret<Vec<u8>>>,
        peer: Option<IpAddr>,
        caller: Caller,
    ) -> Result<Option<Right>, Reason> {
        let (_, _, name, account) = tried;
        let app_password = account.app_passwords.find(password).cloned();
        let right = app_password
            .map(|name| Right { attributes: account.attributes.clone(), app_password: Some(name) });
        if right.is_some() && account.attributes.allow(peer) {
            self.verifications.fetch_add(1, Ordering::Relaxed);
            return Ok(right);
        }
        let own = if account.takes_only_app_passwords() {
            self.spend(name, password, Asked::NoStore, caller).await?;
            None
        } else {
            self.check_own_password(tried, password, peer, caller).await?
        };
        if own.is_none() {
            account.app_passwords.find_in_vain(password);
        }
        Ok(right.or(own.map(|attributes| Right { attributes, app_password: None })))
    }

    /// Asks the cache whether the password was right lately. If not, verifies it; a right password is
    /// remembered, and the store may replace its hash by a stronger one.
    async fn check_own_password(
        &self,
        (nth, store, name, account): (usize, &C, &Username, &Account),
        password: &Arc<Secret<Vec<u8>>>,
        peer: Option<IpAddr>,
        caller: Caller,
    ) -> Result<Option<Attributes>, Reason> {
        if !account.attributes.allow(peer) {
            return self.verify((store, name, account), password, caller).await;
        }
        let cache =
            self.cache.as_ref().filter(|_| account.verifier.cost() != Some(Cost::Negligible));
        let context = cache.map(|cache| (cache, account.verifier.fingerprint(nth)));
        if let Some((cache, context)) = &context
            && let Some(attributes) = cache.knows(name, context, password)
            && attributes.allow(peer)
        {
            return Ok(Some(attributes));
        }
        let verified = self.verify((store, name, account), password, caller).await?;
        // Some stores have the networks of the user only now.
        if let Some(attributes) = verified.as_ref().filter(|attributes| attributes.allow(peer)) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credentials::Table;
    use crate::login::{Identity, Rules};
    use crate::protocol::ClaimedName;

    const APP: &str = "{SSHA256}7ioXXfxlhBz+JrAsDtjyPnLeKlRV/6B4pXs1GJEN/tZzb21lc2FsdHNvbWVzYWx0\
                       ::::::app_password=phone\n";
    const APP_PASSWORD: &str = "abcd-efgh-ijkm-npqr-stuv-wxyz";
    const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$\
                        Waw5CMYpE0kO719XekarvkwAxsjcHKMv";

    fn authenticator(users: &str) -> Authenticator<Table> {
        let table = Table::try_from(users.as_bytes()).unwrap();
        let rules = Rules { cache: Duration::from_secs(300), ..Rules::default() };
        Authenticator::new(vec![table], rules, Arc::default()).unwrap()
    }

    /// Judges a login from 192.0.2.1; returns the outcome and the number of verifications.
    async fn judge(
        authenticator: &Authenticator<Table>,
        name: &str,
        password: &str,
    ) -> (Result<Identity, Reason>, u64) {
        let before = authenticator.verifications();
        let (name, password) = (ClaimedName::new(name.as_bytes()), Secret::new(password.into()));
        let peer = "192.0.2.1".parse().ok();
        let verdict = authenticator.judge(&name, &Arc::new(password), peer).await;
        (verdict.outcome, authenticator.verifications() - before)
    }

    #[tokio::test]
    async fn an_app_password_logs_its_user_in_and_the_identity_has_its_name() {
        let users = format!("mrose:{{PLAIN}}tanstaaf::::/home/mrose::\nmrose:{APP}bob:{HASH}\n");
        let authenticator = authenticator(&users);
        let identity = judge(&authenticator, "mrose", APP_PASSWORD).await.0.unwrap();
        assert_eq!(identity.app_password().map(AppPasswordName::as_str), Some("phone"));
        assert_eq!(identity.username().as_str(), "mrose");
        assert!(identity.home().is_some());
        let identity = judge(&authenticator, "mrose", "tanstaaf").await.0.unwrap();
        assert_eq!(identity.app_password(), None);
        for (name, password, reason) in [
            ("mrose", "abcd-efgh-ijkm-npqr-stuv-wxy", Reason::WrongPassword),
            ("mrose", "", Reason::WrongPassword),
            ("bob", APP_PASSWORD, Reason::WrongPassword),
            ("nobody", APP_PASSWORD, Reason::UnknownUser),
        ] {
            assert_eq!(judge(&authenticator, name, password).await.0, Err(reason), "{name}");
        }
    }

    /// The cache would keep a removed app password alive, and drop the user's own password.
    #[tokio::test]
    async fn an_app_password_is_neither_hashed_nor_cached() {
        let users = format!("light:{HASH}\nlight:{APP}");
        let before = authenticator(&users);
        let own = "pässwörd mit Leer ";
        assert!(matches!(judge(&before, "light", own).await, (Ok(_), 1)));
        for _ in 0..2 {
            let (outcome, verified) = judge(&before, "light", APP_PASSWORD).await;
            assert_eq!((outcome.is_ok(), verified), (true, 1));
        }
        assert!(matches!(judge(&before, "light", own).await, (Ok(_), 0)));
    }

    #[tokio::test]
    async fn a_user_whose_own_password_is_locked_has_only_app_passwords() {
        for lock in ["!", "*", "!{PLAIN}tanstaaf"] {
            let authenticator = authenticator(&format!("mrose:{lock}\nmrose:{APP}bob:{HASH}\n"));
            assert!(judge(&authenticator, "mrose", APP_PASSWORD).await.0.is_ok());
            // As for a name that does not exist.
            for password in ["tanstaaf", "!", lock, ""] {
                let (outcome, verified) = judge(&authenticator, "mrose", password).await;
                assert_eq!((outcome, verified), (Err(Reason::WrongPassword), 1), "{lock}");
                let (_, unknown) = judge(&authenticator, "nobody", password).await;
                assert_eq!(verified, unknown);
            }
        }
        // Without an app password nobody can tell which password is right.
        let without = authenticator("mrose:!\n");
        let (outcome, _) = judge(&without, "mrose", APP_PASSWORD).await;
        assert!(matches!(outcome, Err(Reason::Unavailable(why)) if why.contains("locked")));
    }

    #[tokio::test]
    async fn an_app_password_from_another_network_costs_and_gives_what_a_wrong_one_does() {
        for own in [HASH, "!"] {
            let elsewhere = format!("mrose:{own}::::::allow_nets=198.51.100.1\nmrose:{APP}");
            let authenticator = authenticator(&elsewhere);
            let right = judge(&authenticator, "mrose", APP_PASSWORD).await;
            assert_eq!(right, (Err(Reason::NotFromThere), 1));
            let wrong = judge(&authenticator, "mrose", "wrong").await;
            assert_eq!(wrong, (Err(Reason::WrongPassword), 1));
        }
        let users = format!("mrose:{HASH}::::::pop3=no\nmrose:{APP}");
        let refused = judge(&authenticator(&users), "mrose", APP_PASSWORD).await.0;
        assert_eq!(refused, Err(Reason::NotAllowed));
    }
}
