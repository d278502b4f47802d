//! The way from a claimed name and a password to an [`Identity`]; there is no other.
//!
//! Bounds the memory and the processors that passwords can use, and makes a name that nobody has
//! cost what a wrong password costs.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, error, warn};

use super::{CredentialStore, Identity, Lookup, MAX_PASSWORD_OCTETS, Verifier};
use crate::protocol::{ClaimedName, Secret, Username};

/// Verifies passwords against what a store knows.
///
/// - At most `hashes_at_once` passwords are verified at a time; the others wait in line.
/// - Every log-in that the store can answer costs exactly one verification, whether the user is
///   known or not, the name usable or not, the password acceptable or not.
#[derive(Debug)]
pub struct Authenticator<C> {
    store: C,
    turns: Arc<Semaphore>,
    wait: Duration,
    verifications: Arc<AtomicU64>,
}

/// Why somebody was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such user, another password, or a name that no user can have (say `../mrose`).
    ///
    /// The three are one on purpose: they cost the same and must look the same to the client.
    BadCredentials,
    /// Too many passwords were waiting to be verified. Says nothing about this one.
    Overloaded,
    /// The password cannot be checked now, and why. This is for the log, where it is already;
    /// the client learns only that it may try again later.
    Unavailable(String),
}

impl<C: CredentialStore> Authenticator<C> {
    /// Verifies at most `hashes_at_once` passwords at a time; a log-in whose turn does not come
    /// within `hash_wait` is [`Refusal::Overloaded`].
    pub fn new(store: C, hashes_at_once: NonZeroU32, hash_wait: Duration) -> Self {
        let permits = usize::try_from(hashes_at_once.get()).unwrap_or(usize::MAX);
        Self {
            store,
            turns: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            wait: hash_wait,
            verifications: Arc::default(),
        }
    }

    /// Finds out whether `password` is that of the user who claims to be `name`.
    ///
    /// A verification that has begun is finished, and keeps its place among `hashes_at_once`, even
    /// if the future is dropped: clients that hang up cannot start more of them.
    ///
    /// # Errors
    /// The [`Refusal`]; every reason but [`Refusal::BadCredentials`] has been logged.
    pub async fn authenticate(
        &self,
        name: &ClaimedName,
        password: Secret<Vec<u8>>,
    ) -> Result<Identity, Refusal> {
        let Ok(username) = Username::try_from(name) else {
            self.spend(&stand_in()?, password).await?;
            debug!(user = %name, "refused: no user can have this name");
            return Err(Refusal::BadCredentials);
        };
        let verifier = match self.store.look_up(&username).await {
            Lookup::Found(Verifier::Unusable(why)) => return Err(unavailable(name, &why)),
            Lookup::Found(verifier) => verifier,
            Lookup::Unknown => {
                self.spend(&username, password).await?;
                debug!(user = %name, "refused: unknown user");
                return Err(Refusal::BadCredentials);
            }
            Lookup::Unavailable(why) => return Err(unavailable(name, &why)),
        };
        match self.verify(verifier, password).await {
            Ok(true) => Ok(Identity { name: username }),
            Ok(false) => {
                debug!(user = %name, "refused: wrong password");
                Err(Refusal::BadCredentials)
            }
            Err(Refusal::Unavailable(why)) => Err(unavailable(name, &why)),
            Err(refusal @ (Refusal::Overloaded | Refusal::BadCredentials)) => Err(refusal),
        }
    }

    /// How many passwords have been verified since the start, those for unknown users included.
    pub fn verifications(&self) -> u64 {
        self.verifications.load(Ordering::Relaxed)
    }

    /// Does the work of a verification for a user who does not exist.
    async fn spend(&self, name: &Username, password: Secret<Vec<u8>>) -> Result<(), Refusal> {
        let decoy = self.store.decoy(name).unwrap_or_else(Verifier::costly);
        match self.verify(decoy, password).await {
            // A decoy is some user's verifier: that it matches must not count.
            Ok(true | false) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    async fn verify(&self, verifier: Verifier, password: Secret<Vec<u8>>) -> Result<bool, Refusal> {
        let turn = match timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(closed)) => return Err(Refusal::Unavailable(closed.to_string())),
            Err(_elapsed) => {
                warn!(
                    wait = ?self.wait,
                    "more log-ins than passwords can be verified; told to try again later"
                );
                return Err(Refusal::Overloaded);
            }
        };
        let verifications = Arc::clone(&self.verifications);
        let verified = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            verifications.fetch_add(1, Ordering::Relaxed);
            let given = password.expose().as_slice();
            if (1..=MAX_PASSWORD_OCTETS).contains(&given.len()) {
                verifier.verify(given)
            } else {
                // The same work, so that the answer comes no sooner.
                verifier.verify(b"-").map(|_| false)
            }
        });
        match verified.await {
            Ok(Ok(verified)) => Ok(verified),
            Ok(Err(why)) => Err(Refusal::Unavailable(why)),
            Err(stopped) => Err(Refusal::Unavailable(format!("verification ended: {stopped}"))),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadCredentials => f.write_str("wrong user name or password"),
            Self::Overloaded => f.write_str("too many log-ins at once"),
            Self::Unavailable(why) => write!(f, "passwords cannot be checked now: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// The name that stands for all those that no user can have, where a decoy is chosen.
fn stand_in() -> Result<Username, Refusal> {
    Username::try_from("nobody").map_err(|fault| Refusal::Unavailable(fault.to_string()))
}

fn unavailable(name: &ClaimedName, why: &str) -> Refusal {
    error!(user = %name, why, "the password cannot be checked");
    Refusal::Unavailable(why.to_owned())
}
