//! Bearer tokens as credentials (RFC 6750). Signed tokens are verified with the keys of the provider
//! (RFC 9068), or the provider is asked about each token (RFC 7662).
//!
//! - `token`: parsing. `signer`: the algorithm and the key that a token names. `claims`: the claims that a login needs.
//! - `keys`: the keys of the provider. `introspection`: the question about a token.
//! - `web`: requests to the provider. `error`: their errors, and those of tokens. `peer_text`: text
//!   of others in errors.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::claims::Claims;
use self::error::{Error, TokenError};
use self::introspection::Endpoint;
use self::keys::{Keyring, Unverified, discovery_address};
use self::token::Jwt;
use self::web::Web;
use crate::config::{Oauth2Section, TokenTerms};
use crate::credentials::{Breaker, OpenError, Outage, Redeemed, StoreError, TokenProvider};
use crate::protocol::Secret;
use crate::protocol::sasl::TokenGuidance;

mod claims;
mod error;
mod introspection;
mod keys;
mod peer_text;
mod signer;
#[cfg(test)]
mod tests;
mod token;
mod web;

/// A provider of tokens. A token names its user.
///
/// - A token that names another issuer is left to the next provider. So is a token without an issuer,
///   unless the provider is asked about tokens.
/// - While the provider is down, no token is called bad.
#[derive(Debug)]
pub struct Oauth2Provider {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    provider: Arc<Provider>,
    breaker: Breaker<Error>,
}

/// The provider, without the breaker.
#[derive(Debug)]
struct Provider {
    terms: TokenTerms,
    way: Way,
    web: Web,
}

/// How tokens are verified.
#[derive(Debug)]
enum Way {
    Keys(Keyring),
    Introspection(Endpoint),
}

impl Oauth2Provider {
    /// Opens a provider without connecting to it. Must be called within a runtime.
    ///
    /// # Errors
    /// There is no client secret, or there are no certificates to trust.
    pub fn open(section: &Oauth2Section) -> Result<Self, OpenError> {
        let Oauth2Section { terms, introspection, ca, asking } = section.clone();
        let way = match introspection {
            None => Way::Keys(Keyring::new(terms.issuer.clone())),
            Some(introspection) => Way::Introspection(Endpoint::of(introspection)?),
        };
        let web = Web::new(ca.as_deref(), asking.deadline)?;
        let provider = Arc::new(Provider { terms, way, web });
        let probe = |provider: Arc<Provider>| async move { provider.reach().await.map(drop) };
        let breaker = Breaker::new(provider.label(), asking, &provider, probe);
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
                Err(error) => return Redeemed::Bad(error.into()),
            };
            let shared = Arc::clone(&self.shared);
            // The task goes on if the client hangs up, so that clients which hang up cannot have
            // more requests under way than others.
            let redeemed = tokio::spawn(async move { shared.redeem(token.expose()).await }).await;
            redeemed.unwrap_or_else(|stopped| Redeemed::Unavailable(stopped.into()))
        })
    }

    fn guidance(&self) -> TokenGuidance {
        let TokenTerms { issuer, scope, .. } = &self.shared.provider.terms;
        let openid_configuration = Some(discovery_address(issuer));
        TokenGuidance { scope: scope.clone(), openid_configuration }
    }

    fn down(&self) -> Option<Outage> {
        match &self.shared.provider.way {
            Way::Keys(keys) if keys.has_keys() => None,
            Way::Keys(_) | Way::Introspection(_) => self.shared.breaker.down(),
        }
    }

    fn probe(&self) -> Pin<Box<dyn Future<Output = Result<String, StoreError>> + Send + '_>> {
        let Shared { provider, breaker } = self.shared.as_ref();
        Box::pin(async move { Ok(breaker.bypass(provider.reach()).await?) })
    }
}

impl Shared {
    async fn redeem(&self, token: &str) -> Redeemed {
        let Provider { terms, way, web } = self.provider.as_ref();
        let jwt = Jwt::parse(token);
        let issuer = jwt.as_ref().and_then(|jwt| jwt.claims.get("iss"));
        let is_ours = issuer.is_some_and(|issuer| issuer.as_str() == Some(&terms.issuer));
        if issuer.is_some() && !is_ours {
            return Redeemed::Foreign;
        }
        match (way, &jwt) {
            (Way::Keys(keys), Some(jwt)) if is_ours => {
                match keys.verify(jwt, web, &self.breaker).await {
                    // RFC 9068 §2.2
                    Ok(()) if jwt.claims.get("exp").is_none() => {
                        Redeemed::Bad(TokenError::NoExpiry.into())
                    }
                    Ok(()) => terms.judge(&jwt.claims),
                    Err(Unverified::Bad(error)) => Redeemed::Bad(error.into()),
                    Err(Unverified::Unavailable(why)) => Redeemed::Unavailable(why.into()),
                }
            }
            (Way::Keys(_), _) => Redeemed::Foreign,
            (Way::Introspection(introspection), _) => {
                match self.breaker.call(introspection.ask(web, token)).await {
                    Ok(Some(claims)) => terms.judge(&claims),
                    Ok(None) => Redeemed::Bad(TokenError::Inactive.into()),
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

    /// Asks a question that needs no good token; returns what was reached.
    async fn reach(&self) -> Result<String, Error> {
        match &self.way {
            Way::Keys(keys) => {
                let count = keys.fetch(&self.web).await?.len();
                Ok(format!("{} has {count} keys to verify tokens with", self.terms.issuer))
            }
            Way::Introspection(introspection) => {
                let url = &introspection.url;
                match introspection.ask(&self.web, UNKNOWN_TOKEN).await? {
                    None => Ok(format!("{url} answers questions about tokens")),
                    Some(_) => Err(Error::TakesAnyToken(url.clone())),
                }
            }
        }
    }
}

impl TokenTerms {
    /// Judges the claims of a token, which must come from the provider.
    fn judge(&self, claims: &Claims) -> Redeemed {
        // With a clock before 1970, every token with an `exp` has expired.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::MAX);
        match self.user(claims, now.as_secs_f64()) {
            Ok(name) => Redeemed::For(name),
            Err(error) => Redeemed::Bad(error.into()),
        }
    }
}

/// A token that no provider has issued.
const UNKNOWN_TOKEN: &str = "restante-probe";
