//! Requests to the provider, with a bounded time and size. Redirections are not followed.

use std::path::Path;
use std::time::Duration;

use form_urlencoded::byte_serialize;
use serde::de::DeserializeOwned;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, http};

use super::error::{Error, Problem};
use crate::credentials::{OpenError, trust};
use crate::protocol::Secret;
use crate::threads;

/// An HTTP client for one provider.
///
/// - Redirections are not followed: only what the configuration names is trusted.
/// - A connection serves one request. The provider may close an idle one at any moment, and the
///   request would then have to be sent twice.
/// - No proxy is taken from the environment.
#[derive(Debug)]
pub(super) struct Web {
    agent: Agent,
}

/// An answer with any status code.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Web {
    /// A client that trusts the certificates of `ca`, or those of this system.
    pub(super) fn new(ca: Option<&Path>, deadline: Duration) -> Result<Self, OpenError> {
        let trusted = trust::certificates(ca)?;
        let roots = trusted.iter().map(|each| Certificate::from_der(each.as_ref()).to_owned());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(roots))
            .unversioned_rustls_crypto_provider(aws_lc_rs::default_provider().into())
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .max_idle_connections(0)
            .http_status_as_error(false)
            .timeout_global(Some(deadline))
            .accept("application/json")
            .build();
        Ok(Self { agent: config.into() })
    }

    /// Fetches a JSON document.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, url: &str) -> Result<T, Error> {
        self.document(url).await.map_err(Error::answer(url))
    }

    async fn document<T: DeserializeOwned>(&self, url: &str) -> Result<T, Problem> {
        let (agent, url) = (self.agent.clone(), url.to_owned());
        let request = threads::requests().run(move || read(agent.get(&url).call()));
        match request.await?? {
            Answer { status: 200, body } => json(&body),
            Answer { status, .. } => Err(Problem::Status(status)),
        }
    }

    /// Posts a form with the header `authorization`.
    pub(super) async fn post(
        &self,
        url: &str,
        authorization: &str,
        form: Secret<String>,
    ) -> Result<Answer, Problem> {
        let request = self
            .agent
            .post(url)
            .header("authorization", authorization)
            .content_type("application/x-www-form-urlencoded");
        let request = threads::requests().run(move || read(request.send(form.expose().as_str())));
        Ok(request.await??)
    }
}

/// Parses a JSON document.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::NotExpected { line: error.line() })
}

/// Encodes a value of a form, or a client's name or secret (RFC 6749 §2.3.1).
pub(super) fn form_encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

fn read(response: Result<http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, ureq::Error> {
    let mut response = response?;
    let body = response.body_mut().with_config().limit(MAX_BODY_OCTETS).read_to_vec()?;
    Ok(Answer { status: response.status().as_u16(), body })
}

/// The longest answer that is read.
const MAX_BODY_OCTETS: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_form() {
        // RFC 6749 appendix B
        assert_eq!(form_encoded(" %&+£€"), "+%25%26%2B%C2%A3%E2%82%AC");
        assert_eq!(form_encoded("s6BhdRkqt3-._~:"), "s6BhdRkqt3-._%7E%3A");
    }
}
