//! A request that has been read as a whole.

use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, StatusCode, Uri, Version};

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    uri: Uri,
    host: Option<String>,
    headers: HeaderMap,
    body: Bytes,
}

/// Why a request is refused before a site sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    #[error("a request needs one Host field with a name")]
    Host,
    #[error("the body of the request is too long")]
    LongBody,
    #[error("the body of the request takes too long")]
    SlowBody,
    #[error("the body of the request is malformed")]
    Body,
}

impl BadRequest {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Body => StatusCode::BAD_REQUEST,
            Self::LongBody => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

impl Request {
    pub(super) fn new(head: Parts, body: Bytes) -> Result<Self, BadRequest> {
        let host = host(&head)?;
        let Parts { method, uri, headers, .. } = head;
        Ok(Self { method, uri, host, headers, body })
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Whether the method only reads: GET or HEAD.
    pub fn only_reads(&self) -> bool {
        [Method::GET, Method::HEAD].contains(&self.method)
    }

    /// The path as the client wrote it, percent-encoded.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// What follows the `?`, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The name that the client requests, in lower case and without a port. `None` only with HTTP/1.0.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The first header field of this name, if it is ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// RFC 9112 §3.2: a request without exactly one valid Host is answered with 400.
fn host(head: &Parts) -> Result<Option<String>, BadRequest> {
    let mut fields = head.headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => {
            Some(field.to_str().ok().and_then(|it| it.parse().ok()).ok_or(BadRequest::Host)?)
        }
        (None, None) if head.version == Version::HTTP_10 => None,
        (_, _) => return Err(BadRequest::Host),
    };
    let Some(authority) = head.uri.authority().cloned().or(field) else { return Ok(None) };
    let is_host =
        |authority: &Authority| !authority.host().is_empty() && !authority.as_str().contains('@');
    if !is_host(&authority) {
        return Err(BadRequest::Host);
    }
    Ok(Some(authority.host().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(uri: &str, version: Version, hosts: &[&str]) -> Result<Option<String>, BadRequest> {
        let mut builder = hyper::Request::builder().uri(uri).version(version);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        host(&builder.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_host_is_a_name_without_a_port() {
        for (field, expected) in [
            ("pop.example.org", "pop.example.org"),
            ("POP.Example.org:443", "pop.example.org"),
            ("[::1]:9110", "[::1]"),
        ] {
            let host = host_of("/", Version::HTTP_11, &[field]);
            assert_eq!(host, Ok(Some(expected.to_owned())), "{field}");
        }
        let absolute = host_of("http://a.example/x", Version::HTTP_11, &["b.example"]);
        assert_eq!(absolute, Ok(Some("a.example".to_owned())));
    }

    #[test]
    fn a_request_has_one_valid_host() {
        for hosts in [&[][..], &[""], &["a b"], &["u@a"], &["a/b"], &["a", "a"], &["a,b/"], &["ä"]]
        {
            assert_eq!(host_of("/", Version::HTTP_11, hosts), Err(BadRequest::Host), "{hosts:?}");
        }
        assert_eq!(host_of("/", Version::HTTP_10, &[]), Ok(None));
    }
}
