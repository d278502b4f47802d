//! One connection, from its first octet to its line in the log.
//!
//! A session gets a stream and does not see sockets or TLS. After STLS (RFC 2595 §4), a new session
//! gets a new stream, so that no state from before the handshake is kept.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::rustls::{self, ProtocolVersion};
use tokio_rustls::server::TlsStream;
use tracing::{debug, info};

use super::proxy::Proxied;
use super::tls::{self, Certificates, PeekedStream, TlsConfig};
use crate::config::{Listen, Timeouts, TlsMode};
use crate::counters;
use crate::credentials::{AppPasswordName, CredentialStore};
use crate::limits::Entry;
use crate::login::Throttle;
use crate::mailbox::Mailbox;
use crate::protocol::{Username, WrongProtocol};
use crate::session::{self, End, Env, Link, Open, SILENCE, Security, Speaker, Stream, Taken};

/// The environment of a connection.
pub(super) struct Connection<'a, M, C> {
    pub(super) env: &'a Env<M, C>,
    pub(super) timeouts: &'a Timeouts,
    /// `None` if no listener uses TLS.
    pub(super) certificates: Option<&'a Certificates>,
}

impl<M: Mailbox, C: CredentialStore> Connection<'_, M, C> {
    /// Serves a connection to its end, which is always logged.
    ///
    /// The address of the client is in the current span.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        entry: &Listen,
        connection: Arc<Open>,
        proxied: Option<Box<Proxied>>,
    ) -> impl Future<Output = ()> {
        let handle = connection.handle();
        handle.tell(Speaker::Connection, || format!("connected from {}", handle.peer()));
        let (mode, domain) = (entry.tls, entry.default_domain.clone());
        let throttle = self.env.authenticator.throttle();
        let mut report = EndReport::new(connection, domain, proxied, throttle);
        let secured = mode != TlsMode::Implicit && self.secured_by_proxy(&mut report);
        stream.limit_silence(Some(SILENCE));
        // A block, because the arguments of an `async fn` take their memory twice.
        async move {
            let report = &mut report;
            let security = match mode {
                TlsMode::Implicit => {
                    return self.serve_tls(stream, Security::ImplicitTls, report).await;
                }
                TlsMode::Starttls | TlsMode::Off if secured => Security::ImplicitTls,
                TlsMode::Starttls => Security::Cleartext { stls: self.certificates.is_some() },
                TlsMode::Off => Security::Cleartext { stls: false },
            };
            self.serve_plain(stream, security, report).await;
        }
    }

    /// Whether the client uses TLS as far as the proxy, which then counts as TLS of this connection.
    fn secured_by_proxy(&self, report: &mut EndReport<'_>) -> bool {
        let Some(proxied) = &report.proxied else { return false };
        let Some(version) = proxied.tls else { return false };
        let requested = self.certificates.zip(proxied.host.as_deref());
        let domain = requested.and_then(|(known, host)| known.config().default_domain(Some(host)));
        if domain.is_some() {
            report.domain = domain;
        }
        report.secured(Protection { version, cipher_suite: None });
        true
    }

    fn serve_plain(
        &self,
        mut stream: TcpStream,
        security: Security,
        report: &mut EndReport<'_>,
    ) -> impl Future<Output = ()> {
        let link = self.link(security, report);
        async move {
            let end = session::run(&mut stream, self.env, &link).await;
            if let End::StartTls = end {
                return Box::pin(self.serve_tls(stream, Security::UpgradedTls, report)).await;
            }
            report.log(&EndReason::of(&end));
            if let End::WriteTimeout = end {
                return reset(&stream);
            }
            if let End::Evicted | End::Kicked = end {
                return close(&mut stream, Duration::ZERO).await;
            }
            let closing = async {
                close(&mut stream, CLOSE).await;
                linger(&mut stream).await;
            };
            close_unless_ended(closing, &link).await;
        }
    }

    fn serve_tls(
        &self,
        stream: TcpStream,
        security: Security,
        report: &mut EndReport<'_>,
    ) -> impl Future<Output = ()> {
        let mut link = self.link(security, report);
        async move {
            let mut stream = match Box::pin(self.shake_hands(stream, &mut link)).await {
                Ok(stream) => stream,
                Err(reason) => return report.log(&reason),
            };
            report.secured(Protection::of(&stream));
            let end = session::run(&mut *stream, self.env, &link).await;
            report.log(&EndReason::of(&end));
            if let End::WriteTimeout = end {
                return reset(stream.get_ref().0.stream());
            }
            // Closing sends close_notify, so that the client can tell the end from an attack.
            if let End::Evicted | End::Kicked = end {
                return close(&mut stream, Duration::ZERO).await;
            }
            let closing = async {
                close(&mut *stream, CLOSE).await;
                linger(stream.get_mut().0.stream_mut()).await;
            };
            close_unless_ended(closing, &link).await;
        }
    }

    /// Performs the TLS handshake, which is part of the login, and stores its results in `link`.
    async fn shake_hands(
        &self,
        stream: TcpStream,
        link: &mut Link,
    ) -> Result<Box<Protected>, EndReason> {
        let Some(certificates) = self.certificates else {
            return Err(EndReason::new("no-certificate"));
        };
        let config = certificates.config();
        let handshake = timeout_at(link.login_deadline, handshake(stream, &config));
        let mut stream = tokio::select! {
            biased;
            outcome = handshake => match outcome {
                Ok(agreed) => Box::new(agreed?),
                Err(_) => return Err(EndReason::of(&End::LoginTimeout)),
            },
            () = self.env.drain.cancelled() => return Err(EndReason::of(&End::Shutdown)),
            end = link.connection.handle().ended() => return Err(EndReason::of(&end)),
        };
        stream.get_mut().0.forget();
        let connection = stream.get_ref().1;
        link.channel = tls::peer::channel(&config, connection);
        link.certificate = tls::peer::users(connection);
        if let Some(domain) = config.default_domain(connection.server_name()) {
            link.default_domain = Some(domain);
        }
        Ok(stream)
    }

    fn link(&self, security: Security, report: &EndReport<'_>) -> Link {
        let deadline = report.connection.handle().opened() + self.timeouts.login;
        let link = Link::new(security, Arc::clone(&report.connection), deadline);
        Link { default_domain: report.domain.clone(), ..link }
    }
}

