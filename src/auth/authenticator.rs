//! The way from a claimed name and a password to an [`Identity`]; there is no other.
//!
//! Bounds the memory and the processors that passwords can use, and makes a name that nobody has
//! cost what a wrong password costs.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::cache::Cache;
use super::throttle::Attempt;
use super::{
    Account, Attributes, Check, Cost, CredentialStore, Identity, Lookup, MAX_PASSWORD_OCTETS,
    Offers, Redeemed, Throttle, TokenHint, Verifier,
};
use crate::protocol::sasl::saslprep;
use crate::protocol::{ClaimedName, NameFault, Secret, Username};

/// Verifies passwords against what the stores know.
///
/// - Stores are asked in their order. The first that knows the user decides; one that cannot tell
///   before it has the password decides when that is right.
/// - One that cannot answer ends the search: the user may be there, with another password than
///   further down.
/// - At most `hashes_at_once` passwords are hashed at a time; the others wait in line. Passwords
///   that are only compared do not.
/// - Every log-in that the stores can answer costs the same, whether the user is known or not, the
///   name usable or not, the password acceptable or not.
#[derive(Debug)]
pub struct Authenticator<C> {
    stores: Vec<C>,
    throttle: Arc<Throttle>,
    /// Nothing when the operator wants none.
    cache: Option<Cache<Attributes>>,
    turns: Arc<Semaphore>,
    wait: Duration,
    verifications: Arc<AtomicU64>,
}

/// How passwords are verified.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Passwords hashed at the same time.
    pub hashes_at_once: NonZeroU32,
    /// How long a log-in waits for its turn before it is [`Refusal::Overloaded`].
    pub hash_wait: Duration,
    /// How long a password that was right is not verified again; nothing for always.
    pub cache: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            hashes_at_once: NonZeroU32::MIN,
            hash_wait: Duration::from_secs(10),
            cache: Duration::ZERO,
        }
    }
}

/// How a log-in was decided: for the log and for `restante user test`.
#[derive(Debug)]
pub struct Verdict {
    /// Which of the stores decided, counted from 0; none when nobody knew the user.
    pub store: Option<usize>,
    /// Who it is, or why not.
    pub outcome: Result<Identity, Reason>,
}

/// Why somebody was not let in, as the operator may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A name that no user can have.
    ImpossibleName(NameFault),
    /// No store knows the user.
    UnknownUser,
    /// The user has another password.
    WrongPassword,
    /// The password is right, and the user may not use POP3.
    NotAllowed,
    /// Too many passwords were waiting to be verified.
    Overloaded,
    /// The password cannot be checked now, and why.
    Unavailable(String),
}

/// Why somebody was not let in, as far as the client may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such user, another password, or a name that no user can have (say `../mrose`).
    ///
    /// The three are one on purpose: they cost the same and must look the same to the client.
    BadCredentials,
    /// The password is right, and the user may not use POP3.
    NotAllowed,
    /// The token is not good, or is another user's.
    BadToken,
    /// The certificate is of nobody who has mail here, or of another user.
    BadCertificate,
    /// Too many log-ins of this user or from this address have failed. Says nothing about this one.
    Throttled,
    /// Too many passwords were waiting to be verified. Says nothing about this one.
    Overloaded,
    /// The password cannot be checked now, and why: for the log. The client learns only that it
    /// may try again later.
    Unavailable(String),
}

impl<C: CredentialStore> Authenticator<C> {
    /// Verifies against `stores`, in the order in which they are to be asked.
    ///
    /// # Errors
    /// When the system has no randomness for the cache.
    pub fn new(stores: Vec<C>, rules: Rules, throttle: Arc<Throttle>) -> Result<Self, String> {
        let permits = usize::try_from(rules.hashes_at_once.get()).unwrap_or(usize::MAX);
        let cache = match rules.cache {
            Duration::ZERO => None,
            lifetime => Some(Cache::new(lifetime, MOST_CACHED)?),
        };
        Ok(Self {
            stores,
            throttle,
            cache,
            turns: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            wait: rules.hash_wait,
            verifications: Arc::default(),
        })
    }

