//! For any input, each line gets exactly one reply, and only QUIT removes messages.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use restante::config::FileSection;
use restante::credentials::FileStore;
use restante::login::{Authenticator, Identity, Rules};
use restante::mailbox::memory::{MemoryMaildrop, MemoryStore};
use restante::mailbox::{Mailbox, OpenError};
use restante::password::WeakSchemes;
use restante::protocol::Username;
use restante::session::{self, End, Env, Policy, Security, Summary};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::clock::paused_runtime;
use crate::support::session::{self as support, MESSAGES, count_replies, link};

/// Runs a session on the octets that a client sends before it closes its side.
fn converse(input: &[u8], security: Security) -> (Vec<u8>, End, Summary, MemoryStore) {
    let store = MemoryStore::default();
    for (at, message) in MESSAGES.iter().enumerate() {
        store.deliver(&mrose(), &format!("id-{at}"), message.as_bytes());
    }
    let env = env(store.clone());
    let conversation = support::converse(&env, security, input, 1024);
    let (output, end, summary) = paused_runtime().block_on(conversation);
    assert!(std::str::from_utf8(&output).is_ok(), "{}", output.escape_ascii());
    (output, end, summary, store)
}

/// The environment of a session, with the user mrose.
pub(crate) fn env<M: Mailbox>(mailbox: M) -> Env<M, FileStore> {
    let files = tempfile::tempdir().unwrap();
    let users = files.path().join("users");
    std::fs::write(&users, "mrose:{PLAIN}tanstaaf\n").unwrap();
    let stores = vec![FileStore::open(&FileSection::from(&*users), WeakSchemes::Refused).unwrap()];
    let authenticator = Authenticator::new(stores, Rules::default(), Arc::default()).unwrap();
    Env::new(mailbox, authenticator, Policy::new("pop.example.org"))
}

pub(crate) fn mrose() -> Username {
    Username::try_from("mrose").unwrap()
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "USER mrose",
        "PASS tanstaaf",
        "PASS wrong",
        "AUTH",
        "AUTH PLAIN",
        "AUTH LOGIN bXJvc2U=",
        "AUTH PLAIN AG1yb3NlAHRhbnN0YWFm",
        "AUTH PLAIN =",
        "AG1yb3NlAHRhbnN0YWFm",
        "*",
        "bXJvc2U=",
        "dGFuc3RhYWY=",
        "CAPA",
        "STLS",
        "STAT",
        "LIST",
        "LIST 1",
        "LIST 2",
        "UIDL",
        "UIDL 3",
        "RETR 1",
        "RETR 2",
        "RETR 3",
        "RETR 4",
        "TOP 1 0",
        "TOP 1 1",
        "TOP 3 99999999",
        "DELE 1",
        "DELE 2",
        "DELE 0",
        "NOOP",
        "RSET",
        "QUIT",
        "LAST",
        "retr 1",
        "",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\n"]);
    prop_oneof![
        12 => (known, end).prop_map(|(line, end)| format!("{line}{end}").into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|mut bytes| {
            bytes.push(b'\n');
            bytes
        }),
        1 => (200usize..600).prop_map(|length| [vec![b'A'; length], b"\r\n".to_vec()].concat()),
    ]
}

fn logged_in() -> &'static [u8] {
    b"USER mrose\r\nPASS tanstaaf\r\n"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn each_line_gets_one_reply(lines in prop::collection::vec(line(), 0..60), login in any::<bool>()) {
        let mut input = if login { logged_in().to_vec() } else { Vec::new() };
        input.extend(lines.concat());
        let sent = input.iter().filter(|octet| **octet == b'\n').count();
        let (output, end, ..) = converse(&input, Security::ImplicitTls);
        match end {
            End::WrongProtocol(_) => {}
            End::PeerClosed => prop_assert_eq!(count_replies(&input, &output), sent),
            End::Quit | End::TooManyFaults | End::TooManyFailedLogins => {
                prop_assert!(count_replies(&input, &output) <= sent);
            }
            end => prop_assert!(false, "{}", end),
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000), login in any::<bool>()) {
        let mut input = if login { logged_in().to_vec() } else { Vec::new() };
        input.extend(bytes);
        for security in [Security::ImplicitTls, Security::Cleartext { stls: true }] {
            let (.., store) = converse(&input, security);
            prop_assert_eq!(store.unique_ids(&mrose()).len(), MESSAGES.len());
        }
    }

    #[test]
    fn only_quit_removes(lines in prop::collection::vec(line(), 0..40)) {
        let mut input = logged_in().to_vec();
        input.extend(lines.concat());
        let (_, end, summary, store) = converse(&input, Security::ImplicitTls);
        let left = store.unique_ids(&mrose()).len();
        prop_assert_eq!(summary.removed, (MESSAGES.len() - left) as u64);
        if !matches!(end, End::Quit) {
            prop_assert_eq!(left, MESSAGES.len());
        }
    }
}

