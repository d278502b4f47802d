//! The connections of the POP3 clients in this program, `restante migrate` and `restante selftest`:
//! lines, each of a bounded length and time, TLS, the response of PLAIN, and `HOST[:PORT]`.

use std::fmt;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{self, CertificateError};

use crate::protocol::Secret;

mod connection;
mod host_port;
mod tls;

pub(super) use connection::{Connection, Status};
pub(super) use host_port::{HostPort, host_and_port};
pub(super) use tls::{Connector, Stream};

/// Opens a TCP connection.
pub(super) async fn connect(host: &str, port: u16, patience: Duration) -> Result<TcpStream, Error> {
    within(patience, TcpStream::connect((host, port))).await?.map_err(Error::Connect)
}

impl Connector {
    /// Makes the TLS handshake with a server of this name.
    pub(super) async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
        patience: Duration,
    ) -> Result<Stream, Error> {
        let name = ServerName::try_from(host.to_owned())?;
        within(patience, self.connect(name, stream)).await?.map_err(of_handshake)
    }
}

fn of_handshake(error: io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) if is_of_authority(why) => Error::Authority,
        Some(rustls::Error::InvalidCertificate(_)) => Error::Certificate(error),
        Some(_) | None => Error::Tls(error),
    }
}

/// Whether a certificate is refused because it is that of an authority, for which rustls has no
/// variant.
fn is_of_authority(why: &CertificateError) -> bool {
    matches!(why, CertificateError::Other(why) if why.0.to_string() == "CaUsedAsEndEntity")
}

/// Why a server could not be talked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The server does not accept connections.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The host of the address is neither a name nor an address.
    #[error("the host cannot be named in TLS: {0}")]
    Host(#[from] InvalidDnsNameError),
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The certificate is not trusted.
    #[error("{0}; correct that, or accept any certificate with --insecure")]
    Certificate(#[source] io::Error),
    /// The certificate is that of an authority, as many self-signed ones are.
    #[error(
        "the server's certificate is marked as that of an authority, which only signs others; \
         replace it, or accept any certificate with --insecure"
    )]
    Authority,
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server does not answer.
    #[error("the server has not answered for {} s", .0.as_secs())]
    Silent(Duration),
    /// The greeting or reply is no POP3.
    #[error("the server answers \"{0}\", which is not POP3")]
    NotPop3(Shown),
    /// The server sent text after its reply to STLS, which may be an attack.
    #[error("the server sent text before TLS began")]
    TextBeforeTls,
    /// A line is too long.
    #[error("a line of the server has more than {0} octets")]
    LongLine(usize),
}

/// Text of the server, escaped.
#[derive(Debug)]
pub(super) struct Shown(String);

impl Shown {
    /// The beginning of a line.
    pub(super) fn new(line: &[u8]) -> Self {
        const MOST: usize = 200;
        Self(line.get(..MOST).unwrap_or(line).escape_ascii().to_string())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The result of an operation that does not take too long.
pub(super) async fn within<T>(
    patience: Duration,
    operation: impl Future<Output = T>,
) -> Result<T, Error> {
    tokio::time::timeout(patience, operation).await.map_err(|_| Error::Silent(patience))
}

/// RFC 4616: the response of PLAIN, in base64.
pub(super) fn plain_response(user: &[u8], password: &[u8]) -> Secret<String> {
    let message = Secret::new([b"\0", user, b"\0", password].concat());
    Secret::new(STANDARD.encode(message.expose()))
}

/// RFC 2449 §4: the longest command, with its CRLF.
pub(super) const MAX_COMMAND: usize = 255;

/// The longest line of a reply, but for messages.
pub(super) const MAX_LINE: usize = 1 << 10;