    /// The stores, in the order in which they are asked.
    pub fn stores(&self) -> &[C] {
        &self.stores
    }

    /// What every user can log in with: a password where every store that takes one lets it be
    /// used so, a token where any store knows about tokens.
    pub fn offers(&self) -> Offers {
        let with_passwords = || self.stores.iter().map(C::offers).filter(|store| store.passwords);
        let passwords = with_passwords().next().is_some();
        Offers {
            passwords,
            scram_sha_1: passwords && with_passwords().all(|store| store.scram_sha_1),
            scram_sha_256: passwords && with_passwords().all(|store| store.scram_sha_256),
            tokens: self.stores.iter().any(|store| store.offers().tokens),
        }
    }

    /// Why nobody can log in at the moment: every store is known not to answer.
    pub fn down(&self) -> Option<String> {
        let reasons: Option<Vec<String>> = self.stores.iter().map(C::down).collect();
        reasons.filter(|reasons| !reasons.is_empty()).map(|reasons| reasons.join("; "))
    }

    /// What a client is told whose token is not good (RFC 7628 §3.2.2).
    pub fn token_hint(&self) -> Option<TokenHint> {
        self.stores.iter().find_map(C::token_hint)
    }

    /// Finds out whether `password` is that of the user who claims to be `name`, at `peer`.
    ///
    /// - Waits first for as long as earlier failures demand.
    ///
    /// A verification that has begun is finished, and keeps its place among `hashes_at_once`, even
    /// if the future is dropped: clients that hang up cannot start more of them.
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
        let attempt = self.take_turn(peer, name).await?;
        let password = Arc::new(password);
        let Verdict { store, outcome } = self.judge(name, &password).await;
        match &outcome {
            Ok(_) | Err(Reason::NotAllowed) => attempt.succeeded(),
            Err(Reason::ImpossibleName(_) | Reason::UnknownUser | Reason::WrongPassword) => {
                attempt.failed(&password);
            }
            Err(Reason::Overloaded | Reason::Unavailable(_)) => {}
        }
        outcome.map_err(|reason| {
            let store = store.and_then(|nth| self.stores.get(nth)).map(C::label);
            debug!(user = %name, store, "refused: {reason}");
            Refusal::of(name, reason)
        })
    }

    /// The same without any waiting, with the reason and the store that decided.
    pub async fn judge(&self, name: &ClaimedName, password: &Arc<Secret<Vec<u8>>>) -> Verdict {
        let username = match Username::try_from(name) {
            Ok(username) => username,
            Err(fault) => {
                let spent = match stand_in() {
                    Ok(name) => self.spend(&name, password, Asked::Nobody).await,
                    Err(reason) => Err(reason),
                };
                return Verdict::nobody(spent.err().unwrap_or(Reason::ImpossibleName(fault)));
            }
        };
        let mut asked = Asked::Nobody;
        for (nth, store) in self.stores.iter().enumerate() {
            let (account, decides) = match store.look_up(&username).await {
                Lookup::Found(account) => (account, true),
                Lookup::Perhaps(account) => (account, false),
                Lookup::Unknown => continue,
                Lookup::Unavailable(why) => return Verdict::of(nth, Err(Reason::Unavailable(why))),
            };
            match self.verify_or_recall(nth, store, &username, &account, password).await {
                Ok(Some(attributes)) => return Verdict::of(nth, admit(username, attributes)),
                Ok(None) if decides => return Verdict::of(nth, Err(Reason::WrongPassword)),
                Ok(None) => asked = Asked::Store,
                Err(reason) => return Verdict::of(nth, Err(reason)),
            }
        }
        let spent = self.spend(&username, password, asked).await;
        Verdict::nobody(spent.err().unwrap_or(Reason::UnknownUser))
    }

    /// How many passwords have been verified since the start, those for unknown users included.
    pub fn verifications(&self) -> u64 {
        self.verifications.load(Ordering::Relaxed)
    }

    /// Does the work of a verification for a user whom no store knows.
    async fn spend(
        &self,
        name: &Username,
        password: &Arc<Secret<Vec<u8>>>,
        asked: Asked,
    ) -> Result<(), Reason> {
        let decoy = self.stores.iter().find_map(|store| Some((store, store.decoy(name)?)));
        // A decoy is some user's verifier: that it matches must not count.
        match (decoy, asked) {
            (Some((store, decoy)), _) => {
                self.verify(store, name, &Account::new(decoy), password).await.map(drop)
            }
            (None, Asked::Store) => Ok(()),
            (None, Asked::Nobody) => self.compare(Verifier::costly(), password).await.map(drop),
        }
    }

    /// Finds out whom a token is for, and whether that is who the client says it is.
    ///
    /// # Errors
    /// The [`Refusal`]; what is wrong with the token is logged at debug level here.
    pub async fn redeem(
        &self,
        name: Option<&ClaimedName>,
        token: &Secret<Vec<u8>>,
        peer: IpAddr,
    ) -> Result<Identity, Refusal> {
        let nobody = ClaimedName::new(Vec::new());
        let claimed = name.unwrap_or(&nobody);
        let attempt = self.take_turn(peer, claimed).await?;
        for store in &self.stores {
            let why = match store.redeem(token).await {
                Redeemed::Foreign => continue,
                Redeemed::Unavailable(why) => {
                    return Err(Refusal::of(claimed, Reason::Unavailable(why)));
                }
                Redeemed::For(username, attributes) => {
                    if name.is_none_or(|name| Username::try_from(name).as_ref() == Ok(&username)) {
                        attempt.succeeded();
                        return admit(username, attributes)
                            .map_err(|reason| Refusal::of(claimed, reason));
                    }
                    format!("it is for {username}")
                }
                Redeemed::Bad(why) => why,
            };
            debug!(user = %claimed, why, "refused: the token is not good");
            attempt.failed(token);
            return Err(Refusal::BadToken);
        }
        debug!(user = %claimed, "refused: no store knows the token");
        attempt.failed(token);
        Err(Refusal::BadToken)
    }

    /// Lets in whoever has a certificate for `names`, if the client wants to be one of them and a
    /// store knows that user.
    ///
    /// - A client that does not say who it wants to be has to have a certificate for one name.
    ///
    /// # Errors
    /// The [`Refusal`]; what is wrong is logged at debug level here.
    pub async fn certify(
        &self,
        names: &[Username],
        wanted: Option<&ClaimedName>,
    ) -> Result<Identity, Refusal> {
        let username = match (wanted, names) {
            (None, [only]) => only.clone(),
            (None, _) => {
                debug!(names = names.len(), "refused: the certificate is not for one user");
                return Err(Refusal::BadCertificate);
            }
            (Some(wanted), names) => match Username::try_from(wanted) {
                Ok(username) if names.contains(&username) => username,
                Ok(_) | Err(_) => {
                    debug!(user = %wanted, "refused: the certificate is for somebody else");
                    return Err(Refusal::BadCertificate);
                }
            },
        };
        let claimed = ClaimedName::new(username.as_str().as_bytes());
        for store in &self.stores {
            match store.look_up(&username).await {
                Lookup::Found(account) => {
                    return admit(username, account.attributes)
                        .map_err(|reason| Refusal::of(&claimed, reason));
                }
                // It cannot tell without a password.
                Lookup::Perhaps(_) | Lookup::Unknown => {}
                Lookup::Unavailable(why) => {
                    return Err(Refusal::of(&claimed, Reason::Unavailable(why)));
                }
            }
        }
        debug!(user = %claimed, "refused: the certificate is for nobody who is known");
        Err(Refusal::BadCertificate)
    }

    /// Waits for as long as earlier failures of this user, or from this network, demand.
    pub(super) async fn take_turn(
        &self,
        peer: IpAddr,
        name: &ClaimedName,
    ) -> Result<Attempt<'_>, Refusal> {
        let attempt = self.throttle.attempt(peer, name).ok_or(Refusal::Throttled)?;
        let delay = attempt.delay();
        if !delay.is_zero() {
            debug!(user = %name, ?delay, "earlier log-ins have failed, this one has to wait");
            sleep(delay).await;
        }
        Ok(attempt)
    }

    /// The same as [`verify`](Self::verify), unless it is remembered to have been right.
    async fn verify_or_recall(
        &self,
        nth: usize,
        store: &C,
        name: &Username,
        account: &Account,
        password: &Arc<Secret<Vec<u8>>>,
    ) -> Result<Option<Attributes>, Reason> {
        let cache = self.cache.as_ref().filter(|_| account.verifier.cost() != Some(Cost::Trifling));
        let context = cache.map(|cache| (cache, account.verifier.fingerprint(nth)));
        if let Some((cache, context)) = &context
            && let Some(attributes) = cache.knows(name, context, password)
        {
            return Ok(Some(attributes));
        }
        let verified = self.verify(store, name, account, password).await?;
        if let Some(attributes) = &verified {
            if let Some((cache, context)) = &context {
                cache.remember(name, context, password, attributes.clone());
            }
            store.strengthen(name, &account.verifier, password).await;
        }
        Ok(verified)
    }

    /// What the store says of the user when the password is right, nothing when it is wrong.
    async fn verify(
        &self,
        store: &C,
        name: &Username,
        account: &Account,
        password: &Arc<Secret<Vec<u8>>>,
    ) -> Result<Option<Attributes>, Reason> {
        match &account.verifier {
            Verifier::Unusable(why) => Err(Reason::Unavailable(why.to_string())),
            Verifier::AtStore(_) => {
                let substitute = Secret::new(SUBSTITUTE.to_vec());
                let acceptable = is_acceptable(password);
                let password = if acceptable { password.as_ref() } else { &substitute };
                self.verifications.fetch_add(1, Ordering::Relaxed);
                match store.check(name, account, password).await {
                    Check::Right(attributes) => Ok(Some(attributes).filter(|_| acceptable)),
                    Check::Wrong => Ok(None),
                    Check::Unavailable(why) => Err(Reason::Unavailable(why)),
                }
            }
            verifier @ (Verifier::Plain(_) | Verifier::Hash(..) | Verifier::Scram(_)) => {
                let right = self.compare(verifier.clone(), password).await?;
                Ok(right.then(|| account.attributes.clone()))
            }
        }
    }

    async fn compare(
        &self,
        verifier: Verifier,
        password: &Arc<Secret<Vec<u8>>>,
    ) -> Result<bool, Reason> {
        if verifier.cost() == Some(Cost::Trifling) {
            self.verifications.fetch_add(1, Ordering::Relaxed);
            return compare(&verifier, password).map_err(Reason::Unavailable);
        }
        let (verifications, password) = (Arc::clone(&self.verifications), Arc::clone(password));
        let compared = self.in_turn(move || {
            verifications.fetch_add(1, Ordering::Relaxed);
            compare(&verifier, &password)
        });
        compared.await?.map_err(Reason::Unavailable)
    }

    /// Does what takes a processor for a while, when its turn comes. Once begun it is finished.
    pub(super) async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Reason> {
        let turn = match timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(closed)) => return Err(Reason::Unavailable(closed.to_string())),
            Err(_elapsed) => return Err(Reason::Overloaded),
        };
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|stopped| Reason::Unavailable(format!("verification ended: {stopped}")))
    }
}

