//! The way from a claimed name and a password to an [`Identity`]; there is no other.
//!
//! Bounds the memory and the processors that passwords can use, and makes a name that nobody has
//! cost what a wrong password costs. What is done for a password, one call inside the other:
//!
//! - `authenticate` waits for earlier failures, counts this one, and says what the client may know;
//! - `decide` asks the stores in their order;
//! - `check_password` (in `verify`) asks the cache first, and replaces a weak hash afterwards;
//! - `verify` asks the store, or compares with what the store has given;
//! - `compare_in_turn` does that when its turn comes, on a thread for it.
//!
//! What logins of all kinds share is in `steps`. Those with a token, a certificate or by SCRAM have
//! files of their own.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::{debug, info};

use super::cache::Cache;
use super::throttle::Attempt;
use super::turns::{Caller, Turns};
use super::{Identity, Reason, Refusal, Throttle, Verdict};
use crate::credentials::{Attributes, CredentialStore, Lookup, Offers, TokenProvider};
use crate::protocol::sasl::TokenGuidance;
use crate::protocol::{ClaimedName, Secret, Username};

mod steps;
mod verify;

pub(super) use self::steps::{admit, fail};

/// Verifies passwords against what the stores know.
///
/// - Stores are asked in their order. The first that knows the user decides; one that cannot tell
///   before it has the password decides when that is right.
/// - One that cannot answer ends the search: the user may be there, with another password than
///   further down.
/// - Passwords are hashed as there are [`Turns`]; the others wait. Those that are only compared do
///   not.
/// - Every login that the stores can answer costs the same, whether the user is known or not, the
///   name usable or not, the password acceptable or not.
#[derive(Debug)]
pub struct Authenticator<C> {
    stores: Vec<C>,
    providers: Vec<Box<dyn TokenProvider>>,
    throttle: Arc<Throttle>,
    /// `None` when the operator wants no cache.
    cache: Option<Cache<Attributes>>,
    turns: Arc<Turns>,
    wait: Duration,
    default_domain: Option<Arc<str>>,
    verifications: Arc<AtomicU64>,
}

/// How passwords are verified.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Turns at hashing a password, of which there is one for each that is hashed at a time.
    pub turns: Arc<Turns>,
    /// How long a login waits for its turn before it is [`Refusal::Overloaded`].
    pub hash_wait: Duration,
    /// How long a verified password is cached. Zero: it is verified every time.
    pub cache: Duration,
    /// The domain of users whom a token names without one. Never one that the client chooses.
    pub default_domain: Option<Arc<str>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            turns: Arc::new(Turns::new(NonZeroU32::MIN)),
            hash_wait: Duration::from_secs(10),
            cache: Duration::ZERO,
            default_domain: None,
        }
    }
}

impl<C: CredentialStore> Authenticator<C> {
    /// Verifies against `stores`, in the order in which they are to be asked.
    ///
    /// # Errors
    /// When the system has no randomness for the cache.
    pub fn new(stores: Vec<C>, rules: Rules, throttle: Arc<Throttle>) -> Result<Self, String> {
        let cache = match rules.cache {
            Duration::ZERO => None,
            lifetime => Some(Cache::new(lifetime, MOST_CACHED)?),
        };
        Ok(Self {
            stores,
            providers: Vec::new(),
            throttle,
            cache,
            turns: rules.turns,
            wait: rules.hash_wait,
            default_domain: rules.default_domain,
            verifications: Arc::default(),
        })
    }

    /// Takes tokens of `providers`, which are asked in this order.
    #[must_use]
    pub fn with_token_providers(self, providers: Vec<Box<dyn TokenProvider>>) -> Self {
        Self { providers, ..self }
    }

    /// Who guesses passwords, and what the log takes about strangers.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// The stores, in the order in which they are asked.
    pub fn stores(&self) -> &[C] {
        &self.stores
    }

