//! A store that checks passwords itself and says nothing else about users: a program, or PAM.
//!
//! What is the same for all such stores lives here; each kind says how it is asked.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::within;
use super::{Account, Breaker, Check, CredentialStore, Decoy, Lookup, StoreError};
use crate::config::Asking;
use crate::password::Verifier;
use crate::protocol::{Secret, Username};

/// Checks a name with a password, and says no more about any user.
pub trait Gatekeeper: Send + Sync + 'static {
    /// What to correct when it accepts any password.
    const CORRECTION: &'static str;

    /// Why it cannot be asked at all, whatever the user.
    type Error: Error + Send + Sync + 'static;

    /// The gatekeeper in the words of the configuration, say `pam restante`.
    fn label(&self) -> String;

    /// Checks a password.
    fn ask(
        &self,
        name: &Username,
        password: &Secret<Vec<u8>>,
    ) -> impl Future<Output = Result<Check, Self::Error>> + Send;
}

/// A store that asks a [`Gatekeeper`] about each password.
#[derive(Debug)]
pub struct GatekeeperStore<G: Gatekeeper> {
    gatekeeper: Arc<G>,
    deadline: Duration,
    breaker: Breaker<G::Error>,
}

/// Why there is no answer, and from which gatekeeper.
#[derive(Debug, thiserror::Error)]
#[error("{label}: {why}")]
struct NoAnswer {
    label: String,
    why: StoreError,
}

/// A gatekeeper has accepted a name that does not exist. The field says what to correct.
#[derive(Debug, thiserror::Error)]
#[error("it accepts any name with any password; {0}")]
struct AcceptsAll(&'static str);

impl<G: Gatekeeper> GatekeeperStore<G> {
    /// Asks `gatekeeper` as `asking` says. To be called within a runtime.
    pub fn new(gatekeeper: G, asking: Asking) -> Self {
        let Asking { deadline, at_once } = asking;
        let gatekeeper = Arc::new(gatekeeper);
        let asked = Arc::clone(&gatekeeper);
        // Any answer will do: `restante check` looks whether it is the right one.
        let probe = move || {
            let gatekeeper = Arc::clone(&asked);
            async move { ask_about_unknown_user(&*gatekeeper).await.map(drop) }
        };
        let breaker = Breaker::new(gatekeeper.label(), at_once, deadline, probe);
        Self { gatekeeper, deadline, breaker }
    }

    fn unavailable(&self, why: StoreError) -> Check {
        Check::Unavailable(NoAnswer { label: self.label(), why }.into())
    }
}

impl<G: Gatekeeper> CredentialStore for GatekeeperStore<G> {
    fn label(&self) -> String {
        self.gatekeeper.label()
    }

    async fn look_up(&self, _name: &Username) -> Lookup {
        Lookup::Perhaps(Account::new(Verifier::AtStore("".into())))
    }

    async fn check(&self, name: &Username, _: &Account, password: &Secret<Vec<u8>>) -> Check {
        match self.breaker.call(self.deadline, self.gatekeeper.ask(name, password)).await {
            Ok(Check::Unavailable(why)) => self.unavailable(why),
            Ok(check @ (Check::Right(_) | Check::Wrong)) => check,
            Err(why) => self.unavailable(why.into()),
        }
    }

    fn decoy(&self, _name: &Username) -> Option<Decoy> {
        None
    }

    fn down(&self) -> Option<StoreError> {
        self.breaker.down().map(StoreError::from)
    }

    async fn probe(&self) -> Result<String, StoreError> {
        match within(self.deadline, ask_about_unknown_user(&*self.gatekeeper)).await? {
            Check::Wrong => Ok("a name that does not exist is refused".into()),
            Check::Right(_) => Err(AcceptsAll(G::CORRECTION).into()),
            Check::Unavailable(why) => Err(why),
        }
    }
}

/// Asks about a name that does not exist, with a password that no user has.
async fn ask_about_unknown_user<G: Gatekeeper>(gatekeeper: &G) -> Result<Check, G::Error> {
    match Username::try_from("restante-probe-7c1f0b") {
        Ok(name) => gatekeeper.ask(&name, &Secret::new(b"restante-probe-0d4a6e".to_vec())).await,
        Err(error) => Ok(Check::Unavailable(error.into())),
    }
}
