//! The PROXY protocol: a proxy in front of the server names the client of each connection in a
//! header (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! - A listener expects it only if it is configured to, and only from the proxies that it names.
//!   Whoever may send a header may claim any address, and that the client uses TLS.
//! - Exactly the header is read. What follows, TLS or POP3, stays in the socket.
//! - A client certificate that the proxy has verified is not used: the header has only its common
//!   name, which is no user name, and does not say by which authorities it was verified.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::limits::ThrottledWarning;
use crate::limits::Entry;
use crate::login::Throttle;

mod header;

pub use header::{Header, HeaderError, Progress};

/// What a session needs to know of the proxy that it came through.
#[derive(Debug)]
pub(super) struct Proxied {
    /// The proxy.
    pub(super) proxy: IpAddr,
    /// Whether the connection is one of the proxy itself, such as a health check: it names no client,
    /// or its own address, as version 1 does.
    pub(super) is_own: bool,
    /// The version of TLS between the client and the proxy. `None`: no TLS.
    pub(super) tls: Option<&'static str>,
    /// The host that the client requested by SNI.
    pub(super) host: Option<Box<str>>,
}

impl Proxied {
    /// A connection through `proxy`, which has sent this header.
    pub(super) fn new(proxy: IpAddr, Header { client, tls, host }: Header) -> Self {
        let is_own = client.is_none_or(|client| client.ip() == proxy);
        Self { proxy, is_own, tls, host: host.map(String::into_boxed_str) }
    }
}

/// Why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyFault {
    /// The peer is not one of the proxies.
    #[error("only the networks of proxies may connect to this listener")]
    Stranger,
    /// The peer sent nothing at all.
    #[error("it was closed without a header")]
    Closed,
    /// The connection failed, or ended within the header.
    #[error("it failed within the header: {0}")]
    Broken(#[from] io::Error),
    /// The header did not come in time.
    #[error("it did not come within {} seconds", DEADLINE.as_secs())]
    Late,
    /// It is none, or a bad one.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl ProxyFault {
    /// The word for the log.
    fn why(&self) -> &'static str {
        match self {
            Self::Stranger => "not-a-proxy",
            Self::Closed => "peer-closed",
            Self::Late | Self::Header(HeaderError::Missing) => "no-proxy-header",
            Self::Broken(_) | Self::Header(_) => "bad-proxy-header",
        }
    }
}

/// Reads the header of a connection, and nothing else.
///
/// # Errors
/// [`ProxyFault`] when there is no usable header within [`DEADLINE`].
pub(super) async fn read(stream: &mut TcpStream) -> Result<Header, ProxyFault> {
    timeout(DEADLINE, read_header(stream)).await.unwrap_or(Err(ProxyFault::Late))
}

async fn read_header(stream: &mut TcpStream) -> Result<Header, ProxyFault> {
    let mut octets = Vec::new();
    let mut seen = [0; CHUNK];
    loop {
        // Octets are taken out of the socket only when it is certain that they belong to the header.
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Err(match octets.is_empty() {
                true => ProxyFault::Closed,
                false => io::Error::from(io::ErrorKind::UnexpectedEof).into(),
            });
        }
        let taken = octets.len();
        octets.extend_from_slice(seen.get(..count).unwrap_or_default());
        let progress = Header::read(&octets)?;
        let end = match &progress {
            Progress::Incomplete => octets.len(),
            Progress::Whole(_, end) => *end,
        };
        stream.read_exact(seen.get_mut(..end - taken).unwrap_or_default()).await?;
        if let Progress::Whole(header, _) = progress {
            return Ok(header);
        }
    }
}

/// A proxy sends its header at once; three seconds are needed if its first segment is lost.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most headers are shorter.
const CHUNK: usize = 512;

/// The warnings about connections without a usable header.
#[derive(Debug, Default)]
pub(super) struct ProxyWarnings {
    strangers: ThrottledWarning,
    headers: ThrottledWarning,
}

impl ProxyWarnings {
    /// Logs that a connection from `peer` is closed. The address of `peer` is in the current span.
    pub(super) fn report(&self, fault: &ProxyFault, peer: SocketAddr, throttle: &Throttle) {
        let why = fault.why();
        if let ProxyFault::Closed = fault {
            // A health check that only connects.
            return debug!(why, "session ended");
        }
        if throttle.logs(peer.ip(), Entry::Connection) {
            info!(why, detail = %fault, "session ended");
        }
        if let ProxyFault::Stranger = fault {
            if let Some(passed_over) = self.strangers.due() {
                warn!(
                    %peer,
                    passed_over,
                    "a client was refused, since only proxies may connect here: if it is a proxy, \
                     add it to proxies in [[listen]]"
                );
            }
        } else if let Some(passed_over) = self.headers.due() {
            warn!(
                %peer,
                %fault,
                passed_over,
                "a proxy sent no usable header of the PROXY protocol: switch it on in the proxy \
                 (haproxy: send-proxy-v2; nginx: proxy_protocol on), or remove proxy-protocol"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (proxy, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_follows_stays_in_the_socket() {
        let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 110\r\n";
        let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x03\x0f".to_vec();
        binary.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 110]);
        // Padding, so that it takes more than one chunk.
        binary.extend([4, 3, 0]);
        binary.extend([0; 768]);
        for header in [&text[..], &binary] {
            // In one piece, octet by octet, and with a part of what follows.
            for piece in [4096, 1, 40] {
                let (mut proxy, mut stream) = pair().await;
                let octets = [header, b"CAPA\r\nQUIT\r\n"].concat();
                let send = async {
                    for piece in octets.chunks(piece) {
                        proxy.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    proxy.shutdown().await.unwrap();
                };
                let receive = async {
                    let header = read(&mut stream).await.unwrap();
                    let mut rest = Vec::new();
                    stream.read_to_end(&mut rest).await.unwrap();
                    (header, rest)
                };
                let ((), (header, rest)) = tokio::join!(send, receive);
                assert_eq!(header.client, Some("192.0.2.7:4711".parse().unwrap()));
                assert_eq!(rest, b"CAPA\r\nQUIT\r\n", "{piece}");
            }
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_header_ends() {
        for (octets, expected) in [
            (&b""[..], "peer-closed"),
            (b"PROXY TCP4 192.0.2.7", "bad-proxy-header"),
            (b"PROXY TCP5 ::1 ::1 1 1\r\n", "bad-proxy-header"),
            (b"CAPA\r\n", "no-proxy-header"),
            (b"\x16\x03\x01", "no-proxy-header"),
        ] {
            let (mut proxy, mut stream) = pair().await;
            proxy.write_all(octets).await.unwrap();
            proxy.shutdown().await.unwrap();
            let fault = read(&mut stream).await.unwrap_err();
            assert_eq!(fault.why(), expected, "{}: {fault}", octets.escape_ascii());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let (mut proxy, mut stream) = pair().await;
        proxy.write_all(b"PROXY ").await.unwrap();
        let fault = read(&mut stream).await.unwrap_err();
        assert!(matches!(fault, ProxyFault::Late), "{fault}");
        assert_eq!(fault.why(), "no-proxy-header");
    }
}
