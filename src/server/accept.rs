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
use tracing::{Instrument, debug, error, error_span, info, warn};

use super::Shared;
use super::connection::Connection;
use super::limits::{Admission, LimitReached};
use super::watchdog::{AcceptLoop, Ping};
use crate::config::{Listen, TlsMode};
use crate::credentials::CredentialStore;
use crate::mailbox::Mailbox;

/// A listening socket that is registered with the runtime.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    entry: Listen,
    /// Pings of the watchdog.
    pings: mpsc::Receiver<Ping>,
}

impl Listener {
    /// Registers a socket with the running runtime. Also returns the watchdog's end.
    pub(super) fn new(socket: super::Socket) -> io::Result<(Self, AcceptLoop)> {
        let (accept_loop, pings) = AcceptLoop::new(socket.address());
        let entry = socket.entry;
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
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        match shared.connection_limits.admit(peer, &shared.current().limits, &shared.throttle) {
            Ok(admission) => connections.start(shared, admission, stream, peer, &self.entry),
            Err(reached) => {
                if let Some(passed_over) = shared.refusals.due() {
                    let key = reached.key();
                    warn!(%peer, limit = key, passed_over, "too many connections, one was refused");
                }
                refuse(stream, reached, self.entry.tls);
            }
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
        entry: &Listen,
    ) {
        let shared = Arc::clone(shared);
        let (mode, domain) = (entry.tls, entry.default_domain.clone());
        // At level `error`, so that every line of the session has the address.
        let span = error_span!("session", %peer);
        let serving = async move {
            let _panic_report = PanicReport;
            let reloadable = shared.current();
            let connection = Connection {
                env: &reloadable.env,
                timeouts: &reloadable.timeouts,
                certificates: shared.tls.as_deref(),
            };
            let open = Arc::clone(&admission.connection);
            connection.serve(stream, mode, domain, open).await;
            drop(admission);
        };
        self.0.spawn(serving.instrument(span));
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
struct Shortage {
    last_met: Option<Instant>,
}

impl Shortage {
    fn meet(&mut self, error: &io::Error) {
        if self.last_met.replace(Instant::now()).is_none() {
            warn!("no connection can be accepted for now: {error}");
        }
    }

    fn end(&mut self) {
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

const PAUSE: Duration = Duration::from_millis(100);

/// Closes a connection that exceeds a limit. On a TLS port, it cannot send the reason.
fn refuse(stream: TcpStream, reached: LimitReached, mode: TlsMode) {
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
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
    use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::login::Identity;
    use crate::mailbox::OpenError;
    use crate::mailbox::memory::{MemoryMaildrop, MemoryStore};
    use crate::server::fixture;
    use crate::telemetry::captured::CapturedLog;

    /// A mailbox with a fault that one user brings out.
    struct Trap(MemoryStore);

    impl Mailbox for Trap {
        type Maildrop = MemoryMaildrop;

        async fn open(
            &self,
            identity: &Identity,
            cancellation: &CancellationToken,
        ) -> Result<MemoryMaildrop, OpenError> {
            assert_ne!(identity.username().as_str(), "trap", "the fault");
            self.0.open(identity, cancellation).await
        }
    }

    struct Client {
        lines: Lines<BufReader<OwnedReadHalf>>,
        writer: OwnedWriteHalf,
    }

    impl Client {
        async fn connect(address: SocketAddr) -> Self {
            let (reader, writer) = TcpStream::connect(address).await.unwrap().into_split();
            let mut client = Self { lines: BufReader::new(reader).lines(), writer };
            assert!(client.line().await.unwrap().ends_with("POP3 server ready"));
            client
        }

        async fn line(&mut self) -> Option<String> {
            self.lines.next_line().await.unwrap()
        }

        async fn ask(&mut self, command: &str) -> Option<String> {
            self.writer.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
            self.line().await
        }
    }

    #[tokio::test]
    async fn a_panic_ends_one_session_and_no_other() {
        let log = CapturedLog::default();
        let _capture = log.start();
        let store = MemoryStore::default();
        store.deliver(&"mrose".try_into().unwrap(), "one", *b"Subject: one\r\n\r\n");
        let shared = Arc::new(fixture::shared(Trap(store)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_watchdog, pings) = AcceptLoop::new(address);
        let entry = Listen { address, tls: TlsMode::Off, default_domain: None };
        let listener = Listener { socket: listener, entry, pings };
        let running = tokio::spawn(listener.run(Arc::clone(&shared)));

        let mut bystander = Client::connect(address).await;
        for _ in 0..fixture::CONNECTIONS {
            let mut trapped = Client::connect(address).await;
            trapped.ask("USER trap").await;
            assert_eq!(trapped.ask("PASS tanstaaf").await, None, "closed without a reply");
        }
        assert_eq!(bystander.ask("USER mrose").await.unwrap(), "+OK send PASS");
        assert_eq!(bystander.ask("PASS tanstaaf").await.unwrap(), "+OK 1 message (16 octets)");
        assert_eq!(bystander.ask("QUIT").await.unwrap(), "+OK goodbye, 1 message left");

        shared.drain.cancel();
        let outcome = tokio::time::timeout(Duration::from_secs(20), running).await;
        outcome.unwrap().unwrap().unwrap();
        for line in ["why=fault-in-server", "ended by a fault in the server, please report it"] {
            assert_eq!(log.text().matches(line).count(), fixture::CONNECTIONS as usize, "{line}");
        }
        let text = log.text();
        let report = |line: &&str| {
            line.contains("ERROR session{peer=127.0.0.1:")
                && line.contains("restante::server::accept: a session ended by")
        };
        let reports = text.lines().filter(report).count();
        assert_eq!(reports, fixture::CONNECTIONS as usize, "{text}");
    }

    #[test]
    fn only_a_broken_socket_ends_the_loop() {
        for (errno, expected) in [
            (Errno::MFILE, AcceptError::Shortage),
            (Errno::NFILE, AcceptError::Shortage),
            (Errno::NOBUFS, AcceptError::Shortage),
            (Errno::NOMEM, AcceptError::Shortage),
            (Errno::PERM, AcceptError::Shortage),
            (Errno::CONNABORTED, AcceptError::Peer),
            (Errno::BADF, AcceptError::Socket),
            (Errno::INVAL, AcceptError::Socket),
        ] {
            assert_eq!(AcceptError::of(&io::Error::from(errno)), expected, "{errno}");
        }
    }
}
