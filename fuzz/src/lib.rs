//! What the targets for whole sessions share: one session, from what a client sends to what it is
//! sent.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::thread::park_timeout;
use std::time::Duration;

use restante::config::FileSection;
use restante::credentials::FileStore;
use restante::login::{Authenticator, Rules};
use restante::mailbox::Mailbox;
use restante::password::WeakSchemes;
use restante::protocol::Username;
use restante::session::{self, End, Env, Link, Policy, Security, Summary};
use restante::threads::at_work;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// The user, whose password is `tanstaaf`.
pub fn mrose() -> Username {
    Username::try_from("mrose").expect("a name")
}

/// A directory in memory, for as long as the process lives.
pub fn scratch() -> &'static TempDir {
    static SCRATCH: LazyLock<TempDir> = LazyLock::new(|| {
        let memory = tempfile::tempdir_in("/dev/shm");
        memory.or_else(|_| tempfile::tempdir()).expect("a directory")
    });
    &SCRATCH
}

/// Runs a session on what a client sends, in pieces of at most `piece` octets, before it closes its
/// side. Gives what it was sent and how the session ended.
pub fn converse<M: Mailbox>(
    mailbox: M,
    input: &[u8],
    piece: usize,
    security: Security,
    clock: Clock,
) -> (Vec<u8>, End, Summary) {
    let env = env(mailbox);
    clock.runtime().block_on(async {
        let (client, mut server) = tokio::io::duplex(piece.max(1));
        let (mut reader, mut writer) = tokio::io::split(client);
        let session = async {
            let link = Link::new(security, PEER, Instant::now() + Duration::from_secs(120));
            let mut summary = Summary::default();
            let end = session::run(&mut server, &env, &link, &mut summary).await;
            drop(server);
            (end, summary)
        };
        let send = async {
            // The session may end before it has read everything.
            writer.write_all(input).await.ok();
            writer.shutdown().await.ok();
        };
        let mut output = Vec::new();
        let ((end, summary), (), read) =
            tokio::join!(session, send, reader.read_to_end(&mut output));
        read.expect("memory can be read");
        (output, end, summary)
    })
}

/// Checks that each line has the one reply that is due, and gives how many have one.
pub fn count_replies(input: &[u8], output: &[u8]) -> usize {
    let mut replies = output.split_inclusive(|octet| *octet == b'\n');
    let mut next = || {
        let line = replies.next()?;
        let end = line.len().checked_sub(2).filter(|end| line[*end..] == *b"\r\n");
        Some(&line[..end.unwrap_or_else(|| panic!("no CRLF: {}", line.escape_ascii()))])
    };
    assert!(next().expect("a greeting").starts_with(b"+OK"));
    let (mut in_exchange, mut answered) = (false, 0);
    for line in input.split_inclusive(|octet| *octet == b'\n') {
        let Some(reply) = next() else { break };
        answered += 1;
        let was_in_exchange = std::mem::replace(&mut in_exchange, reply.starts_with(b"+ "));
        if in_exchange {
            continue;
        }
        assert!(reply.starts_with(b"+OK") || reply.starts_with(b"-ERR"));
        assert!(reply.len() <= 510);
        if reply.starts_with(b"+OK") && !was_in_exchange && has_many_lines(line) {
            while next().expect("a final dot") != b"." {}
        }
    }
    assert_eq!(next(), None, "something that nobody asked for");
    answered
}

fn has_many_lines(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line).trim().to_ascii_uppercase();
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    matches!(
        (words.next().unwrap_or_default(), words.next()),
        ("RETR" | "TOP" | "CAPA", _) | ("LIST" | "UIDL" | "AUTH" | "LANG", None)
    )
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The clock of a session.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// It goes on when there is nothing to do, so no delay takes any time. Not for stores that work
    /// on threads from the end of one session into the next.
    Paused,
    /// As it is.
    Real,
}

impl Clock {
    fn runtime(self) -> &'static Runtime {
        static PAUSED: LazyLock<Runtime> = LazyLock::new(|| {
            let mut builder = Builder::new_current_thread();
            // What looks users up is no task.
            let wait = || {
                while at_work() > 0 {
                    park_timeout(Duration::from_micros(20));
                }
            };
            builder.enable_time().start_paused(true).on_thread_park(wait);
            builder.build().expect("a runtime")
        });
        static REAL: LazyLock<Runtime> = LazyLock::new(|| {
            Builder::new_current_thread().enable_time().build().expect("a runtime")
        });
        match self {
            Self::Paused => &PAUSED,
            Self::Real => &REAL,
        }
    }
}

fn env<M: Mailbox>(mailbox: M) -> Env<M, FileStore> {
    static USERS: LazyLock<PathBuf> = LazyLock::new(|| {
        let users = scratch().path().join("users");
        std::fs::write(&users, "mrose:{PLAIN}tanstaaf\n").expect("a credential file");
        users
    });
    let users = FileStore::open(&FileSection::from(&**USERS), WeakSchemes::Refused)
        .expect("a credential file");
    let authenticator = Authenticator::new(vec![users], Rules::default(), Arc::default());
    let policy = Policy { utf8: true, ..Policy::new("pop.example.org") };
    Env::new(mailbox, authenticator.expect("an authenticator"), policy)
}
