//! A POP3 client that asks another server for the listing of a maildrop.
//!
//! It removes nothing, because it never sends DELE. Nor does it send RSET, on which a Dovecot with
//! `pop3_enable_last` removes \\Seen flags.

use std::time::Duration;

use tokio::net::TcpStream;

use super::listing::{BadLine, Listing};
use crate::cli::client::{self, Connector, Shown, Stream};
use crate::protocol::{ClaimedName, Secret, Username};

mod session;
mod url;

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
        let stream = client::connect(&self.url.host, self.url.port, PATIENCE).await?;
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

    async fn secured(&self, stream: TcpStream) -> Result<Stream, client::Error> {
        self.connector.secure(&self.url.host, stream, PATIENCE).await
    }
}

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] client::Error),
    /// A command was refused.
    #[error("the server refuses {command}: {reply}")]
    Refused {
        /// The command without its arguments.
        command: &'static str,
        /// What the server said.
        reply: Shown,
    },
    /// It does not come to an end.
    #[error("the server has not sent everything in {} h", DEADLINE.as_secs() / 3600)]
    TooSlow,
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

/// How long the server may take for each line.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a server may take for one user.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// The longest header, and the longest line of one.
const MAX_HEADER: usize = 1 << 20;

const MAX_CAPABILITIES: usize = 100;

const MAX_MESSAGES: usize = 10_000_000;
