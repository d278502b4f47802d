//! Several sessions of one user at a time, and the sessions of a server that stops.

use std::sync::Arc;
use std::time::Duration;

use restante::credentials::FileStore;
use restante::mailbox::memory::MemoryStore;
use restante::session::{self, End, Env, Security};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::session::{env, mrose};
use crate::support::clock::paused_runtime;
use crate::support::session::link;

/// A client whose session runs at the same time as others.
struct Device {
    stream: BufReader<DuplexStream>,
    session: JoinHandle<End>,
}

impl Device {
    /// Connects through a pipe that holds this number of octets, and reads the greeting.
    async fn connect(env: &Arc<Env<MemoryStore, FileStore>>, octets: usize) -> Self {
        let (client, mut server) = tokio::io::duplex(octets);
        let env = Arc::clone(env);
        let session = tokio::spawn(async move {
            let link = link(Security::ImplicitTls);
            session::run(&mut server, &env, &link).await
        });
        let mut device = Self { stream: BufReader::new(client), session };
        assert!(device.line().await.starts_with("+OK"));
        device
    }

    /// Connects and logs in.
    async fn log_in(env: &Arc<Env<MemoryStore, FileStore>>) -> Self {
        let mut device = Self::connect(env, 1024).await;
        device.ask("USER mrose").await;
        let reply = device.ask("PASS tanstaaf").await;
        assert!(reply.starts_with("+OK"), "{reply}");
        device
    }

    async fn ask(&mut self, command: &str) -> String {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        self.line().await
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line
    }

    async fn end(self) -> String {
        self.session.await.unwrap().to_string()
    }
}

/// The user mrose has one message.
fn shared_env(store: &MemoryStore) -> Arc<Env<MemoryStore, FileStore>> {
    store.deliver(&mrose(), "id", &b"x\n"[..]);
    Arc::new(env(store.clone()))
}

const IN_USE: &str = "-ERR [IN-USE]";
const SECOND: Duration = Duration::from_secs(1);

/// Thunderbird tries PLAIN, LOGIN and USER, one after the other, on one connection.
#[test]
fn a_connection_waits_once_for_a_maildrop_in_use_and_not_longer_than_it_is_told_to() {
    paused_runtime().block_on(async {
        let env = shared_env(&MemoryStore::default());
        let first = Device::log_in(&env).await;
        for _ in 0..2 {
            let mut second = Device::connect(&env, 1024).await;
            for wait in [env.policy.lock_wait, Duration::ZERO] {
                let begun = Instant::now();
                assert_eq!(second.ask("AUTH PLAIN").await, "+ \r\n");
                assert!(second.ask("AG1yb3NlAHRhbnN0YWFm").await.starts_with(IN_USE));
                assert_eq!(begun.elapsed(), wait);
                second.ask("USER mrose").await;
                assert!(second.ask("PASS tanstaaf").await.starts_with(IN_USE));
                assert_eq!(begun.elapsed(), wait);
            }
        }
        drop(first);
    });
}

/// The reply to a QUIT that removes mail is sent a little before the lock is released.
#[test]
fn a_login_right_behind_ones_own_quit_waits_a_little_whatever_lock_wait_says() {
    paused_runtime().block_on(async {
        let mut env = Arc::into_inner(shared_env(&MemoryStore::default())).unwrap();
        env.policy.lock_wait = Duration::ZERO;
        let env = Arc::new(env);
        let first = Device::log_in(&env).await;
        let mut second = Device::connect(&env, 1024).await;
        second.ask("USER mrose").await;
        let begun = Instant::now();
        assert!(second.ask("PASS tanstaaf").await.starts_with(IN_USE));
        assert_eq!(begun.elapsed(), Duration::from_millis(100));
        let ending = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(Device::log_in(&env), ending);
        drop(second);
    });
}