#[test]
fn a_pipeline_of_ten_thousand_commands_is_answered_in_order() {
    let mut input = logged_in().to_vec();
    for _ in 0..10_000 {
        input.extend_from_slice(b"LIST 2\r\nNOOP\r\n");
    }
    input.extend_from_slice(b"QUIT\r\n");
    let (output, end, ..) = converse(&input, Security::ImplicitTls);
    assert!(matches!(end, End::Quit));
    let octets = MESSAGES[1].len() + 2;
    let output = String::from_utf8(output).unwrap();
    let replies: Vec<&str> = output.split_terminator("\r\n").skip(3).collect();
    assert_eq!(replies.len(), 20_001);
    for pair in replies[..20_000].chunks(2) {
        assert_eq!(pair, [format!("+OK 2 {octets}").as_str(), "+OK"]);
    }
}

/// Runs a session with all of `input` in its buffer. Returns the output, and how often another task
/// got its turn; that task calls `meanwhile` first.
fn pipelined(
    input: &[u8],
    meanwhile: impl FnOnce(&Env<MemoryStore, FileStore>),
) -> (Vec<u8>, End, u32) {
    let store = MemoryStore::default();
    store.deliver(&mrose(), "id", &b"x\n"[..]);
    let env = env(store);
    paused_runtime().block_on(async {
        let (mut client, mut server) = tokio::io::duplex(1 << 20);
        client.write_all(input).await.unwrap();
        let link = link(Security::ImplicitTls);
        let session = session::run(&mut server, &env, &link);
        let mut turns = 0;
        let other = async {
            meanwhile(&env);
            loop {
                turns += 1;
                tokio::task::yield_now().await;
            }
        };
        let end = tokio::select! {
            biased;
            end = session => end,
            () = other => unreachable!(),
        };
        drop(server);
        let mut output = Vec::new();
        client.read_to_end(&mut output).await.unwrap();
        (output, end, turns)
    })
}

#[test]
fn other_sessions_have_their_turn_while_commands_are_there() {
    for command in ["NOOP\r\n", "RSET\r\n", "CAPA\r\n", "DELE 7\r\n", "FOO\r\nNOOP\r\n"] {
        let input = [logged_in(), command.repeat(5_000).as_bytes(), b"QUIT\r\n"].concat();
        let (_, end, turns) = pipelined(&input, |_| {});
        assert!(matches!(end, End::Quit), "{end}");
        assert!(turns >= 30, "{turns} for {command:?}");
    }
}

#[test]
fn a_server_that_stops_does_not_carry_out_all_that_has_come() {
    let waiting = [b"UTF8\r\n".repeat(190), logged_in().to_vec()].concat();
    let (output, end, _) = pipelined(&waiting, |env| env.drain.cancel());
    assert!(matches!(end, End::Shutdown), "{end}");
    assert!(!String::from_utf8(output).unwrap().contains("1 message"));
    let busy = [logged_in(), &b"NOOP\r\n".repeat(5_000), b"QUIT\r\n"].concat();
    let (output, end, _) = pipelined(&busy, |env| env.drain.cancel());
    assert!(matches!(end, End::Quit), "{end}");
    assert!(output.ends_with(b"+OK goodbye, 1 message left\r\n"));
    let (output, end, _) = pipelined(&busy, |env| env.grace_over.cancel());
    assert!(matches!(end, End::Shutdown), "{end}");
    // At most the rest of its turn, which is less than 200 commands.
    let carried_out = output.split(|&octet| octet == b'\n').count();
    assert!(carried_out < 200, "{carried_out} of 5 003");
}

