//! Logins with a token (RFC 6750). The provider of a token names the user; the stores of passwords
//! have the user's attributes.

use std::net::IpAddr;

use tracing::info;

use super::authenticator::{admit, fail};
use super::throttle::Attempt;
use super::{Authenticator, Identity, Reason, Refusal};
use crate::credentials::{CredentialStore, Redeemed, StoreError};
use crate::limits::Entry;
use crate::protocol::{ClaimedName, NameError, Secret, Username};

/// Why a token is refused. For the log.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("{0}")]
    Provider(StoreError),
    #[error("with default-domain, the name of its user {0}")]
    Name(NameError),
    #[error("it is for {0}")]
    AnotherUser(Username),
    #[error("its user may not log in from this address")]
    NotFromThere,
}

impl<C: CredentialStore> Authenticator<C> {
    /// Lets the user of a token log in, unless the client claims to be another user.
    ///
    /// - The attributes of that user in the stores of passwords apply. A user who is in none of them
    ///   logs in as well.
    ///
    /// # Errors
    /// The [`Refusal`]. What is wrong with the token is logged here.
    pub async fn redeem(
        &self,
        name: Option<&ClaimedName>,
        token: &Secret<Vec<u8>>,
        peer: IpAddr,
    ) -> Result<Identity, Refusal> {
        let unnamed = ClaimedName::new(Vec::new());
        let claimed = name.unwrap_or(&unnamed);
        let attempt = self.take_turn(peer, name).await?;
        for provider in self.token_providers() {
            let why = match provider.redeem(token).await {
                Redeemed::Foreign => continue,
                Redeemed::Unavailable(why) => {
                    return Err(Refusal::of(claimed, Reason::unavailable(why)));
                }
                Redeemed::Bad(why) => TokenError::Provider(why),
                Redeemed::For(user) => match self.admit_user(user, name, peer).await {
                    Ok(admitted) => {
                        attempt.succeeded();
                        return admitted.map_err(|reason| Refusal::of(claimed, reason));
                    }
                    Err(why) => why,
                },
            };
            if attempt.logs(peer, Entry::Refusal) {
                info!(user = %claimed, %why, "refused: the token is not good");
            }
            return Err(bad(attempt, token).await);
        }
        if attempt.logs(peer, Entry::Refusal) {
            info!(user = %claimed, "refused: no provider knows the token");
        }
        Err(bad(attempt, token).await)
    }

    async fn admit_user(
        &self,
        user: Username,
        claimed: Option<&ClaimedName>,
        peer: IpAddr,
    ) -> Result<Result<Identity, Reason>, TokenError> {
        let user = self.whole(user).map_err(TokenError::Name)?;
        if !claims_to_be(claimed, &user) {
            return Err(TokenError::AnotherUser(user));
        }
        let admitted = self.known(&user, None).await.and_then(|account| {
            let attributes = account.map(|account| account.attributes);
            admit(user, attributes.unwrap_or_default(), Some(peer))
        });
        match admitted {
            Err(Reason::NotFromThere) => Err(TokenError::NotFromThere),
            admitted => Ok(admitted),
        }
    }
}

async fn bad(attempt: Attempt, token: &Secret<Vec<u8>>) -> Refusal {
    fail(attempt, token).await.err().unwrap_or(Refusal::BadToken)
}

/// Whether a client claims to be this user, or no user in particular.
fn claims_to_be(name: Option<&ClaimedName>, user: &Username) -> bool {
    name.is_none_or(|name| Username::try_from(name).as_ref() == Ok(user))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::path::Path;
    use std::pin::Pin;
    use std::sync::Arc;

    use super::*;
    use crate::credentials::{Outage, Table, TokenProvider};
    use crate::login::Rules;
    use crate::protocol::sasl::TokenGuidance;

    /// A provider whose tokens are the names of its users.
    #[derive(Debug)]
    struct Provider;

    impl TokenProvider for Provider {
        fn label(&self) -> String {
            "provider".into()
        }

        fn redeem<'a>(
            &'a self,
            token: &'a Secret<Vec<u8>>,
        ) -> Pin<Box<dyn Future<Output = Redeemed> + Send + 'a>> {
            Box::pin(async {
                match Username::try_from(str::from_utf8(token.expose()).unwrap()) {
                    Ok(name) => Redeemed::For(name),
                    Err(error) => Redeemed::Bad(error.into()),
                }
            })
        }

        fn guidance(&self) -> TokenGuidance {
            TokenGuidance::default()
        }

        fn down(&self) -> Option<Outage> {
            None
        }

        fn probe(&self) -> Pin<Box<dyn Future<Output = Result<String, StoreError>> + Send + '_>> {
            Box::pin(async { Ok("it is there".into()) })
        }
    }

    fn authenticator(users: &[u8], default_domain: Option<&str>) -> Authenticator<Table> {
        let rules = Rules { default_domain: default_domain.map(Into::into), ..Rules::default() };
        Authenticator::new(vec![Table::try_from(users).unwrap()], rules, Arc::default())
            .unwrap()
            .with_token_providers(vec![Box::new(Provider)])
    }

    #[tokio::test]
    async fn the_attributes_of_a_store_apply_to_the_user_of_a_token() {
        let users: &[u8] = b"mrose@example.org:{PLAIN}x::::/home/mrose::sessions=2\n\
            away@example.org:{PLAIN}x::::::pop3=no\nbarred@example.org:{PLAIN}x::::::nologin\n\
            there@example.org:{PLAIN}x::::::allow_nets=198.51.100.0/24 pop3=no\n";
        let authenticator = authenticator(users, None);
        let login = async |email: &str| {
            let token = Secret::new(email.into());
            authenticator.redeem(None, &token, "192.0.2.1".parse().unwrap()).await
        };
        let known = login("mrose@example.org").await.unwrap();
        assert_eq!(known.home(), Some(Path::new("/home/mrose")));
        assert_eq!(known.sessions(), NonZeroU32::new(2));
        let unknown = login("stranger@example.org").await.unwrap();
        assert_eq!((unknown.home(), unknown.sessions()), (None, None));
        assert_eq!(login("away@example.org").await.unwrap_err(), Refusal::NotAllowed);
        assert_eq!(login("there@example.org").await.unwrap_err(), Refusal::BadToken);
        let barred = login("barred@example.org").await.unwrap_err();
        assert!(matches!(barred, Refusal::Unavailable(why) if why.contains("nologin")));
    }

    /// A client may choose a domain for user names by the host name of the TLS handshake, but not for
    /// the user of a token.
    #[tokio::test]
    async fn a_token_without_a_domain_is_for_a_user_of_the_default_domain_and_no_other() {
        let authenticator = authenticator(b"fred:{PLAIN}x", Some("example.org"));
        let login = async |email: &str, name: &str| {
            let (name, token) = (ClaimedName::new(name.as_bytes()), Secret::new(email.into()));
            authenticator.redeem(Some(&name), &token, "192.0.2.1".parse().unwrap()).await
        };
        for email in ["mrose", "mrose@example.org"] {
            let identity = login(email, "mrose@example.org").await.unwrap();
            assert_eq!(identity.username().as_str(), "mrose@example.org");
            for name in ["mrose@example.net", "mrose", ""] {
                assert_eq!(login(email, name).await.unwrap_err(), Refusal::BadToken, "{name}");
            }
        }
        let long = "x".repeat(250);
        assert_eq!(login(&long, &long).await.unwrap_err(), Refusal::BadToken);
    }
}
