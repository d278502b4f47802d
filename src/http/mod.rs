//! HTTP/1.1 on a stream: requests and responses as values, and a connection with its bounds.
//!
//! It is for small pages next to POP3, such as metrics. A [`Site`] answers requests; [`serve`] keeps a
//! client within bounds, whatever the client sends. There are no sockets, TLS or files here.
//!
//! - A path is compared, not resolved: it never becomes the name of a file.
//! - A request that is too slow, too long or malformed is answered with an error, or the connection
//!   is closed. `connection` has the bounds.

mod connection;
mod request;
mod response;

pub use connection::serve;
pub use hyper::{Method, StatusCode, header};
pub use request::Request;
pub use response::Response;

/// Answers requests.
pub trait Site: Send + Sync {
    /// The longest body of a request for this path, in octets. A longer one is refused unread.
    fn longest_body(&self, _path: &str) -> usize {
        0
    }

    /// Answers a request.
    ///
    /// - It is cancelled if it takes longer than [`serve`] allows.
    /// - To HEAD, it answers as to GET; the body is not sent.
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send;
}

#[cfg(test)]
mod tests;