impl Stream for Protected {
    fn acknowledge(&self) {
        self.get_ref().0.stream().acknowledge();
    }

    fn limit_silence(&self, most: Option<Duration>) {
        self.get_ref().0.stream().limit_silence(most);
    }

    fn taken(&self) -> Taken {
        self.get_ref().0.stream().taken()
    }
}

/// A connection with TLS. Many clients send no `close_notify`; the session treats that as a normal end.
type Protected = TlsStream<PeekedStream>;

/// Performs the handshake.
async fn handshake(stream: TcpStream, config: &TlsConfig) -> Result<Protected, EndReason> {
    let opening = PeekedStream::of(stream, config.longest_handshake())
        .await
        .map_err(|error| EndReason::of_opening(&error))?;
    // The client behind the proxy could not read a TLS alert.
    if let Some(proxy @ WrongProtocol::Proxy) = WrongProtocol::recognise(opening.first()) {
        return Err(EndReason::of(&End::WrongProtocol(proxy)));
    }
    let handshake = config.acceptor().accept(opening).into_fallible();
    handshake.await.map_err(|(error, opening)| EndReason::of_handshake(&error, &opening, config))
}

/// Closes a connection in an orderly way, unless the server ends it meanwhile.
async fn close_unless_ended(closing: impl Future<Output = ()>, link: &Link) {
    tokio::select! {
        biased;
        () = closing => {}
        _ = link.connection.handle().ended() => {}
    }
}

/// Closes the sending side. Waits at most this long for a client that does not read.
async fn close(stream: &mut (impl AsyncWrite + Unpin), most: Duration) {
    if let Ok(Err(error)) = timeout(most, stream.shutdown()).await {
        debug!("the connection was not closed in order: {error}");
    }
}

/// Resets a connection whose client does not read, so that the system drops unsent data.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        debug!("the connection was not reset: {error}");
    }
}

/// Reads what the client still sends. Closing a socket with unread octets would reset the connection,
/// and the client might lose the last reply.
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
    if timeout(LINGER, rest).await.is_err() {
        debug!("the client has not closed its side of the connection");
    }
}

const CLOSE: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS: usize = 256;

