//! The accept loop: a panic in one session, and errors of accept(2).

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
    let entry =
        Arc::new(Listen { address, tls: TlsMode::Off, default_domain: None, proxies: None });
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
