//! From a claimed name and a password to an [`Identity`].
//!
//! An unknown name costs as much as a wrong password, and the memory and processors that passwords
//! use are bounded. For a password, each of these functions calls the next:
//!
//! - `authenticate` waits for earlier failures, counts this one, and says what the client may know;
//! - `decide` asks the stores in their order;
//! - `check_password` (in `verify`) compares the password with app passwords first;
//! - `check_own_password` asks the cache first, and replaces a weak hash afterwards;
//! - `verify` asks the store, or compares the password with its verifier;
//! - `compare_in_turn` waits for a turn and compares on a thread of a pool.
//!
//! `steps` has the steps that logins of all kinds share. Logins with a token, a certificate or by
//! SCRAM are in files beside this folder.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::{debug, info};

use super::cache::Cache;
use super::throttle::Attempt;
use super::turns::{Caller, Turns};
use super::{Identity, NoRandomness, Reason, Refusal, Throttle, Verdict};
use crate::credentials::{Attributes, CredentialStore, Lookup, Offers, TokenProvider};
use crate::protocol::sasl::TokenGuidance;
use crate::protocol::{ClaimedName, Secret, Username};

mod steps;
mod verify;

pub(super) use self::steps::{admit, fail};
use self::verify::Right;

/// Verifies passwords against the stores.
///
/// - Stores are asked in their order. The first that knows the user decides. A store that cannot tell
///   before it has the password decides if the password is right.
/// - A store that cannot answer ends the search: the user may be in it, with another password than in
///   a later store.
/// - A password waits for one of the [`Turns`] before it is hashed. One whose verifier costs almost
///   nothing (`{PLAIN}`, a single digest) is compared without a turn.
/// - If all stores answer, every login costs the same: with a known or unknown user, a valid or
///   invalid name, an acceptable or unacceptable password.
#[derive(Debug)]
pub struct Authenticator<C> {
    stores: Vec<C>,
    providers: Vec<Box<dyn TokenProvider>>,
    throttle: Arc<Throttle>,
    /// `None` if the cache is off.
    cache: Option<Cache<Attributes>>,
    turns: Arc<Turns>,
    wait: Duration,
    default_domain: Option<Arc<str>>,
    verifications: Arc<AtomicU64>,
}

/// How passwords are verified.
#[derive(Clone, Debug)]
pub struct Rules {
    /// One for each password that may be hashed at the same time.
    pub turns: Arc<Turns>,
    /// How long a login waits for its turn before it is [`Refusal::Overloaded`].
    pub hash_wait: Duration,
    /// How long a verified password is cached. Zero switches the cache off.
    pub cache: Duration,
    /// The domain for tokens whose user has none. Never one that the client chooses.
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
    /// Verifies against `stores`, which are asked in this order.
    ///
    /// # Errors
    /// The cache has no key.
    pub fn new(
        stores: Vec<C>,
        rules: Rules,
        throttle: Arc<Throttle>,
    ) -> Result<Self, NoRandomness> {
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

    /// Accepts tokens of `providers`, which are asked in this order.
    #[must_use]
    pub fn with_token_providers(self, providers: Vec<Box<dyn TokenProvider>>) -> Self {
        Self { providers, ..self }
    }

    /// The throttle, which also limits log lines about clients that are not logged in.
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

    /// The mechanisms that all stores offer, besides a password that is sent.
    pub fn offers(&self) -> Offers {
        let all = |offered: fn(Offers) -> bool| {
            !self.stores.is_empty() && self.stores.iter().map(C::offers).all(offered)
        };
        Offers {
            scram_sha_1: all(|store| store.scram_sha_1),
            scram_sha_256: all(|store| store.scram_sha_256),
        }
    }

    /// Why no user can log in at the moment; `None` unless every store and provider is down.
    pub fn down(&self) -> Option<String> {
        let stores = self.stores.iter().map(C::down);
        let providers = self.providers.iter().map(|provider| provider.down());
        let reasons = stores.chain(providers).map(|down| down.map(|outage| outage.why.to_string()));
        let reasons: Option<Vec<String>> = reasons.collect();
        reasons.filter(|reasons| !reasons.is_empty()).map(|reasons| reasons.join("; "))
    }

    /// What a client with a bad token is told (RFC 7628 §3.2.2).
    pub fn token_guidance(&self) -> TokenGuidance {
        self.providers.first().map_or_else(TokenGuidance::default, |provider| provider.guidance())
    }

    /// Logs a client at `peer` in that claims to be `name`, if `password` is right.
    ///
    /// - Waits first as long as earlier failures demand.
    /// - A verification that has begun is finished, and keeps its turn, even if the future is dropped:
    ///   clients that hang up cannot start more of them.
    ///
    /// # Errors
    /// The [`Refusal`]. Only the log, at debug level, tells the cases of [`Refusal::BadCredentials`]
    /// apart.
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
                // The password may have been stolen.
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

    /// Like [`authenticate`](Self::authenticate), but without the throttle; returns the reason and
    /// the store that decided. Without a `peer`, the networks of the user are ignored.
    ///
    /// - From an address that is not allowed, the right password costs as much as a wrong one: it is
    ///   not remembered, no hash is replaced, and the same stores are asked.
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
                    Ok(name) => {
                        self.spend_on_unknown(&name, password, Asked::NoStore, caller).await
                    }
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
                    return Verdict::of(nth, Err(Reason::unavailable(why)));
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
                Ok(Some(Right { attributes, app_password })) => {
                    // The attributes of this look-up count, not those in the cache.
                    let attributes = if decides { account.attributes } else { attributes };
                    let admitted = admit(username.clone(), attributes, peer);
                    let admitted = admitted.map(|identity| Identity { app_password, ..identity });
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
        let spent = self.spend_on_unknown(&username, password, asked, caller).await;
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

/// Marks the password of an attempt as about to be checked.
fn begin_check(attempt: Option<&mut Attempt>, password: &Arc<Secret<Vec<u8>>>) {
    if let Some(attempt) = attempt {
        attempt.begin_check(password);
    }
}

/// Whether a store that cannot tell who is unknown has already done the work of a verification.
#[derive(Clone, Copy)]
enum Asked {
    NoStore,
    Store,
}

/// How many users the cache remembers.
const MOST_CACHED: usize = 100_000;

/// The name for which a decoy is chosen if the client sends a name that no user can have.
fn stand_in() -> Result<Username, Reason> {
    Username::try_from("nobody").map_err(Reason::unavailable)
}

#[cfg(test)]
mod tests;
