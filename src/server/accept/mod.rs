//! The accept loop of a listening socket, and its connections.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span, debug, error, error_span, info, warn};

use super::connection::Connection;
use super::limits::{Admission, LimitReached, Place};
use super::proxy::{Proxied, ProxyFault};
use super::watchdog::{AcceptLoop, Ping};
use super::{Shared, canonical, proxy};
use crate::config::{Listen, TlsMode};
use crate::counters;
use crate::credentials::CredentialStore;
use crate::mailbox::Mailbox;

/// A listening socket that is registered with the runtime.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    entry: Arc<Listen>,
    /// Pings of the watchdog.
    pings: mpsc::Receiver<Ping>,
}

impl Listener {
    /// Registers a socket with the running runtime. Also returns the watchdog's end.
    pub(super) fn new(socket: super::Socket) -> io::Result<(Self, AcceptLoop)> {
        let (accept_loop, pings) = AcceptLoop::new(socket.address());
        let entry = Arc::new(socket.entry);
        let socket = TcpListener::from_std(socket.listener)?;
        Ok((Self { socket, entry, pings }, accept_loop))
    }

    /// Accepts connections until the server stops, then waits for all of them to end.
    ///
    /// - If descriptors or memory run short, it pauses, and clients wait in the queue of the kernel.
    /// - A panic in a connection ends only that connection.
    ///
    /// # Errors
    /// When the socket itself is broken.
    pub(super) async fn run<M: Mailbox, C: CredentialStore>(
        self,
        shared: Arc<Shared<M, C>>,
    ) -> io::Result<()> {
        let mut connections = Connections::default();
        let outcome = self.accept_until_drain(&shared, &mut connections).await;
        connections.finish(&shared).await;
        outcome
    }

    /// Consumes the listener, so that the system refuses clients afterwards.
    async fn accept_until_drain<M: Mailbox, C: CredentialStore>(
        mut self,
        shared: &Arc<Shared<M, C>>,
        connections: &mut Connections,
    ) -> io::Result<()> {
        let mut shortage = Shortage::default();
        loop {
            tokio::select! {
                biased;
                () = shared.drain.cancelled() => return Ok(()),
                Some(ping) = self.pings.recv() => ping.answer(),
                () = connections.reap(), if !connections.0.is_empty() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        shortage.end();
                        self.admit(shared, connections, stream, peer);
                    }
                    Err(error) => match AcceptError::of(&error) {
                        AcceptError::Peer => debug!("a client left before it was accepted: {error}"),
                        AcceptError::Shortage => {
                            shortage.meet(&error);
                            pause(shared).await;
                        }
                        AcceptError::Socket => return Err(error),
                    },
                },
            }
        }
    }

    fn admit<M: Mailbox, C: CredentialStore>(
        &self,
        shared: &Arc<Shared<M, C>>,
        connections: &mut Connections,
        stream: TcpStream,
        peer: SocketAddr,
    ) {
        // An IPv4 client of an IPv6 socket is shown with its IPv4 address.
        let peer = canonical(peer);
        if let Some(counters) = counters::on() {
            counters.connections.add(1);
        }
        let limits = &shared.current().limits;
        if let Some(proxies) = &self.entry.proxies {
            if !proxies.iter().any(|network| network.contains(&peer.ip())) {
                let _span = session_span(peer).entered();
                return shared.proxy_warnings.report(&ProxyFault::Stranger, peer, &shared.throttle);
            }
            match shared.connection_limits.reserve(limits) {
                Ok(place) => connections.start_proxied(shared, place, stream, peer, &self.entry),
                Err(reached) => refuse(shared, stream, peer, reached, self.entry.tls),
            }
            return;
        }
        let admit = |place| shared.connection_limits.admit(place, peer, limits, &shared.throttle);
        match shared.connection_limits.reserve(limits).and_then(admit) {
            Ok(admission) => connections.start(shared, admission, stream, peer, &self.entry),
            Err(reached) => refuse(shared, stream, peer, reached, self.entry.tls),
        }
    }
}

/// The connections of a listener.
#[derive(Default)]
struct Connections(JoinSet<()>);

impl Connections {
    fn start<M: Mailbox, C: CredentialStore>(
        &mut self,
        shared: &Arc<Shared<M, C>>,
        admission: Admission,
        stream: TcpStream,
        peer: SocketAddr,
        entry: &Arc<Listen>,
    ) {
        let serving = serve(Arc::clone(shared), admission, stream, Arc::clone(entry), None);
        self.0.spawn(serving.instrument(session_span(peer)));
    }

    /// Starts a connection through `proxy`, whose client is known after its header.
    fn start_proxied<M: Mailbox, C: CredentialStore>(
        &mut self,
        shared: &Arc<Shared<M, C>>,
        place: Place,
        stream: TcpStream,
        proxy: SocketAddr,
        entry: &Arc<Listen>,
    ) {
        let introduction = introduce(Arc::clone(shared), place, stream, proxy, Arc::clone(entry));
        // Boxed, so that the session holds no memory for it.
        let introduction = Box::pin(introduction);
        self.0.spawn(async move {
            let Some(serving) = introduction.await else { return };
            serving.await;
        });
    }

    /// Waits for one connection to end. Cancel-safe.
    async fn reap(&mut self) {
        // The task itself has reported a panic.
        let _outcome = self.0.join_next().await;
    }