/// Whether the work of a verification has been done at a store that cannot tell who is unknown.
enum Asked {
    Nobody,
    Store,
}

impl Verdict {
    fn of(nth: usize, outcome: Result<Identity, Reason>) -> Self {
        Self { store: Some(nth), outcome }
    }

    fn nobody(reason: Reason) -> Self {
        Self { store: None, outcome: Err(reason) }
    }
}

/// Whoever has the right password is let in, unless the store says that it is not for POP3.
pub(super) fn admit(name: Username, attributes: Attributes) -> Result<Identity, Reason> {
    if attributes.pop3 { Ok(Identity { name, attributes }) } else { Err(Reason::NotAllowed) }
}

/// Compares the password as it came and, where that makes a difference, as SASLprep makes it: hashes
/// that were taken over may be of the one or the other (RFC 4616 §2).
fn compare(verifier: &Verifier, password: &Secret<Vec<u8>>) -> Result<bool, String> {
    if is_acceptable(password) {
        if verifier.verify(password.expose())? {
            return Ok(true);
        }
        match saslprep(password.expose()) {
            Some(prepared) if prepared.expose() != password.expose() => {
                verifier.verify(prepared.expose())
            }
            Some(_) | None => Ok(false),
        }
    } else {
        // The same work, so that the answer comes no sooner.
        verifier.verify(SUBSTITUTE).map(|_| false)
    }
}