#[test]
fn an_idle_session_gives_its_maildrop_to_the_next_login_of_its_user() {
    paused_runtime().block_on(async {
        let env = shared_env(&MemoryStore::default());
        let mut first = Device::log_in(&env).await;
        tokio::time::sleep(57 * SECOND).await;
        assert_eq!(first.ask("NOOP").await, "+OK\r\n");
        // Only a login of this user ends the session.
        tokio::time::sleep(57 * SECOND).await;
        let mut stranger = Device::connect(&env, 1024).await;
        stranger.ask("USER mrose").await;
        assert!(stranger.ask("PASS wrong").await.starts_with("-ERR [AUTH]"));
        assert!(!first.session.is_finished());
        // After 59 s of silence, and after 60.
        let begun = Instant::now();
        let second = Device::log_in(&env).await;
        assert!((SECOND..2 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(first.end().await, "yielded");
        drop(second);
    });
}

#[test]
fn marks_and_what_is_being_sent_are_not_given_up_for_another_login() {
    paused_runtime().block_on(async {
        let store = MemoryStore::default();
        store.deliver(&mrose(), "long", "x\n".repeat(10_000).into_bytes());
        let env = shared_env(&store);
        let mut first = Device::connect(&env, 1024).await;
        first.ask("USER mrose").await;
        first.ask("PASS tanstaaf").await;
        assert!(first.ask("RETR 1").await.starts_with("+OK"));
        tokio::time::sleep(200 * SECOND).await;
        let mut second = Device::connect(&env, 1024).await;
        second.ask("USER mrose").await;
        assert!(second.ask("PASS tanstaaf").await.starts_with(IN_USE));
        while first.line().await != ".\r\n" {}
        assert!(first.ask("DELE 2").await.starts_with("+OK"));
        tokio::time::sleep(500 * SECOND).await;
        let mut third = Device::connect(&env, 1024).await;
        third.ask("USER mrose").await;
        assert!(third.ask("PASS tanstaaf").await.starts_with(IN_USE));
        assert_eq!(first.ask("QUIT").await, "+OK 1 message removed, 1 left\r\n");
        assert_eq!(store.unique_ids(&mrose()), ["long"]);
    });
}

#[test]
fn a_client_in_the_middle_of_a_command_is_not_idle() {
    paused_runtime().block_on(async {
        let env = shared_env(&MemoryStore::default());
        let mut first = Device::log_in(&env).await;
        first.stream.write_all(b"RET").await.unwrap();
        tokio::time::sleep(200 * SECOND).await;
        let mut second = Device::connect(&env, 1024).await;
        second.ask("USER mrose").await;
        assert!(second.ask("PASS tanstaaf").await.starts_with(IN_USE));
        env.drain.cancel();
        tokio::time::sleep(20 * SECOND).await;
        assert!(first.ask("R 1").await.starts_with("+OK"));
    });
}

#[test]
fn a_server_that_stops_lets_sessions_go_on_to_quit() {
    paused_runtime().block_on(async {
        let store = MemoryStore::default();
        let env = shared_env(&store);
        let mut at_work = Device::log_in(&env).await;
        let before_login = Device::connect(&env, 1024).await;
        env.drain.cancel();
        assert_eq!(before_login.end().await, "shutdown");
        tokio::time::sleep(4 * SECOND).await;
        assert!(at_work.ask("RETR 1").await.starts_with("+OK"));
        while at_work.line().await != ".\r\n" {}
        tokio::time::sleep(4 * SECOND).await;
        assert!(at_work.ask("DELE 1").await.starts_with("+OK"));
        // A session with marks goes on as long as possible.
        tokio::time::sleep(100 * SECOND).await;
        assert_eq!(at_work.ask("QUIT").await, "+OK 1 message removed, 0 left\r\n");
        assert_eq!(at_work.end().await, "quit");
        assert!(store.unique_ids(&mrose()).is_empty());
    });
}

#[test]
fn a_server_that_stops_does_not_wait_for_who_does_nothing() {
    paused_runtime().block_on(async {
        for (mark, times_over) in [(false, false), (false, true), (true, true)] {
            let store = MemoryStore::default();
            let env = shared_env(&store);
            let mut idle = Device::log_in(&env).await;
            if mark {
                idle.ask("DELE 1").await;
            }
            tokio::time::sleep(2 * SECOND).await;
            let begun = Instant::now();
            env.drain.cancel();
            if times_over {
                tokio::time::sleep(SECOND).await;
                env.grace_over.cancel();
            }
            assert_eq!(idle.end().await, "shutdown");
            // It had been silent for two of the five seconds.
            let expected = if times_over { SECOND } else { 3 * SECOND };
            assert_eq!(begun.elapsed(), expected, "{mark}");
            assert_eq!(store.unique_ids(&mrose()), ["id"]);
        }
    });
}
