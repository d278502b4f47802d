//! A store that is told a name and a password, says whether they fit, and keeps everything else to
//! itself.
//!
//! What is the same for all such stores lives here; each kind says how it is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Account, Breaker, Check, CredentialStore, Decoy, Lookup};
use crate::config::Asking;
use crate::password::Verifier;
use crate::protocol::{Secret, Username};

/// Lets in who has a password, and says no more about anybody.
pub trait Gatekeeper: Send + Sync + 'static {
    /// What to correct when it lets everybody in.
    const CORRECTION: &'static str;

    /// The gatekeeper in the words of the configuration, say `pam restante`.
    fn label(&self) -> String;

    /// Puts a password to it. An error says that it cannot be asked at all, whoever it is about.
    fn ask(
        &self,
        name: &Username,
        password: &Secret<Vec<u8>>,
    ) -> impl Future<Output = Result<Check, String>> + Send;
}

/// A store that asks a [`Gatekeeper`] about each password.
#[derive(Debug)]
pub struct GatekeeperStore<G> {
    gatekeeper: Arc<G>,
    deadline: Duration,
    breaker: Breaker,
}

impl<G: Gatekeeper> GatekeeperStore<G> {
    /// Asks `gatekeeper` as `asking` says. Has to be called within a runtime.
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
            Ok(Check::Unavailable(why)) | Err(why) => {
                Check::Unavailable(format!("{}: {why}", self.label()))
            }
            Ok(check @ (Check::Right(_) | Check::Wrong)) => check,
        }
    }

    fn decoy(&self, _name: &Username) -> Option<Decoy> {
        None
    }

    fn down(&self) -> Option<String> {
        self.breaker.down()
    }

    async fn probe(&self) -> Result<String, String> {
        match timeout(self.deadline, ask_about_unknown_user(&*self.gatekeeper)).await {
            Ok(Ok(Check::Wrong)) => Ok("a name that nobody has is refused".into()),
            Ok(Ok(Check::Right(_))) => {
                Err(format!("it accepts any name with any password; {}", G::CORRECTION))
            }
            Ok(Ok(Check::Unavailable(why)) | Err(why)) => Err(why),
            Err(_elapsed) => Err(format!("no answer within {:?}", self.deadline)),
        }
    }
}

/// Asks about a name that nobody has, with a password that nobody knows.
async fn ask_about_unknown_user(gatekeeper: &impl Gatekeeper) -> Result<Check, String> {
    let name = Username::try_from("restante-probe-7c1f0b").map_err(|fault| fault.to_string())?;
    gatekeeper.ask(&name, &Secret::new(b"restante-probe-0d4a6e".to_vec())).await
}
