//! Requests to the provider: bounded in time and size, and to nobody whom the answer names.

use std::path::Path;
use std::time::Duration;

use form_urlencoded::byte_serialize;
use serde::de::DeserializeOwned;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, http};

use crate::credentials::{OpenError, trust};
use crate::protocol::Secret;
use crate::threads;

/// A client that asks one provider.
///
/// - A redirection is not followed: what is to be trusted is what the configuration names.
/// - A connection serves one request. A kept one may be closed by the other end at any moment, and
///   a token is not worth a second try that nobody can tell from the first.
/// - No proxy is taken from the environment.
#[derive(Debug)]
pub(super) struct Web {
    agent: Agent,
}

/// An answer, whatever it says.
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Web {
    /// A client that trusts the certificates of `ca`, or those of this system.
    ///
    /// # Errors
    /// Why there are none.
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
    ///
    /// # Errors
    /// Why it is not there.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let (agent, address) = (self.agent.clone(), url.to_owned());
        let answer = aside(move || read(agent.get(&address).call())).await;
        let Answer { status, body } = answer.map_err(|why| format!("{url}: {why}"))?;
        if status != 200 {
            return Err(format!("{url}: the answer is {status}"));
        }
        json(&body).map_err(|why| format!("{url}: {why}"))
    }

    /// Posts a form, as the client that `authorization` says.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn post(
        &self,
        url: &str,
        authorization: &str,
        form: Secret<String>,
    ) -> Result<Answer, String> {
        let request = self
            .agent
            .post(url)
            .header("authorization", authorization)
            .content_type("application/x-www-form-urlencoded");
        let answer = aside(move || read(request.send(form.expose().as_str()))).await;
        answer.map_err(|why| format!("{url}: {why}"))
    }
}

/// Reads a JSON document.
///
/// # Errors
/// Why it is none, without what it says.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not what it should be, at line {}", error.line()))
}

/// A word of a form, or of a client's credentials (RFC 6749 §2.3.1).
pub(super) fn form_encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// Where threads may wait.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = threads::requests().run(work).await;
    done.unwrap_or_else(|why| Err(format!("the request was not made: {why}")))
}

fn read(response: Result<http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, String> {
    // What went wrong may have been worded by the other end.
    let shown = |error: ureq::Error| error.to_string().escape_debug().to_string();
    let mut response = response.map_err(shown)?;
    let body = response.body_mut().with_config().limit(MAX_BODY_OCTETS).read_to_vec();
    Ok(Answer { status: response.status().as_u16(), body: body.map_err(shown)? })
}

/// The longest answer that is read.
const MAX_BODY_OCTETS: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_form() {
        // RFC 6749 appendix B
        assert_eq!(form_encoded(" %&+£€"), "+%25%26%2B%C2%A3%E2%82%AC");
        assert_eq!(form_encoded("s6BhdRkqt3-._~:"), "s6BhdRkqt3-._%7E%3A");
    }
}