    /// The providers of tokens, in the order in which they are asked.
    pub fn token_providers(&self) -> &[Box<dyn TokenProvider>] {
        &self.providers
    }

    #[cfg(test)]
    pub(crate) fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// What every user with a password can log in with: what all stores offer.
    pub fn offers(&self) -> Offers {
        let all = |offered: fn(Offers) -> bool| {
            !self.stores.is_empty() && self.stores.iter().map(C::offers).all(offered)
        };
        Offers {
            scram_sha_1: all(|store| store.scram_sha_1),
            scram_sha_256: all(|store| store.scram_sha_256),
        }
    }

    /// Why no user can log in at the moment: every store and provider is known to be down.
    pub fn down(&self) -> Option<String> {
        let stores = self.stores.iter().map(C::down);
        let providers = self.providers.iter().map(|provider| provider.down());
        let reasons = stores.chain(providers).map(|down| down.map(|why| why.to_string()));
        let reasons: Option<Vec<String>> = reasons.collect();
        reasons.filter(|reasons| !reasons.is_empty()).map(|reasons| reasons.join("; "))
    }

    /// What a client is told whose token is not good (RFC 7628 §3.2.2).
    pub fn token_guidance(&self) -> TokenGuidance {
        self.providers.first().map_or_else(TokenGuidance::default, |provider| provider.guidance())
    }

    /// Finds out whether `password` is that of the user who claims to be `name`, at `peer`.
    ///
    /// - Waits first for as long as earlier failures demand.
    ///
    /// A verification that has begun is finished, and keeps its turn, even if the
    /// future is dropped: clients that hang up cannot start more of them.
    ///
    /// # Errors
    /// The [`Refusal`]. Which of the cases of [`Refusal::BadCredentials`] it was is logged at debug
    /// level here and known nowhere else.
    pub async fn authenticate(
        &self,
        name: &ClaimedName,
        password: Secret<Vec<u8>>,
        peer: IpAddr,
    ) -> Result<Identity, Refusal> {
        let mut attempt = self.take_turn(peer, Some(name)).await?;
        let password = Arc::new(password);
        let Verdict { store, outcome } =
            self.decide(name, &password, Some(peer), Some(&mut attempt)).await;
        let failed = match &outcome {
            Ok(_) | Err(Reason::NotAllowed) => {
                attempt.succeeded();
                Ok(false)
            }
            Err(
                Reason::ImpossibleName(_)
                | Reason::UnknownUser
                | Reason::UnknownOrWrong
                | Reason::WrongPassword
                | Reason::NotFromThere,
            ) => fail(attempt, &password).await,
            Err(Reason::Throttled | Reason::Overloaded | Reason::Unavailable(_)) => {
                attempt.unanswered();
                Ok(false)
            }
        };
        outcome.map_err(|reason| {
            let store = store.and_then(|nth| self.stores.get(nth)).map(C::label);
            if reason == Reason::NotFromThere {
                // Somebody may have the password of a user who does not notice.
                info!(store, user = %name, "refused: {reason}");
            } else {
                debug!(store, user = %name, "refused: {reason}");
            }
            match (Refusal::of(name, reason), failed) {
                (Refusal::BadCredentials, Ok(true)) => Refusal::RepeatedPassword,
                (Refusal::BadCredentials, Err(turned_away)) => turned_away,
                (refusal, _) => refusal,
            }
        })
    }

    /// The same without any waiting, with the reason and the store that decided. Without a `peer`
    /// it does not matter where the user may log in from.
    ///
    /// - From where a user may not log in, the right password costs what a wrong one costs: nothing
    ///   is remembered or rewritten, and the same stores are asked.
    pub async fn judge(
        &self,
        name: &ClaimedName,
        password: &Arc<Secret<Vec<u8>>>,
        peer: Option<IpAddr>,
    ) -> Verdict {
        self.decide(name, password, peer, None).await
    }

