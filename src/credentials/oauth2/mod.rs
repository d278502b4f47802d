//! Tokens of a provider as credentials (RFC 6750): signed ones are verified here with its keys
//! (RFC 9068), or it is asked about every one (RFC 7662).
//!
//! - `token`: a token taken apart. `claims`: what it has to say.
//! - `keys`: the keys of the provider. `introspection`: the question to it.
//! - `web`: the requests.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::claims::Claims;
use self::introspection::Endpoint;
use self::keys::{Keyring, Unverified, discovery_address};
use self::token::Jwt;
use self::web::Web;
use crate::config::{Asking, Oauth2Section, TokenTerms};
use crate::credentials::breaker::within;
use crate::credentials::{Breaker, OpenError, Redeemed, StoreError, TokenProvider};
use crate::protocol::Secret;
use crate::protocol::sasl::TokenGuidance;

mod claims;
mod introspection;
mod keys;
#[cfg(test)]
mod tests;
mod token;
mod web;

/// A provider of tokens. Who brings one is the user that the token names.
///
/// - A token that another provider made, by its own words, is for the next provider. So is one that
///   says nothing, unless the provider is asked about tokens.
/// - A provider that is down is never a bad token.
#[derive(Debug)]
pub struct Oauth2Provider {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    provider: Arc<Provider>,
    breaker: Breaker<String>,
}

/// The provider, past the breaker.
#[derive(Debug)]
struct Provider {
    terms: TokenTerms,
    way: Way,
    web: Web,
    deadline: Duration,
}

/// How it is found out whether a token is good.
#[derive(Debug)]
enum Way {
    Keys(Keyring),
    Introspection(Endpoint),
}

impl Oauth2Provider {
    /// Takes the tokens of one provider, which need not be there yet. Has to be called within
    /// a runtime.
    ///
    /// # Errors
    /// That there is no secret, or that there are no certificates to trust.
    pub fn open(section: &Oauth2Section) -> Result<Self, OpenError> {
        let Oauth2Section { terms, introspection, ca, asking } = section.clone();
        let Asking { deadline, at_once } = asking;
        let way = match introspection {
            None => Way::Keys(Keyring::new(terms.issuer.clone())),
            Some(introspection) => Way::Introspection(Endpoint::of(introspection)?),
        };
        let web = Web::new(ca.as_deref(), deadline)?;
        let provider = Arc::new(Provider { terms, way, web, deadline });
        let asked = Arc::clone(&provider);
        let probe = move || {
            let provider = Arc::clone(&asked);
            async move { provider.reach().await.map(drop) }
        };
        let breaker = Breaker::new(provider.label(), at_once, deadline, probe);
        Ok(Self { shared: Arc::new(Shared { provider, breaker }) })
    }
}

impl TokenProvider for Oauth2Provider {
    fn label(&self) -> String {
        self.shared.provider.label()
    }

    fn redeem<'a>(
        &'a self,
        token: &'a Secret<Vec<u8>>,
    ) -> Pin<Box<dyn Future<Output = Redeemed> + Send + 'a>> {
        Box::pin(async {
            let token = match token::text(token.expose()) {
                Ok(token) => Secret::new(token.to_owned()),
                Err(why) => return Redeemed::Bad(StoreError(why.into())),
            };
            let shared = Arc::clone(&self.shared);
            // What has begun is finished even if the client hangs up: it cannot have more questions
            // under way than others.
            let redeemed = tokio::spawn(async move { shared.redeem(token.expose()).await }).await;
            redeemed.unwrap_or_else(|stopped| Redeemed::Unavailable(stopped.into()))
        })
    }

    fn guidance(&self) -> TokenGuidance {
        let TokenTerms { issuer, scope, .. } = &self.shared.provider.terms;
        let openid_configuration = Some(discovery_address(issuer));
        TokenGuidance { scope: scope.clone(), openid_configuration }
    }

    fn down(&self) -> Option<StoreError> {
        match &self.shared.provider.way {
            Way::Keys(keys) if keys.is_in_force() => None,
            Way::Keys(_) | Way::Introspection(_) => {
                self.shared.breaker.down().map(StoreError::from)
            }
        }
    }

    fn probe(&self) -> Pin<Box<dyn Future<Output = Result<String, StoreError>> + Send + '_>> {
        let Provider { deadline, .. } = *self.shared.provider;
        Box::pin(async move { Ok(within(deadline, self.shared.provider.reach()).await?) })
    }
}

impl Shared {
    async fn redeem(&self, token: &str) -> Redeemed {
        let Provider { terms, way, web, deadline } = self.provider.as_ref();
        let jwt = Jwt::parse(token);
        let issuer = jwt.as_ref().and_then(|jwt| jwt.claims().get("iss"));
        let is_ours = issuer.is_some_and(|issuer| issuer.as_str() == Some(&terms.issuer));
        if issuer.is_some() && !is_ours {
            return Redeemed::Foreign;
        }
        match (way, &jwt) {
            (Way::Keys(keys), Some(jwt)) if is_ours => {
                match keys.verify(jwt, web, &self.breaker, *deadline).await {
                    // RFC 9068 §2.2
                    Ok(()) if jwt.claims().get("exp").is_none() => {
                        Redeemed::Bad(StoreError("the token has no exp".into()))
                    }
                    Ok(()) => terms.judge(jwt.claims()),
                    Err(Unverified::Bad(why)) => Redeemed::Bad(StoreError(why.into())),
                    Err(Unverified::Unavailable(why)) => {
                        Redeemed::Unavailable(StoreError(why.into()))
                    }
                }
            }
            (Way::Keys(_), _) => Redeemed::Foreign,
            (Way::Introspection(introspection), _) => {
                match self.breaker.call(*deadline, introspection.ask(web, token)).await {
                    Ok(Some(claims)) => terms.judge(&claims),
                    Ok(None) => {
                        let why = "the provider says that the token is not good";
                        Redeemed::Bad(StoreError(why.into()))
                    }
                    Err(why) => Redeemed::Unavailable(why.into()),
                }
            }
        }
    }
}

impl Provider {
    fn label(&self) -> String {
        format!("oauth2 {}", self.terms.issuer)
    }

    /// Asks what can be answered whoever has which token; says what was reached.
    async fn reach(&self) -> Result<String, String> {
        match &self.way {
            Way::Keys(keys) => {
                let count = keys.fetch(&self.web).await?.len();
                Ok(format!("{} has {count} keys to verify tokens with", self.terms.issuer))
            }
            Way::Introspection(introspection) => {
                let url = introspection.url();
                match introspection.ask(&self.web, UNKNOWN_TOKEN).await? {
                    None => Ok(format!("{url} answers questions about tokens")),
                    Some(_) => Err(format!("{url} takes any token for a good one")),
                }
            }
        }
    }
}

impl TokenTerms {
    /// Judges the claims of a token, which are known to be the provider's.
    fn judge(&self, claims: &Claims) -> Redeemed {
        // A clock before 1970 is no reason to take tokens for fresh that have expired since.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::MAX);
        match self.user(claims, now.as_secs_f64()) {
            Ok(name) => Redeemed::For(name),
            Err(why) => Redeemed::Bad(StoreError(why.into())),
        }
    }
}

/// A token that no provider has issued.
const UNKNOWN_TOKEN: &str = "restante-probe";
