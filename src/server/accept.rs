//! The accept loop of one listening socket, and the connections that came through it.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{Instrument, debug, error, error_span, info, warn};

use super::House;
use super::connection::Host;
use super::limits::{Admission, Refusal};
use super::watchdog::{AcceptLoop, Question};
use crate::config::{Listen, TlsMode};
use crate::credentials::CredentialStore;
use crate::mailbox::Mailbox;

/// A listening socket within the runtime.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    entry: Listen,
    /// What the watchdog asks.
    questions: mpsc::Receiver<Question>,
}

impl Door {
    /// Takes a socket into the runtime that is running; with it comes what the watchdog needs.
    pub(super) fn open(socket: super::Socket) -> io::Result<(Self, AcceptLoop)> {
        let (accept_loop, questions) = AcceptLoop::new(socket.address());
        let listener = TcpListener::from_std(socket.listener)?;
        Ok((Self { listener, entry: socket.entry, questions }, accept_loop))
    }

    /// Accepts connections until the server stops, then waits for the last of them.
    ///
    /// - A lack of descriptors or memory is waited out: those who come in the meantime stay in the
    ///   queue of the kernel.
    /// - A panic in a connection ends that connection.
    ///
    /// # Errors
    /// When the socket itself is broken.
    pub(super) async fn keep<M, C>(self, house: Arc<House<M, C>>) -> io::Result<()>
    where
        M: Mailbox,
        C: CredentialStore,
    {
        let mut connections = Connections::default();
        let outcome = self.accept_until_drain(&house, &mut connections).await;
        connections.finish(&house).await;
        outcome
    }

    /// Consumes the door: once this is over, clients are turned away by the system.
    async fn accept_until_drain<M, C>(
        mut self,
        house: &Arc<House<M, C>>,
        connections: &mut Connections,
    ) -> io::Result<()>
    where
        M: Mailbox,
        C: CredentialStore,
    {
        let mut starvation = Starvation::default();
        loop {
            tokio::select! {
                biased;
                () = house.drain.cancelled() => return Ok(()),
                Some(question) = self.questions.recv() => question.answer(),
                () = connections.reap(), if !connections.tasks.is_empty() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        starvation.relieved();
                        self.let_in(house, connections, stream, peer);
                    }
                    Err(error) => match Trouble::of(&error) {
                        Trouble::Peer => debug!("a client left before it was accepted: {error}"),
                        Trouble::Starvation => {
                            starvation.met(&error);
                            pause(house).await;
                        }
                        Trouble::Socket => return Err(error),
                    },
                },
            }
        }
    }

    fn let_in<M, C>(
        &self,
        house: &Arc<House<M, C>>,
        connections: &mut Connections,
        stream: TcpStream,
        peer: SocketAddr,
    ) where
        M: Mailbox,
        C: CredentialStore,
    {
        // An IPv4 client of an IPv6 socket is shown as what it is.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        match house.gate.admit(peer.ip(), &house.current().limits, &house.throttle) {
            Ok(admission) => connections.start(house, admission, stream, peer, &self.entry),
            Err(refusal) => {
                if let Some(passed_over) = house.refusals.due() {
                    let key = refusal.key();
                    warn!(%peer, limit = key, passed_over, "too many connections, one was refused");
                }
                turn_away(stream, refusal, self.entry.tls);
            }
        }
    }
}

/// The connections of a door. Their addresses are kept for the line that reports a panic.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    peers: HashMap<Id, SocketAddr>,
}

impl Connections {
    fn start<M, C>(
        &mut self,
        house: &Arc<House<M, C>>,
        admission: Admission,
        stream: TcpStream,
        peer: SocketAddr,
        entry: &Listen,
    ) where
        M: Mailbox,
        C: CredentialStore,
    {
        let house = Arc::clone(house);
        let (mode, domain) = (entry.tls, entry.default_domain.clone());
        // Of the highest level, so that no line of the session goes without the address.
        let span = error_span!("session", %peer);
        let serving = async move {
            let generation = house.current();
            let host = Host {
                env: &generation.env,
                timeouts: &generation.timeouts,
                front: house.tls.as_deref(),
            };
            let place = Arc::clone(&admission.place);
            host.serve(stream, peer.ip(), mode, domain, place).await;
            drop(admission);
        };
        let task = self.tasks.spawn(serving.instrument(span));
        self.peers.insert(task.id(), peer);
    }

    /// Waits for one connection to end. May be given up at any time.
    async fn reap(&mut self) {
        if let Some(outcome) = self.tasks.join_next_with_id().await {
            self.settle(outcome);
        }
    }

