//! Asking the provider about a token (RFC 7662).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::claims::Claims;
use super::web::{Answer, Web, form_encoded, json};
use crate::config::Introspection;
use crate::credentials::{OpenError, secret_file};
use crate::protocol::Secret;

/// Where tokens are asked about, and as whom.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: String,
    authorization: Secret<String>,
}

impl Endpoint {
    /// Asks as the client of the configuration, with the secret of its file.
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

    /// Where tokens are asked about.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What the provider says of a token; nothing when it is not good, or not known there.
    ///
    /// # Errors
    /// Why there is no answer. A provider that refuses us says nothing about the token.
    pub(super) async fn ask(&self, web: &Web, token: &str) -> Result<Option<Claims>, String> {
        // RFC 7662 §2.1
        let form = format!("token={}&token_type_hint=access_token", form_encoded(token));
        let authorization = self.authorization.expose();
        let Answer { status, body } = web.post(&self.url, authorization, Secret::new(form)).await?;
        match status {
            200 => {}
            401 | 403 => {
                let url = &self.url;
                return Err(format!(
                    "{url}: the answer is {status}, check client-id and client-secret-file"
                ));
            }
            _ => return Err(format!("{}: the answer is {status}", self.url)),
        }
        let members: Map<String, Value> =
            json(&body).map_err(|why| format!("{}: {why}", self.url))?;
        // RFC 7662 §2.2
        match members.get("active") {
            Some(Value::Bool(true)) => Ok(Some(Claims::new(members))),
            Some(Value::Bool(false)) => Ok(None),
            _ => Err(format!("{}: the answer does not say whether the token is active", self.url)),
        }
    }
}
