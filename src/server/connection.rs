//! One connection, from its first octet to its line in the log.
//!
//! The session knows neither sockets nor TLS: it is given a stream here, and after STLS
//! (RFC 2595 §4) a new session is given a new stream, so that nothing from before the handshake
//! lives on after it.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::rustls::{self, ProtocolVersion};
use tokio_rustls::server::TlsStream;
use tracing::{debug, info};

use super::tls::{self, Front, Opening, Terms};
use crate::config::{Timeouts, TlsMode};
use crate::credentials::CredentialStore;
use crate::limits::Entry;
use crate::login::Throttle;
use crate::mailbox::Mailbox;
use crate::protocol::{Stranger, Username};
use crate::session::{self, End, Env, Link, Place, SILENCE, Security, Stream, Summary, Taken};

/// What a connection is served with.
pub(super) struct Host<'a, M, C> {
    pub(super) env: &'a Env<M, C>,
    pub(super) timeouts: &'a Timeouts,
    /// Absent when no listener uses TLS.
    pub(super) front: Option<&'a Front>,
}

impl<M: Mailbox, C: CredentialStore> Host<'_, M, C> {
    /// Serves a connection to its end, which is logged on whichever way it comes.
    ///
    /// The address of the client is in the span that this runs in.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        mode: TlsMode,
        domain: Option<Arc<str>>,
        place: Arc<Place>,
    ) {
        let report = Report::new(peer, domain, place, self.env.authenticator.throttle());
        stream.limit_silence(Some(SILENCE));
        match mode {
            TlsMode::Implicit => self.serve_tls(stream, Security::ImplicitTls, report).await,
            TlsMode::Starttls => self.serve_plain(stream, true, report).await,
            TlsMode::Off => self.serve_plain(stream, false, report).await,
        }
    }

    async fn serve_plain(&self, mut stream: TcpStream, stls: bool, mut report: Report<'_>) {
        let stls = stls && self.front.is_some();
        let link = self.link(Security::Cleartext { stls }, &report);
        let end = session::run(&mut stream, self.env, &link, &mut report.summary).await;
        if let End::StartTls = end {
            return Box::pin(self.serve_tls(stream, Security::UpgradedTls, report)).await;
        }
        report.log(&Closing::of(&end));
        if let End::WriteTimeout = end {
            return reset(&stream);
        }
        if let End::Evicted = end {
            return close(&mut stream, Duration::ZERO).await;
        }
        let parting = async {
            close(&mut stream, CLOSE).await;
            linger(&mut stream).await;
        };
        unless_evicted(parting, &link).await;
    }

    async fn serve_tls(&self, stream: TcpStream, security: Security, mut report: Report<'_>) {
        let mut link = self.link(security, &report);
        let stream = match Box::pin(self.shake_hands(stream, &mut link)).await {
            Ok(stream) => stream,
            Err(closing) => return report.log(&closing),
        };
        let protection = Protection::of(&stream);
        link.tls = Some(protection.version);
        report.protection = Some(protection);
        let mut stream = Forgiving(stream);
        let end = session::run(&mut stream, self.env, &link, &mut report.summary).await;
        report.log(&Closing::of(&end));
        if let End::WriteTimeout = end {
            return reset(stream.0.get_ref().0.stream());
        }
        // Closing sends close_notify, so that the client can tell the end from an attack.
        if let End::Evicted = end {
            return close(&mut stream, Duration::ZERO).await;
        }
        let parting = async {
            close(&mut stream, CLOSE).await;
            linger(stream.0.get_mut().0.stream_mut()).await;
        };
        unless_evicted(parting, &link).await;
    }

    /// The TLS handshake, which counts as part of the login; `link` then knows what it says.
    async fn shake_hands(
        &self,
        stream: TcpStream,
        link: &mut Link,
    ) -> Result<Box<Protected>, Closing> {
        let Some(front) = self.front else {
            return Err(Closing::new("no-certificate"));
        };
        let terms = front.terms();
        let handshake = timeout_at(link.login_deadline, agree(stream, &terms));
        let mut stream = tokio::select! {
            biased;
            outcome = handshake => match outcome {
                Ok(agreed) => Box::new(agreed?),
                Err(_) => return Err(Closing::of(&End::LoginTimeout)),
            },
            () = self.env.drain.cancelled() => return Err(Closing::of(&End::Shutdown)),
            () = link.place.evicted() => return Err(Closing::of(&End::Evicted)),
        };
        stream.get_mut().0.forget();
        let connection = stream.get_ref().1;
        link.channel = tls::peer::channel(&terms, connection);
        link.certificate = tls::peer::users(connection);
        if let Some(domain) = terms.default_domain(connection.server_name()) {
            link.default_domain = Some(domain);
        }
        Ok(stream)
    }

    fn link(&self, security: Security, report: &Report<'_>) -> Link {
        let link = Link::new(security, report.peer, report.opened + self.timeouts.login);
        Link { default_domain: report.domain.clone(), place: Arc::clone(&report.place), ..link }
    }
}

impl Stream for Forgiving {
    fn acknowledge(&self) {
        self.0.get_ref().0.stream().acknowledge();
    }

    fn limit_silence(&self, most: Option<Duration>) {
        self.0.get_ref().0.stream().limit_silence(most);
    }

    fn taken(&self) -> Taken {
        self.0.get_ref().0.stream().taken()
    }
}

/// A connection with TLS.
type Protected = TlsStream<Opening>;