/// Why a connection ended, as it is logged.
struct EndReason {
    why: &'static str,
    detail: Option<String>,
}

impl EndReason {
    fn new(why: &'static str) -> Self {
        Self { why, detail: None }
    }

    fn of(end: &End) -> Self {
        let detail = match end {
            End::BodyFailed(error) | End::Broken(error) => Some(error.to_string()),
            End::WrongProtocol(WrongProtocol::Proxy) => Some(UNWANTED_PROXY.to_owned()),
            End::WrongProtocol(protocol) => Some(format!("the client speaks {protocol}")),
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
            | End::Kicked
            | End::StoresDown
            | End::Shutdown => None,
        };
        Self { why: end.word(), detail }
    }

    /// The client closed the connection before it began TLS.
    fn of_opening(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::of(&End::PeerClosed);
        }
        Self { why: "tls-handshake-failed", detail: Some(error.to_string()) }
    }

    fn of_handshake(error: &io::Error, opening: &PeekedStream, config: &TlsConfig) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner.map(|inner| config.handshake_failure(inner, opening.first())) {
            Some((why, detail)) => Self { why, detail: Some(detail) },
            None => Self::of_opening(error),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "ended: {}: {detail}", self.why),
            None => write!(f, "ended: {}", self.why),
        }
    }
}

const UNWANTED_PROXY: &str = "a proxy sends a header of the PROXY protocol: write proxy-protocol = true \
                              and proxies in [[listen]], or disable it in the proxy";

/// The line in the log about the end of a connection.
///
/// It is written once: by [`log`](Self::log), or on drop if the connection is cut off or its task
/// panics.
struct EndReport<'a> {
    throttle: &'a Throttle,
    connection: Arc<Open>,
    /// The domain for user names without one, on this connection.
    domain: Option<Arc<str>>,
    proxied: Option<Box<Proxied>>,
    protection: Option<Protection>,
    written: bool,
}

/// The negotiated version and cipher suite.
struct Protection {
    version: &'static str,
    /// `None`: a proxy has the TLS connection.
    cipher_suite: Option<&'static str>,
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
        Self { version, cipher_suite: Some(cipher_suite) }
    }
}

impl<'a> EndReport<'a> {
    fn new(
        connection: Arc<Open>,
        domain: Option<Arc<str>>,
        proxied: Option<Box<Proxied>>,
        throttle: &'a Throttle,
    ) -> Self {
        Self { throttle, connection, domain, proxied, protection: None, written: false }
    }

    fn secured(&mut self, protection: Protection) {
        let handle = self.connection.handle();
        handle.set_tls(protection.version);
        handle.tell(Speaker::Connection, || format!("TLS {}", protection.version));
        self.protection = Some(protection);
    }

    fn log(&mut self, reason: &EndReason) {
        self.written = true;
        if let Some(counters) = counters::on() {
            counters.ended.add(reason.why, 1);
        }
        let handle = self.connection.handle();
        handle.tell(Speaker::Connection, || reason.to_string());
        let summary = handle.activity().summary;
        let proxied = self.proxied.as_ref();
        if summary.user.is_none() && proxied.is_some_and(|proxied| proxied.is_own) {
            return debug!(why = %reason.why, "session ended");
        }
        if summary.user.is_none() && !self.throttle.logs(handle.peer().ip(), Entry::Connection) {
            return;
        }
        info!(
            user = summary.user.as_ref().map(Username::as_str),
            app_password = summary.app_password.as_ref().map(AppPasswordName::as_str),
            proxy = proxied.map(|proxied| display(proxied.proxy)),
            tls = self.protection.as_ref().map(|tls| tls.version),
            cipher_suite = self.protection.as_ref().and_then(|tls| tls.cipher_suite),
            retrieved = summary.retrieved,
            removed = summary.removed,
            left = summary.left,
            octets = summary.octets,
            seconds = (handle.opened().elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            why = %reason.why,
            detail = reason.detail.as_deref(),
            "session ended"
        );
    }
}

impl Drop for EndReport<'_> {
    fn drop(&mut self) {
        if !self.written {
            let why = if std::thread::panicking() { "fault-in-server" } else { "cut-off" };
            self.log(&EndReason::new(why));
        }
    }
}