/// The idle time begins when the client has taken the last reply.
#[test]
fn a_slow_reader_is_not_idle() {
    let store = MemoryStore::default();
    store.deliver(&mrose(), "id-0", "x\n".repeat(10_000).into_bytes());
    let env = env(store);
    paused_runtime().block_on(async {
        let (client, mut server) = tokio::io::duplex(256);
        let (mut reader, mut writer) = tokio::io::split(client);
        let link = link(Security::ImplicitTls);
        let session = async {
            let why = session::run(&mut server, &env, &link).await;
            drop(server);
            why
        };
        let client = async {
            writer.write_all(b"USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\n").await.unwrap();
            let mut output = Vec::new();
            let retrieving = Instant::now();
            while !output.ends_with(b"x\r\n.\r\n") {
                assert!(reader.read_buf(&mut output).await.unwrap() > 0, "closed half-way");
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            assert!(retrieving.elapsed() > env.policy.idle);
            output.clear();
            writer.write_all(b"QUIT\r\n").await.unwrap();
            reader.read_buf(&mut output).await.unwrap();
            assert_eq!(output, b"+OK goodbye, 1 message left\r\n");
        };
        let (why, ()) = tokio::join!(session, client);
        assert!(matches!(why, End::Quit), "{why}");
    });
}

/// A store on a file system that answers only when `answers` is notified.
struct Hung {
    store: MemoryStore,
    answers: Arc<Notify>,
    cancellation: Arc<Mutex<CancellationToken>>,
}

impl Mailbox for Hung {
    type Maildrop = MemoryMaildrop;

    async fn open(
        &self,
        identity: &Identity,
        cancellation: &CancellationToken,
    ) -> Result<MemoryMaildrop, OpenError> {
        assert!(!cancellation.is_cancelled());
        *self.cancellation.lock().unwrap() = cancellation.clone();
        self.answers.notified().await;
        self.store.open(identity, cancellation).await
    }
}

#[test]
fn a_login_that_ran_out_of_time_keeps_its_place_until_the_store_answers() {
    let store = MemoryStore::default();
    store.deliver(&mrose(), "id", &b"x\n"[..]);
    let answers = Arc::new(Notify::new());
    let cancellation = Arc::<Mutex<CancellationToken>>::default();
    let env = env(Hung {
        store: store.clone(),
        answers: Arc::clone(&answers),
        cancellation: Arc::clone(&cancellation),
    });
    paused_runtime().block_on(async {
        let (mut client, mut server) = tokio::io::duplex(1024);
        client.write_all(logged_in()).await.unwrap();
        let link = link(Security::ImplicitTls);
        let end = session::run(&mut server, &env, &link).await;
        assert!(matches!(end, End::LoginTimeout), "{end}");
        drop(server);
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("-ERR [SYS/TEMP] the login took too long; wait and try again\r\n"));
        assert!(env.sessions.take(mrose(), 1).is_none());
        assert!(
            cancellation.lock().unwrap().is_cancelled(),
            "the store knows that the login is over"
        );

        answers.notify_one();
        // The remaining task opens the maildrop, and releases all.
        while env.sessions.take(mrose(), 1).is_none() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn mail_that_was_lost_on_the_way_is_not_removed() {
    let store = MemoryStore::default();
    let line = [vec![b'x'; 998], b"\r\n".to_vec()].concat();
    store.deliver(&mrose(), "id", line.repeat(40));
    let env = env(store.clone());
    paused_runtime().block_on(async {
        // The pipe holds only the first write of the message.
        let (mut client, mut server) = tokio::io::duplex(36 * 1024);
        client.write_all(&[logged_in(), b"RETR 1\r\n"].concat()).await.unwrap();
        let link = link(Security::ImplicitTls);
        let session = session::run(&mut server, &env, &link);
        let vanishing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.write_all(b"DELE 1\r\nQUIT\r\n").await.unwrap();
            drop(client);
        };
        let (end, ()) = tokio::join!(session, vanishing);
        assert!(matches!(end, End::PeerClosed), "{end}");
        assert_eq!(store.unique_ids(&mrose()), ["id"]);
    });
}

/// The operator ends a session: the client is told, unless that would be in the middle of a reply,
/// and keeps its mail.
#[test]
fn a_session_that_is_kicked_removes_nothing() {
    for (sent, marked, told) in [
        (
            "DELE 1\r\n",
            1,
            "-ERR [SYS/TEMP] the operator has ended this session; nothing is removed\r\n",
        ),
        ("DELE 1\r\nRETR 2\r\n", 1, ""),
        ("DELE 1\r\nRETR 2\r\nQUIT\r\n", 1, ""),
        ("RETR 2\r\nQUIT\r\n", 0, ""),
    ] {
        let store = MemoryStore::default();
        store.deliver(&mrose(), "one", &b"x\n"[..]);
        store.deliver(&mrose(), "two", "x\n".repeat(10_000).into_bytes());
        let env = env(store.clone());
        let output = paused_runtime().block_on(async {
            let (mut client, mut server) = tokio::io::duplex(1024);
            client.write_all(&[logged_in(), sent.as_bytes()].concat()).await.unwrap();
            let link = link(Security::ImplicitTls);
            let handle = link.connection.handle();
            let kicking = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let activity = handle.activity();
                assert_eq!((activity.marked, handle.idle().is_some()), (marked, !told.is_empty()));
                assert!(handle.kick());
            };
            let (end, ()) = tokio::join!(session::run(&mut server, &env, &link), kicking);
            assert!(matches!(end, End::Kicked), "{end}");
            drop(server);
            let mut output = String::new();
            client.read_to_string(&mut output).await.unwrap();
            output
        });
        assert_eq!(output.matches("-ERR").count(), usize::from(!told.is_empty()), "{output}");
        assert!(output.ends_with(told), "{output}");
        assert_eq!(store.unique_ids(&mrose()), ["one", "two"]);
    }
}
