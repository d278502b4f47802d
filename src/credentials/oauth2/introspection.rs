//! Token introspection: the provider is asked about each token (RFC 7662).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::claims::Claims;
use super::error::{Error, Problem};
use super::web::{Answer, Web, form_encoded, json};
use crate::config::Introspection;
use crate::credentials::{OpenError, secret_file};
use crate::protocol::Secret;

/// The introspection endpoint, with our credentials for it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: String,
    authorization: Secret<String>,
}

impl Endpoint {
    /// The endpoint of the configuration, with the secret from its file.
    pub(super) fn of(introspection: Introspection) -> Result<Self, OpenError> {
        let Introspection { url, client_id, client_secret_file } = introspection;
        let secret =
            secret_file::read(&client_secret_file).map_err(OpenError::at("client-secret-file"))?;
        // RFC 6749 §2.3.1
        let secret = Secret::new(form_encoded(secret.expose()));
        let pair = Secret::new(format!("{}:{}", form_encoded(&client_id), secret.expose()));
        let authorization = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
        Ok(Self { url, authorization })
    }

    /// The claims of a token; `None` if it is not active, or the provider does not know it.
    ///
    /// A provider that refuses our credentials says nothing about the token, so this is an error.
    pub(super) async fn ask(&self, web: &Web, token: &str) -> Result<Option<Claims>, Error> {
        self.claims(web, token).await.map_err(Error::answer(&self.url))
    }

    async fn claims(&self, web: &Web, token: &str) -> Result<Option<Claims>, Problem> {
        // RFC 7662 §2.1
        let form = format!("token={}&token_type_hint=access_token", form_encoded(token));
        let authorization = self.authorization.expose();
        let Answer { status, body } = web.post(&self.url, authorization, Secret::new(form)).await?;
        match status {
            200 => {}
            401 | 403 => return Err(Problem::ClientRefused(status)),
            _ => return Err(Problem::Status(status)),
        }
        let members: Map<String, Value> = json(&body)?;
        // RFC 7662 §2.2
        match members.get("active") {
            Some(Value::Bool(true)) => Ok(Some(Claims::new(members))),
            Some(Value::Bool(false)) => Ok(None),
            _ => Err(Problem::NoActive),
        }
    }
}