/// Whether anybody can have this password. A NUL would end it early where it is handed on.
fn is_acceptable(password: &Secret<Vec<u8>>) -> bool {
    let octets = password.expose();
    (1..=MAX_PASSWORD_OCTETS).contains(&octets.len()) && !octets.contains(&0)
}

/// So many users have their last password remembered.
const MOST_CACHED: usize = 100_000;

/// What is verified in place of a password that nobody can have.
const SUBSTITUTE: &[u8] = b"-";

impl Refusal {
    /// What the client may know; the name is for the line in the log.
    pub(super) fn of(name: &ClaimedName, reason: Reason) -> Self {
        match reason {
            Reason::ImpossibleName(_) | Reason::UnknownUser | Reason::WrongPassword => {
                Self::BadCredentials
            }
            Reason::NotAllowed => Self::NotAllowed,
            Reason::Overloaded => Self::Overloaded,
            Reason::Unavailable(why) => Self::Unavailable(format!("{name}: {why}")),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ImpossibleName(fault) => write!(f, "no user can have this name, it {fault}"),
            Self::UnknownUser => f.write_str("unknown user"),
            Self::WrongPassword => f.write_str("wrong password"),
            Self::NotAllowed => f.write_str("the user may not use POP3"),
            Self::Overloaded => f.write_str("too many log-ins at once"),
            Self::Unavailable(why) => write!(f, "passwords cannot be checked now: {why}"),
        }
    }
}

