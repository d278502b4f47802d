//! A response.

use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};

/// A response.
#[derive(Clone, Debug)]
pub struct Response(hyper::Response<Full<Bytes>>);

impl Response {
    /// A body of this type. It may not be cached, unless [`with`](Self::with) says otherwise.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = hyper::Response::new(Full::new(body.into()));
        *response.status_mut() = status;
        Self(response)
            .with(CONTENT_TYPE, HeaderValue::from_static(content_type))
            .with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
            .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    /// A line of plain text, or several.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self::new(status, "text/plain; charset=utf-8", text + "\n")
    }

    /// There is no such page.
    pub fn not_found() -> Self {
        Self::text(StatusCode::NOT_FOUND, "there is no such page")
    }

    /// The page does not allow the method, only these.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        let text = format!("only {allowed} are allowed here");
        Self::text(StatusCode::METHOD_NOT_ALLOWED, text)
            .with(ALLOW, HeaderValue::from_static(allowed))
    }

    /// Sets a header field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    /// The connection is closed after it.
    pub(super) fn close(self) -> Self {
        self.with(CONNECTION, HeaderValue::from_static("close"))
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(super) fn into_hyper(self) -> hyper::Response<Full<Bytes>> {
        self.0
    }
}
