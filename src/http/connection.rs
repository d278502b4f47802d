//! One connection and its bounds.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use super::request::BadRequest;
use super::{Request, Response, Site};

/// Serves the requests of a connection, one after the other.
///
/// A request has `HEAD` for its head, `BODY` for its body, and `ANSWER` for its answer. A client
/// that reads too slowly is cut off when the connection has lasted for `LIFE` and `LAST`.
pub async fn serve<S: Site>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    site: &S,
) {
    let served = &AtomicU32::new(0);
    let service = service_fn(move |request| async move {
        let is_last = served.fetch_add(1, Ordering::Relaxed) + 1 >= REQUESTS;
        let response = answer(site, peer, request).await;
        let response = if is_last { response.close() } else { response };
        Ok::<_, Infallible>(response.into_hyper())
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(HEADERS)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(stream), service)
    );
    let outcome = match timeout(LIFE, &mut connection).await {
        Ok(outcome) => Ok(outcome),
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST, connection).await
        }
    };
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, "an HTTP connection was closed: {error}"),
        Err(_) => debug!(%peer, "an HTTP connection was cut off after {LIFE:?}"),
    }
}

async fn answer<S: Site>(
    site: &S,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Response {
    let (head, body) = request.into_parts();
    let (method, path) = (head.method.clone(), shown(head.uri.path()));
    let longest_body = site.longest_body(head.uri.path());
    let request = async { Request::new(head, read(body, longest_body).await?) };
    let response = match request.await {
        Ok(request) => timeout(ANSWER, site.answer(request)).await.unwrap_or_else(|_| {
            Response::text(StatusCode::SERVICE_UNAVAILABLE, "the answer takes too long")
        }),
        Err(error) => Response::text(error.status(), error.to_string()).close(),
    };
    debug!(%peer, %method, path, status = response.status().as_u16(), "HTTP request");
    response
}

async fn read(body: Incoming, most: usize) -> Result<Bytes, BadRequest> {
    if usize::try_from(body.size_hint().lower()).map_or(true, |least| least > most) {
        return Err(BadRequest::LongBody);
    }
    match timeout(BODY, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BadRequest::LongBody),
        Ok(Err(_)) => Err(BadRequest::Body),
        Err(_) => Err(BadRequest::SlowBody),
    }
}

/// The beginning of a path, for the log.
fn shown(path: &str) -> String {
    path.chars().take(100).collect()
}

/// How long the head of a request may take, also counted from the end of the answer before it.
const HEAD: Duration = Duration::from_secs(10);

/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(10);

/// How long a site may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a connection may last. The running request has [`LAST`] more.
const LIFE: Duration = Duration::from_secs(60);
const LAST: Duration = Duration::from_secs(5);

/// How many requests a connection may send.
const REQUESTS: u32 = 1000;

/// The longest head of a request, in octets, and the most fields in it.
const LONGEST_HEAD: usize = 16 * 1024;
const HEADERS: usize = 64;