    /// Waits for all connections to end, until the server cuts them off.
    async fn finish<M, C>(&mut self, shared: &Shared<M, C>) {
        tokio::select! {
            biased;
            () = async { while !self.0.is_empty() { self.reap().await } } => {}
            () = shared.cut.cancelled() => {}
        }
        self.0.abort_all();
        while !self.0.is_empty() {
            self.reap().await;
        }
    }
}

/// The span of a connection. At level `error`, so that every line of the session has the address.
fn session_span(peer: SocketAddr) -> Span {
    error_span!("session", %peer)
}

/// Serves a connection that was admitted.
#[expect(clippy::manual_async_fn, reason = "an `async fn` takes the memory of its arguments twice")]
fn serve<M: Mailbox, C: CredentialStore>(
    shared: Arc<Shared<M, C>>,
    admission: Admission,
    stream: TcpStream,
    entry: Arc<Listen>,
    proxied: Option<Box<Proxied>>,
) -> impl Future<Output = ()> {
    async move {
        let _panic_report = PanicReport;
        let reloadable = shared.current();
        let connection = Connection {
            env: &reloadable.env,
            timeouts: &reloadable.timeouts,
            certificates: shared.tls.as_deref(),
        };
        let open = Arc::clone(&admission.connection);
        connection.serve(stream, &entry, open, proxied).await;
        drop(admission);
    }
}

/// Learns from `proxy` who its client is, and admits the client. Returns what serves it. `None`: the
/// connection is over, which has been logged.
async fn introduce<M: Mailbox, C: CredentialStore>(
    shared: Arc<Shared<M, C>>,
    place: Place,
    mut stream: TcpStream,
    proxy: SocketAddr,
    entry: Arc<Listen>,
) -> Option<Instrumented<impl Future<Output = ()>>> {
    let _panic_report = PanicReport;
    let header = tokio::select! {
        biased;
        header = proxy::read(&mut stream) => header,
        () = shared.drain.cancelled() => return None,
    };
    let header = match header {
        Ok(header) => header,
        Err(fault) => {
            let _span = session_span(proxy).entered();
            shared.proxy_warnings.report(&fault, proxy, &shared.throttle);
            return None;
        }
    };
    let peer = header.client.unwrap_or(proxy);
    let proxied = Box::new(Proxied::new(proxy.ip(), header));
    let limits = &shared.current().limits;
    let admission = match proxied.is_own {
        true => Ok(shared.connection_limits.admit_proxy(place, peer, limits)),
        false => shared.connection_limits.admit(place, peer, limits, &shared.throttle),
    };
    match admission {
        Ok(admission) => {
            let serving = serve(shared, admission, stream, entry, Some(proxied));
            Some(serving.instrument(session_span(peer)))
        }
        Err(reached) => {
            refuse(&shared, stream, peer, reached, entry.tls);
            None
        }
    }
}

/// Logs a panic of a connection's task when it is dropped, in the span of that task.
struct PanicReport;

impl Drop for PanicReport {
    fn drop(&mut self) {
        if thread::panicking() {
            error!("a session ended by a fault in the server, please report it");
        }
    }
}

/// The subject of an error of accept(2).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// The connection to be accepted. The next one may succeed.
    Peer,
    /// A lack of descriptors or memory.
    Shortage,
    /// The listening socket: it will accept no more connections.
    Socket,
}

impl AcceptError {
    pub(super) fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP) => Self::Socket,
            Some(
                Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH,
            ) => Self::Peer,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM. A pause is also right for unknown errors.
            _ => Self::Shortage,
        }
    }
}

/// A shortage of resources. Its beginning and its end are logged.
///
/// When resources are nearly used up, accepting fails and succeeds by turns. That counts as one
/// shortage.
#[derive(Default)]
pub(super) struct Shortage {
    last_met: Option<Instant>,
}

impl Shortage {
    pub(super) fn meet(&mut self, error: &io::Error) {
        if self.last_met.replace(Instant::now()).is_none() {
            warn!("no connection can be accepted for now: {error}");
        }
    }

    pub(super) fn end(&mut self) {
        if self.last_met.is_some_and(|last| last.elapsed() > Self::QUIET) {
            self.last_met = None;
            info!("connections are accepted again");
        }
    }

    const QUIET: Duration = Duration::from_secs(1);
}

async fn pause<M, C>(shared: &Shared<M, C>) {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => {}
        () = shared.drain.cancelled() => {}
    }
}

/// Until the next attempt when descriptors or memory run short.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Closes a connection that exceeds a limit. On a TLS port, it cannot send the reason.
fn refuse<M, C>(
    shared: &Shared<M, C>,
    stream: TcpStream,
    peer: SocketAddr,
    reached: LimitReached,
    mode: TlsMode,
) {
    if let Some(counters) = counters::on() {
        counters.refused_connections.add(reached.word(), 1);
    }
    if let Some(passed_over) = shared.refusals.due() {
        let key = reached.key();
        warn!(%peer, limit = key, passed_over, "too many connections, one was refused");
    }
    if mode == TlsMode::Implicit {
        return;
    }
    // The socket is non-blocking and its buffer is empty, so the line is written at once or fails.
    let said = stream.into_std().and_then(|mut stream| stream.write_all(reached.greeting()));
    if let Err(error) = said {
        debug!("a client that was refused had left: {error}");
    }
}

#[cfg(test)]
mod tests;
