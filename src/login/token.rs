//! Log-ins by a token (RFC 6750), which says for whom it is: the stores that know about tokens are
//! asked, and no password is.

use std::net::IpAddr;

use tracing::info;

use super::authenticator::{admit, fail};
use super::throttle::Attempt;
use super::{Authenticator, Identity, Reason, Refusal};
use crate::credentials::{CredentialStore, Redeemed};
use crate::limits::Entry;
use crate::protocol::{ClaimedName, Secret, Username};

impl<C: CredentialStore> Authenticator<C> {
    /// Finds out whom a token is for, and whether that is who the client says it is.
    ///
    /// - What another store says of that user holds; a user whom none knows is let in as well.
    ///
    /// # Errors
    /// The [`Refusal`]; what is wrong with the token is logged here.
    pub async fn redeem(
        &self,
        name: Option<&ClaimedName>,
        token: &Secret<Vec<u8>>,
        peer: IpAddr,
    ) -> Result<Identity, Refusal> {
        let nobody = ClaimedName::new(Vec::new());
        let claimed = name.unwrap_or(&nobody);
        let attempt = self.take_turn(peer, name).await?;
        for store in self.stores() {
            let why = match store.redeem(token).await {
                Redeemed::Foreign => continue,
                Redeemed::Unavailable(why) => {
                    return Err(Refusal::of(claimed, Reason::Unavailable(why)));
                }
                Redeemed::For(named) => match self.whole(named) {
                    Ok(user) if claims_to_be(name, &user) => {
                        let admitted = self.known(&user, None).await.and_then(|account| {
                            let attributes = account.map(|account| account.attributes);
                            admit(user, attributes.unwrap_or_default(), Some(peer))
                        });
                        match admitted {
                            Err(Reason::NotFromThere) => {
                                "its user may not log in from this address".to_owned()
                            }
                            admitted => {
                                attempt.succeeded();
                                return admitted.map_err(|reason| Refusal::of(claimed, reason));
                            }
                        }
                    }
                    Ok(user) => format!("it is for {user}"),
                    Err(fault) => format!("with default-domain, the name of its user {fault}"),
                },
                Redeemed::Bad(why) => why,
            };
            if attempt.logs(peer, Entry::Refusal) {
                info!(user = %claimed, why, "refused: the token is not good");
            }
            return Err(bad(attempt, token).await);
        }
        if attempt.logs(peer, Entry::Refusal) {
            info!(user = %claimed, "refused: no store knows the token");
        }
        Err(bad(attempt, token).await)
    }
}

async fn bad(attempt: Attempt, token: &Secret<Vec<u8>>) -> Refusal {
    fail(attempt, token).await.err().unwrap_or(Refusal::BadToken)
}

/// Whether a client that may have said who it is means this user.
fn claims_to_be(name: Option<&ClaimedName>, user: &Username) -> bool {
    name.is_none_or(|name| Username::try_from(name).as_ref() == Ok(user))
}