impl std::error::Error for Reason {}

/// The name that stands for all those that no user can have, where a decoy is chosen.
fn stand_in() -> Result<Username, Reason> {
    Username::try_from("nobody").map_err(|fault| Reason::Unavailable(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;
    use crate::auth::{Cost, Store, Table};

    const USERS: &str = "\
        mrose:{PLAIN}tanstaaf\n\
        light:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv\n\
        crypt:{SHA512-CRYPT}$6$salt$hash\n\
        absurd:$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv\n\
        barred:{PLAIN}tanstaaf::::::allow_nets=192.0.2.0/24\n";

    /// Passwords that are only compared wait for nobody.
    const HASHED: &str = "light:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv\n";
    const LIGHT: &str = "pässwörd mit Leer ";

    fn rules(hashes_at_once: u32, seconds: u64) -> Rules {
        Rules {
            hashes_at_once: NonZeroU32::new(hashes_at_once).unwrap(),
            hash_wait: Duration::from_secs(seconds),
            ..Rules::default()
        }
    }

    fn new<C: CredentialStore>(stores: Vec<C>, rules: Rules) -> Authenticator<C> {
        Authenticator::new(stores, rules, Arc::default()).unwrap()
    }

    fn authenticator(users: &str) -> Authenticator<Table> {
        let table = Table::try_from(users.as_bytes()).unwrap();
        new(vec![table], rules(2, 60))
    }

    async fn log_in<C: CredentialStore>(
        authenticator: &Authenticator<C>,
        name: &str,
        password: impl Into<Vec<u8>>,
    ) -> Result<String, Refusal> {
        let claim = ClaimedName::new(name.as_bytes());
        let identity = authenticator
            .authenticate(&claim, Secret::new(password.into()), "192.0.2.1".parse().unwrap())
            .await?;
        Ok(identity.username().to_string())
    }

    #[tokio::test]
    async fn the_right_password_and_no_other() {
        let authenticator = authenticator(USERS);
        for (name, password, outcome) in [
            ("mrose", "tanstaaf", Ok("mrose".to_owned())),
            ("MRose", "tanstaaf", Ok("mrose".to_owned())),
            ("light", "pässwörd mit Leer ", Ok("light".to_owned())),
            ("light", "pässwörd mit Leer", Err(Refusal::BadCredentials)),
            ("mrose", "Tanstaaf", Err(Refusal::BadCredentials)),
            ("mrose", "tanstaaf\0", Err(Refusal::BadCredentials)),
            ("mrose", "{PLAIN}tanstaaf", Err(Refusal::BadCredentials)),
            ("mrose", "", Err(Refusal::BadCredentials)),
            ("nobody", "tanstaaf", Err(Refusal::BadCredentials)),
            ("mrose\0", "tanstaaf", Err(Refusal::BadCredentials)),
            ("mrose\r\n", "tanstaaf", Err(Refusal::BadCredentials)),
            ("mrose:", "tanstaaf", Err(Refusal::BadCredentials)),
        ] {
            assert_eq!(log_in(&authenticator, name, password).await, outcome, "{name:?}");
        }
        let octets = log_in(&authenticator, "mrose", b"\xff\x80".to_vec()).await;
        assert_eq!(octets, Err(Refusal::BadCredentials));
    }

    #[tokio::test]
    async fn what_cannot_be_checked_is_never_a_wrong_password() {
        let authenticator = authenticator(USERS);
        for (name, reason) in
            [("crypt", "SHA512-CRYPT"), ("absurd", "m=4194304"), ("barred", "allow_nets")]
        {
            match log_in(&authenticator, name, "tanstaaf").await {
                Err(Refusal::Unavailable(why)) => {
                    assert!(why.starts_with(&format!("{name}: ")) && why.contains(reason), "{why}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        // Nothing was allocated or computed to find that out.
        assert_eq!(authenticator.verifications(), 0);
    }

    #[tokio::test]
    async fn every_refused_log_in_costs_one_verification() {
        let authenticator = authenticator(USERS);
        let long = "x".repeat(MAX_PASSWORD_OCTETS + 1);
        for (done, (name, password)) in (1..).zip([
            ("mrose", "wrong"),
            ("mrose", ""),
            ("mrose", long.as_str()),
            ("nobody", "wrong"),
            ("nobody", ""),
            ("nobody", long.as_str()),
            ("../mrose", "wrong"),
            ("", "wrong"),
            ("' OR 1=1 --", "wrong"),
            ("*)(uid=*", "wrong"),
            ("%u", "wrong"),
            ("%{user}", "wrong"),
            ("\u{202e}mrose", "wrong"),
            ("mrose@example.org@", "wrong"),
        ]) {
            let outcome = log_in(&authenticator, name, password).await;
            assert_eq!(outcome, Err(Refusal::BadCredentials), "{name:?}");
            assert_eq!(authenticator.verifications(), done, "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_password_of_4096_octets_is_taken_and_one_more_is_not() {
        let longest = "x".repeat(MAX_PASSWORD_OCTETS);
        let stored = authenticator(&format!("mrose:{{PLAIN}}{longest}\nlong:{{PLAIN}}{longest}x"));
        assert_eq!(log_in(&stored, "mrose", longest.as_str()).await, Ok("mrose".into()));
        let refused = log_in(&stored, "long", longest + "x").await;
        assert_eq!(refused, Err(Refusal::BadCredentials));
    }

    #[tokio::test]
    async fn a_decoy_that_matches_lets_nobody_in() {
        // The only user's verifier is the decoy of every other name.
        let authenticator = authenticator("mrose:{PLAIN}tanstaaf");
        for name in ["nobody", "../mrose", "mrose@example.org"] {
            let outcome = log_in(&authenticator, name, "tanstaaf").await;
            assert_eq!(outcome, Err(Refusal::BadCredentials), "{name}");
        }
    }

    #[tokio::test]
    async fn without_users_a_log_in_costs_what_a_new_user_would() {
        let authenticator = authenticator("# nobody yet\n");
        let outcome = log_in(&authenticator, "mrose", "tanstaaf").await;
        assert_eq!(outcome, Err(Refusal::BadCredentials));
        assert_eq!(authenticator.verifications(), 1);
        let cost = Cost::Argon2 { memory: 19_456, passes: 2, lanes: 1 };
        assert_eq!(Verifier::costly().cost(), Some(cost));
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_at_once_are_told_to_come_back() {
        let table = Table::try_from(HASHED.as_bytes()).unwrap();
        let wait = Duration::from_secs(5);
        let authenticator = new(vec![table], rules(1, 5));
        let busy = Arc::clone(&authenticator.turns).acquire_owned().await.unwrap();
        let asked = tokio::time::Instant::now();
        // Known or not, right or wrong: overload says nothing about the password.
        for (name, password) in [("light", LIGHT), ("light", "wrong"), ("nobody", "wrong")] {
            let outcome = log_in(&authenticator, name, password).await;
            assert_eq!(outcome, Err(Refusal::Overloaded));
        }
        assert_eq!(asked.elapsed(), 3 * wait);
        assert_eq!(authenticator.verifications(), 0);
        drop(busy);
        assert_eq!(log_in(&authenticator, "light", LIGHT).await, Ok("light".into()));
    }

    #[test]
    fn a_client_that_hangs_up_keeps_its_turn_to_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            // The only thread for verifications is busy, so that one that has begun does not end.
            let (release, released) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || released.recv().is_ok());
            let table = Table::try_from(HASHED.as_bytes()).unwrap();
            let authenticator = new(vec![table], rules(1, 60));
            let mut hung_up = Box::pin(log_in(&authenticator, "light", LIGHT));
            assert!(tokio::time::timeout(Duration::ZERO, &mut hung_up).await.is_err());
            drop(hung_up);
            assert_eq!(authenticator.turns.available_permits(), 0);
            release.send(()).unwrap();
            assert!(busy.await.unwrap());
            assert_eq!(log_in(&authenticator, "light", LIGHT).await, Ok("light".into()));
            assert_eq!(authenticator.verifications(), 2);
        });
    }

    /// The class of CVE-2025-30189: a cache that hands out one user for another.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_logs_in_is_who_the_password_belongs_to() {
        let users: HashMap<String, String> =
            (0..200).map(|n| (format!("user{n}"), format!("secret{n}"))).collect();
        let text: String =
            users.iter().map(|(name, word)| format!("{name}:{{PLAIN}}{word}\n")).collect();
        let table = Table::try_from(text.as_bytes()).unwrap();
        let stores = vec![Store::Table(table)];
        let authenticator = Arc::new(new(stores, rules(4, 60)));
        let mut log_ins = tokio::task::JoinSet::new();
        for round in 0..5 {
            for (name, word) in &users {
                let authenticator = Arc::clone(&authenticator);
                let (name, word) = (name.clone(), word.clone());
                log_ins.spawn(async move {
                    if round % 2 == 0 {
                        let found = log_in(&*authenticator, &name, word.as_str()).await;
                        assert_eq!(found.as_ref(), Ok(&name));
                        found.ok()
                    } else {
                        // Another user's password.
                        let found = log_in(&*authenticator, &name, word + "0").await;
                        assert_eq!(found, Err(Refusal::BadCredentials));
                        None
                    }
                });
            }
        }
        let mut seen = BTreeSet::new();
        while let Some(done) = log_ins.join_next().await {
            seen.extend(done.unwrap());
        }
        assert_eq!(seen.len(), users.len());
    }
}