/// Agrees on TLS with a client that begins it.
async fn agree(stream: TcpStream, terms: &Terms) -> Result<Protected, Closing> {
    let opening = Opening::of(stream, terms.longest_handshake())
        .await
        .map_err(|error| Closing::of_opening(&error))?;
    // Whoever is behind the proxy could make nothing of an alert.
    if let Some(proxy @ Stranger::Proxy) = Stranger::recognise(opening.first()) {
        return Err(Closing::of(&End::Stranger(proxy)));
    }
    let handshake = terms.acceptor().accept(opening).into_fallible();
    handshake.await.map_err(|(error, opening)| Closing::of_handshake(&error, &opening, terms))
}

/// Does what there is to do at the end of a connection, as long as no other one needs its place.
async fn unless_evicted(parting: impl Future<Output = ()>, link: &Link) {
    tokio::select! {
        biased;
        () = parting => {}
        () = link.place.evicted() => {}
    }
}

/// Ends the sending side in order; a client that takes nothing is waited for no longer than this.
async fn close(stream: &mut (impl AsyncWrite + Unpin), most: Duration) {
    if let Ok(Err(error)) = timeout(most, stream.shutdown()).await {
        debug!("the connection was not closed in order: {error}");
    }
}

/// Gives up on what a client does not take, so that the system does not keep it either.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        debug!("the connection was not reset: {error}");
    }
}

/// Reads what the client still sends: closing a socket with unread octets resets the connection,
/// and the client may lose the last reply.
async fn linger(stream: &mut TcpStream) {
    let mut unread = vec![0; 512];
    let rest = async {
        for _ in 0..LINGER_READS {
            match stream.read(&mut unread).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    };
    // Whether the client has closed by then or not, the connection is over.
    if timeout(LINGER, rest).await.is_err() {
        debug!("the client has not closed its side of the connection");
    }
}

const CLOSE: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS: usize = 256;

/// Why a connection ended, as its line in the log says it.
struct Closing {
    why: String,
    detail: Option<String>,
}

impl Closing {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), detail: None }
    }

    fn of(end: &End) -> Self {
        let detail = match end {
            End::BodyFailed(error) | End::Broken(error) => Some(error.to_string()),
            End::Stranger(Stranger::Proxy) => Some(UNWANTED_PROXY.to_owned()),
            End::Stranger(stranger) => Some(format!("the client speaks {stranger}")),
            End::Quit
            | End::StartTls
            | End::PeerClosed
            | End::IdleTimeout
            | End::Yielded
            | End::LoginTimeout
            | End::WriteTimeout
            | End::TooManyFaults
            | End::TooManyCommands
            | End::TooManyFailedLogins
            | End::PlaintextAfterStls
            | End::Evicted
            | End::StoresDown
            | End::Shutdown => None,
        };
        Self { why: end.to_string(), detail }
    }

    /// The client went before it had begun TLS.
    fn of_opening(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::of(&End::PeerClosed);
        }
        Self { why: "tls-handshake-failed".into(), detail: Some(error.to_string()) }
    }

    fn of_handshake(error: &io::Error, opening: &Opening, terms: &Terms) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner.map(|inner| terms.refusal(inner, opening.first())) {
            Some((why, detail)) => Self { why: why.into(), detail: Some(detail) },
            None => Self::of_opening(error),
        }
    }
}

const UNWANTED_PROXY: &str = "a proxy announces its client by the PROXY protocol, which is not read \
                              here: switch it off in the proxy (haproxy: send-proxy)";

/// The line in the log that ends a connection.
///
/// Written once: by [`log`](Self::log), or on drop when the connection is cut off or its task
/// panics.
struct Report<'a> {
    throttle: &'a Throttle,
    peer: IpAddr,
    /// The domain of names without one, for the sessions of this connection.
    domain: Option<Arc<str>>,
    place: Arc<Place>,
    opened: Instant,
    protection: Option<Protection>,
    summary: Summary,
    written: bool,
}

/// How TLS was agreed.
struct Protection {
    version: &'static str,
    cipher_suite: &'static str,
}

impl Protection {
    fn of(stream: &Protected) -> Self {
        let connection = stream.get_ref().1;
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "unknown",
        };
        let suite = connection.negotiated_cipher_suite();
        let cipher_suite = suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        Self { version, cipher_suite }
    }
}

impl<'a> Report<'a> {
    fn new(
        peer: IpAddr,
        domain: Option<Arc<str>>,
        place: Arc<Place>,
        throttle: &'a Throttle,
    ) -> Self {
        Self {
            throttle,
            peer,
            domain,
            place,
            opened: Instant::now(),
            protection: None,
            summary: Summary::default(),
            written: false,
        }
    }

    fn log(mut self, closing: &Closing) {
        self.write(closing);
    }

    fn write(&mut self, closing: &Closing) {
        self.written = true;
        let summary = &self.summary;
        if summary.user.is_none() && !self.throttle.logs(self.peer, Entry::Connection) {
            return;
        }
        info!(
            user = summary.user.as_ref().map(Username::as_str),
            tls = self.protection.as_ref().map(|tls| tls.version),
            cipher_suite = self.protection.as_ref().map(|tls| tls.cipher_suite),
            retrieved = summary.retrieved,
            removed = summary.removed,
            left = summary.left,
            octets = summary.octets,
            seconds = (self.opened.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            why = %closing.why,
            detail = closing.detail.as_deref(),
            "session ended"
        );
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if !self.written {
            let why = if std::thread::panicking() { "fault-in-server" } else { "cut-off" };
            self.write(&Closing::new(why));
        }
    }
}

/// A TLS stream on which a missing `close_notify` is a plain end: many clients send none, and a
/// command that is cut short is not obeyed anyway.
struct Forgiving(Box<Protected>);

impl AsyncRead for Forgiving {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut *self.0).poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Forgiving {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
