//! A store that checks passwords itself and says nothing else about users: a program, or PAM.
//!
//! The common part of such stores. Each kind implements [`PasswordService`].

use std::error::Error;
use std::sync::Arc;

use super::{Account, Breaker, Check, CredentialStore, Decoy, Lookup, Outage, StoreError};
use crate::config::Asking;
use crate::password::Verifier;
use crate::protocol::{Secret, Username};

/// Checks a name with a password, and says no more about any user.
pub trait PasswordService: Send + Sync + 'static {
    /// What to correct when it accepts any password.
    const CORRECTION: &'static str;

    /// Why it cannot be asked at all, whatever the user.
    type Error: Error + Send + Sync + 'static;

    /// The service in the words of the configuration, say `pam restante`.
    fn label(&self) -> String;

    /// Checks a password.
    fn ask(
        &self,
        name: &Username,
        password: &Secret<Vec<u8>>,
    ) -> impl Future<Output = Result<Check, Self::Error>> + Send;
}

/// A store that asks a [`PasswordService`] about each password.
#[derive(Debug)]
pub struct ServiceStore<S: PasswordService> {
    service: Arc<S>,
    breaker: Breaker<S::Error>,
}

/// Why there is no answer, and from which service.
#[derive(Debug, thiserror::Error)]
#[error("{label}: {why}")]
struct NoAnswer {
    label: String,
    why: StoreError,
}

/// A service has accepted a name that does not exist. The field says what to correct.
#[derive(Debug, thiserror::Error)]
#[error("it accepts any name with any password; {0}")]
struct AcceptsAll(&'static str);

impl<S: PasswordService> ServiceStore<S> {
    /// Asks `service` as `asking` says. To be called within a runtime.
    pub fn new(service: S, asking: Asking) -> Self {
        let service = Arc::new(service);
        // Any answer shows that the service works. `restante check` looks whether it is right.
        let breaker = Breaker::new(service.label(), asking, &service, |service| async move {
            ask_about_unknown_user(&*service).await.map(drop)
        });
        Self { service, breaker }
    }

    fn unavailable(&self, why: StoreError) -> Check {
        Check::Unavailable(NoAnswer { label: self.label(), why }.into())
    }
}

impl<S: PasswordService> CredentialStore for ServiceStore<S> {
    fn label(&self) -> String {
        self.service.label()
    }

    async fn look_up(&self, _name: &Username) -> Lookup {
        Lookup::Perhaps(Account::new(Verifier::AtStore("".into())))
    }

    async fn check(&self, name: &Username, _: &Account, password: &Secret<Vec<u8>>) -> Check {
        match self.breaker.call(self.service.ask(name, password)).await {
            Ok(Check::Unavailable(why)) => self.unavailable(why),
            Ok(check @ (Check::Right(_) | Check::Wrong)) => check,
            Err(why) => self.unavailable(why.into()),
        }
    }

    fn decoy(&self, _name: &Username) -> Option<Decoy> {
        None
    }

    fn down(&self) -> Option<Outage> {
        self.breaker.down()
    }

    async fn probe(&self) -> Result<String, StoreError> {
        match self.breaker.bypass(ask_about_unknown_user(&*self.service)).await? {
            Check::Wrong => Ok("a name that does not exist is refused".into()),
            Check::Right(_) => Err(AcceptsAll(S::CORRECTION).into()),
            Check::Unavailable(why) => Err(why),
        }
    }
}

/// Asks about a name that does not exist, with a password that no user has.
async fn ask_about_unknown_user<S: PasswordService>(service: &S) -> Result<Check, S::Error> {
    match Username::try_from("restante-probe-7c1f0b") {
        Ok(name) => service.ask(&name, &Secret::new(b"restante-probe-0d4a6e".to_vec())).await,
        Err(error) => Ok(Check::Unavailable(error.into())),
    }
}
