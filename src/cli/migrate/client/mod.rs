//! A POP3 client that asks another server for the listing of a maildrop.
//!
//! It removes nothing, because it never sends DELE. Nor does it send RSET, on which a Dovecot with
//! `pop3_enable_last` removes \\Seen flags.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

use super::listing::{BadLine, Listing};
use crate::protocol::{ClaimedName, Secret, Username};

mod connection;
mod session;
mod tls;
mod url;

pub(super) use tls::Connector;
pub(super) use url::{Scheme, ServerUrl};

/// A server and how it is reached.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it is.
    pub(super) url: ServerUrl,
    /// Whether passwords may be sent without TLS to a server at `pop3://`.
    pub(super) cleartext: bool,
    /// The TLS client.
    pub(super) connector: Connector,
    /// What it is asked for.
    pub(super) want: Want,
}

/// What a server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The unique-ids and octets.
    Listing,
    /// The headers, too.
    Headers,
}

/// A user of the other server.
#[derive(Debug)]
pub(super) struct Login {
    /// The name of the user here.
    pub(super) user: Username,
    /// The name there, which may have capital letters.
    pub(super) name: ClaimedName,
    /// The password there.
    pub(super) password: Secret<Vec<u8>>,
}

impl Server {
    /// Logs in and asks for all messages.
    pub(super) async fn listing(&self, login: &Login) -> Result<Listing, Error> {
        let asked = tokio::time::timeout(DEADLINE, self.ask(login));
        asked.await.map_err(|_| Error::TooSlow)?
    }

    async fn ask(&self, login: &Login) -> Result<Listing, Error> {
        let stream = within(TcpStream::connect((self.url.host.as_str(), self.url.port))).await?;
        let stream = stream.map_err(Error::Connect)?;
        match self.url.scheme {
            Scheme::Pop3s => {
                let mut session = session::greeted(self.secured(stream).await?).await?;
                session.listing(login, self.want).await
            }
            Scheme::Pop3 if self.cleartext => {
                session::greeted(stream).await?.listing(login, self.want).await
            }
            Scheme::Pop3 => {
                let stream = session::greeted(stream).await?.start_tls().await?;
                // RFC 2595 §4: what the server said before TLS does not count.
                let mut session = session::after_tls(self.secured(stream).await?);
                session.listing(login, self.want).await
            }
        }
    }

    async fn secured(&self, stream: TcpStream) -> Result<tls::Stream, Error> {
        let name = ServerName::try_from(self.url.host.clone())?;
        within(self.connector.connect(name, stream)).await?.map_err(of_handshake)
    }
}

fn of_handshake(error: io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(_)) = inner {
        Error::Certificate(error)
    } else {
        Error::Tls(error)
    }
}

/// Why a server could not be asked.
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
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server does not answer.
    #[error("the server has not answered for {} s", PATIENCE.as_secs())]
    Silent,
    /// The greeting or reply is no POP3.
    #[error("the server answers \"{0}\", which is not POP3")]
    NotPop3(Shown),
    /// A command was refused.
    #[error("the server refuses {command}: {reply}")]
    Refused {
        /// The command without its arguments.
        command: &'static str,
        /// What the server said.
        reply: Shown,
    },
    /// The server sent text after its reply to STLS, which may be an attack.
    #[error("the server sent text before TLS began")]
    TextBeforeTls,
    /// It does not come to an end.
    #[error("the server has not sent everything in {} h", DEADLINE.as_secs() / 3600)]
    TooSlow,
    /// A line is too long.
    #[error("a line of the server has more than {0} octets")]
    LongLine(usize),
    /// A reply is too long.
    #[error("the reply of the server to {0} is too long")]
    LongReply(&'static str),
    /// A listing is too long.
    #[error("the server lists more than {MAX_MESSAGES} messages")]
    TooMany,
    /// A line of a listing is invalid.
    #[error("the server lists: {0}")]
    BadLine(#[from] BadLine),
}

/// Text of the server, escaped.
#[derive(Debug)]
pub(super) struct Shown(String);

impl Shown {
    fn new(line: &[u8]) -> Self {
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
async fn within<T>(operation: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(PATIENCE, operation).await.map_err(|_| Error::Silent)
}

/// How long the server may take for each line.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a server may take for one user.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// The longest line of a reply, but for headers.
const MAX_LINE: usize = 1 << 10;

/// The longest header, and the longest line of one.
const MAX_HEADER: usize = 1 << 20;

const MAX_CAPABILITIES: usize = 100;

const MAX_MESSAGES: usize = 10_000_000;
