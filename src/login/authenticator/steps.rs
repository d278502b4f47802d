//! The steps that logins of all kinds share: the wait for earlier failures, the look-up in the stores,
//! and the restrictions of the user.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use super::Authenticator;
use crate::counters;
use crate::credentials::{Account, Attributes, CredentialStore, Lookup};
use crate::login::throttle::{Attempt, Failure};
use crate::login::turns::{Caller, Standing};
use crate::login::{Identity, Reason, Refusal};
use crate::protocol::{ClaimedName, NameError, Secret, Username};

impl<C: CredentialStore> Authenticator<C> {
    /// The user of a token, with the default domain if its name has none.
    pub(in crate::login) fn whole(&self, name: Username) -> Result<Username, NameError> {
        match &self.default_domain {
            Some(domain) => (&ClaimedName::new(name.as_str().as_bytes()).within(domain)).try_into(),
            None => Ok(name),
        }
    }

    /// Looks a user up without a password; `None` if no store knows the user, of those that can tell
    /// without one. An attempt waits for the failures of the account.
    pub(in crate::login) async fn known(
        &self,
        name: &Username,
        mut attempt: Option<&mut Attempt>,
    ) -> Result<Option<Account>, Reason> {
        for (nth, store) in self.stores.iter().enumerate() {
            let found = match store.look_up(name).await {
                Lookup::Found(account) => Some(account),
                Lookup::Perhaps(_) | Lookup::Unknown => None,
                Lookup::Unavailable(why) => return Err(Reason::unavailable(why)),
            };
            if let Some(attempt) = attempt.as_deref_mut() {
                self.wait_for_account(attempt, nth, name, found.as_ref()).await?;
            }
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Begins an attempt, and waits as long as earlier failures of this user and network demand.
    pub(in crate::login) async fn take_turn(
        &self,
        peer: IpAddr,
        name: Option<&ClaimedName>,
    ) -> Result<Attempt, Refusal> {
        let attempt = self.throttle.attempt(peer, name).ok_or(Refusal::Throttled)?;
        let delay = attempt.delay();
        if !delay.is_zero() {
            count_delay(delay);
            debug!(
                user = name.map(tracing::field::display),
                ?delay,
                "earlier logins have failed, this one waits"
            );
            sleep(delay).await;
        }
        Ok(attempt)
    }

    /// Waits as long as earlier failures demand of the account that a name leads to.
    pub(in crate::login) async fn wait_for_account(
        &self,
        attempt: &mut Attempt,
        nth: usize,
        name: &Username,
        found: Option<&Account>,
    ) -> Result<(), Reason> {
        let key = self.stores.get(nth).and_then(|store| store.account_key(name, found));
        let Some(key) = key else { return Ok(()) };
        let key = [&nth.to_be_bytes(), key.as_slice()].concat();
        let delay = attempt.leads_to(&key).ok_or(Reason::Throttled)?;
        if !delay.is_zero() {
            count_delay(delay);
            debug!(user = %name, ?delay, "earlier logins to this account have failed");
            sleep(delay).await;
        }
        Ok(())
    }
}

fn count_delay(delay: Duration) {
    if let Some(counters) = counters::on() {
        counters.throttle_delay.observe(delay);
    }
}

/// Counts a wrong password, and waits until a new pair would be answered, so that the time does not
/// reveal who has logged in from there before. Returns whether the same password was counted already.
pub(in crate::login) async fn fail(
    attempt: Attempt,
    password: &Secret<Vec<u8>>,
) -> Result<bool, Refusal> {
    let Failure { repeated, pause } = attempt.failed(password);
    sleep(pause.ok_or(Refusal::Throttled)?).await;
    Ok(repeated)
}

impl Caller {
    /// A caller that is known if its attempt is, or if there is no attempt.
    pub(in crate::login) fn new(peer: Option<IpAddr>, attempt: Option<&Attempt>) -> Self {
        let is_known = attempt.is_none_or(Attempt::is_known);
        let standing = if is_known { Standing::Known } else { Standing::New };
        Self { peer: peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), standing }
    }
}

/// Admits a user with the right password, unless the store forbids POP3 or the address.
pub(in crate::login) fn admit(
    name: Username,
    attributes: Attributes,
    peer: Option<IpAddr>,
) -> Result<Identity, Reason> {
    if !attributes.allow(peer) {
        // This comes first, as the client is told the other reason.
        Err(Reason::NotFromThere)
    } else if attributes.pop3 {
        Ok(Identity { name, attributes, app_password: None })
    } else {
        Err(Reason::NotAllowed)
    }
}