    fn settle(&mut self, outcome: Result<(Id, ()), JoinError>) {
        let id = match &outcome {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let peer = self.peers.remove(&id);
        if let Err(error) = outcome
            && error.is_panic()
        {
            let peer = peer.map(tracing::field::display);
            error!(peer, "a session ended by a fault in the server, please report it: {error}");
        }
    }

    /// Waits for all of them, for as long as the server lets them.
    async fn finish<M, C>(&mut self, house: &House<M, C>) {
        tokio::select! {
            biased;
            () = async { while !self.tasks.is_empty() { self.reap().await } } => {}
            () = house.cut.cancelled() => {}
        }
        self.tasks.abort_all();
        while !self.tasks.is_empty() {
            self.reap().await;
        }
    }
}

/// What is behind an error of accept(2).
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// The connection that was to be accepted; the next one may be fine.
    Peer,
    /// The process or the system lacks something at the moment.
    Starvation,
    /// The listening socket: nothing will be accepted any more.
    Socket,
}

impl Trouble {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK | Errno::EOPNOTSUPP) => {
                Self::Socket
            }
            Some(
                Errno::ECONNABORTED
                | Errno::EINTR
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH,
            ) => Self::Peer,
            // EMFILE, ENFILE, ENOBUFS, ENOMEM, and whatever else: pausing is right for those too.
            _ => Self::Starvation,
        }
    }
}

/// An episode of starvation: a line in the log when it begins, and one when it is over.
///
/// At the brink, accepting fails and succeeds by turns; that is one episode.
#[derive(Default)]
struct Starvation {
    last_met: Option<Instant>,
}

impl Starvation {
    fn met(&mut self, error: &io::Error) {
        if self.last_met.replace(Instant::now()).is_none() {
            warn!("no connection can be accepted for now: {error}");
        }
    }

    fn relieved(&mut self) {
        if self.last_met.is_some_and(|last| last.elapsed() > Self::QUIET) {
            self.last_met = None;
            info!("connections are accepted again");
        }
    }

    const QUIET: Duration = Duration::from_secs(1);
}

async fn pause<M, C>(house: &House<M, C>) {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => {}
        () = house.drain.cancelled() => {}
    }
}

const PAUSE: Duration = Duration::from_millis(100);

/// Closes a connection that is one too many. On a TLS port there is no way to say why.
fn turn_away(stream: TcpStream, refusal: Refusal, mode: TlsMode) {
    if mode == TlsMode::Implicit {
        return;
    }
    // The socket is in non-blocking mode and its buffer is empty: this takes the line or fails.
    let said = stream.into_std().and_then(|mut stream| stream.write_all(refusal.greeting()));
    if let Err(error) = said {
        debug!("a client that was refused had left: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
    use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

    use super::*;
    use crate::login::Identity;
    use crate::mailbox::memory::{MemoryMaildrop, MemoryStore};
    use crate::mailbox::{Cancellation, OpenError};
    use crate::server::fixture;

    /// A mailbox with a fault that one user brings out.
    struct Trap(MemoryStore);

    impl Mailbox for Trap {
        type Maildrop = MemoryMaildrop;

        async fn open(
            &self,
            identity: &Identity,
            cancellation: &Cancellation,
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
        let log = fixture::Log::default();
        let _logging = log.follow();
        let store = MemoryStore::default();
        store.deliver(&"mrose".try_into().unwrap(), "one", *b"Subject: one\r\n\r\n");
        let house = Arc::new(fixture::house(Trap(store)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_watchdog, questions) = AcceptLoop::new(address);
        let entry = Listen { address, tls: TlsMode::Off, default_domain: None };
        let door = Door { listener, entry, questions };
        let keeping = tokio::spawn(door.keep(Arc::clone(&house)));

        let mut bystander = Client::connect(address).await;
        for _ in 0..fixture::CONNECTIONS {
            let mut trapped = Client::connect(address).await;
            trapped.ask("USER trap").await;
            assert_eq!(trapped.ask("PASS tanstaaf").await, None, "closed without a reply");
        }
        assert_eq!(bystander.ask("USER mrose").await.unwrap(), "+OK send PASS");
        assert_eq!(bystander.ask("PASS tanstaaf").await.unwrap(), "+OK 1 message (16 octets)");
        assert_eq!(bystander.ask("QUIT").await.unwrap(), "+OK goodbye, 1 message left");

        house.drain.cancel();
        let outcome = tokio::time::timeout(Duration::from_secs(20), keeping).await;
        outcome.unwrap().unwrap().unwrap();
        for line in ["why=fault-in-server", "ended by a fault in the server, please report it"] {
            assert_eq!(log.text().matches(line).count(), fixture::CONNECTIONS as usize, "{line}");
        }
        assert!(log.text().contains("ERROR restante::server::accept: a session ended by"));
    }

    #[test]
    fn only_a_broken_socket_ends_the_loop() {
        for (errno, expected) in [
            (Errno::EMFILE, Trouble::Starvation),
            (Errno::ENFILE, Trouble::Starvation),
            (Errno::ENOBUFS, Trouble::Starvation),
            (Errno::ENOMEM, Trouble::Starvation),
            (Errno::EPERM, Trouble::Starvation),
            (Errno::ECONNABORTED, Trouble::Peer),
            (Errno::EBADF, Trouble::Socket),
            (Errno::EINVAL, Trouble::Socket),
        ] {
            assert_eq!(Trouble::of(&io::Error::from(errno)), expected, "{errno}");
        }
    }
}