    async fn decide(
        &self,
        name: &ClaimedName,
        password: &Arc<Secret<Vec<u8>>>,
        peer: Option<IpAddr>,
        mut attempt: Option<&mut Attempt>,
    ) -> Verdict {
        let caller = Caller::new(peer, attempt.as_deref());
        let username = match Username::try_from(name) {
            Ok(username) => username,
            Err(fault) => {
                begin_check(attempt, password);
                let spent = match stand_in() {
                    Ok(name) => self.spend(&name, password, Asked::NoStore, caller).await,
                    Err(reason) => Err(reason),
                };
                return Verdict::undecided(spent.err().unwrap_or(Reason::ImpossibleName(fault)));
            }
        };
        let mut asked = Asked::NoStore;
        let mut barred = None;
        for (nth, store) in self.stores.iter().enumerate() {
            let found = match store.look_up(&username).await {
                Lookup::Found(account) => Some((account, true)),
                Lookup::Perhaps(account) => Some((account, false)),
                Lookup::Unknown => None,
                Lookup::Unavailable(why) => {
                    return Verdict::of(nth, Err(Reason::Unavailable(why.to_string())));
                }
            };
            if let Some(attempt) = attempt.as_deref_mut() {
                let account = found.as_ref().map(|(account, _)| account);
                if let Err(reason) = self.wait_for_account(attempt, nth, &username, account).await {
                    return Verdict::of(nth, Err(reason));
                }
            }
            let Some((account, decides)) = found else { continue };
            begin_check(attempt.as_deref_mut(), password);
            let tried = (nth, store, &username, &account);
            match self.check_password(tried, password, peer, caller).await {
                Ok(Some(attributes)) => {
                    // What the store has just said counts, not what is remembered of it.
                    let attributes = if decides { account.attributes } else { attributes };
                    let admitted = admit(username.clone(), attributes, peer);
                    match (admitted, barred) {
                        // After a wrong password the next store would be asked.
                        (Err(Reason::NotFromThere), None) if !decides => {
                            (asked, barred) = (Asked::Store, Some(nth));
                        }
                        (_, Some(first)) => return Verdict::barred(first),
                        (admitted, None) => return Verdict::of(nth, admitted),
                    }
                }
                Ok(None) if decides => {
                    let wrong = || Verdict::of(nth, Err(Reason::WrongPassword));
                    return barred.map_or_else(wrong, Verdict::barred);
                }
                Ok(None) => asked = Asked::Store,
                Err(reason) => return Verdict::of(nth, Err(reason)),
            }
        }
        begin_check(attempt, password);
        let spent = self.spend(&username, password, asked, caller).await;
        let refused = match (asked, barred) {
            (_, Some(first)) => return Verdict::barred(first),
            (Asked::Store, None) => Reason::UnknownOrWrong,
            (Asked::NoStore, None) => Reason::UnknownUser,
        };
        Verdict::undecided(spent.err().unwrap_or(refused))
    }

    /// How many passwords have been verified since the start, those for unknown users included.
    pub fn verifications(&self) -> u64 {
        self.verifications.load(Ordering::Relaxed)
    }
}

/// The password is about to be looked at.
fn begin_check(attempt: Option<&mut Attempt>, password: &Arc<Secret<Vec<u8>>>) {
    if let Some(attempt) = attempt {
        attempt.begin_check(password);
    }
}

/// Whether the work of a verification has been done at a store that cannot tell who is unknown.
#[derive(Clone, Copy)]
enum Asked {
    NoStore,
    Store,
}

/// So many users have their last password remembered.
const MOST_CACHED: usize = 100_000;

/// The name that stands for all those that no user can have, where a decoy is chosen.
fn stand_in() -> Result<Username, Reason> {
    Username::try_from("nobody").map_err(|fault| Reason::Unavailable(fault.to_string()))
}

#[cfg(test)]
mod tests;
