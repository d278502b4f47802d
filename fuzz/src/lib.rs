//! Shared by the targets for whole sessions: the environment of a session, and its clock.

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
use restante::session::{End, Env, Policy, Security, Summary};
use restante::threads::at_work;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

pub use self::session::{MESSAGES, count_replies};

#[path = "../../tests/it/support/session.rs"]
mod session;

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

/// Runs a session whose client sends `input`, in pieces of at most `piece` octets, and then closes
/// its side. Returns what the client received, and how the session ended.
pub fn converse<M: Mailbox>(
    mailbox: M,
    input: &[u8],
    piece: usize,
    security: Security,
    clock: Clock,
) -> (Vec<u8>, End, Summary) {
    clock.block_on(session::converse(&env(mailbox), security, input, piece))
}

/// The clock of a session.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// It advances when all tasks wait, so delays take no time. Not for stores whose threads still
    /// work after the end of a session.
    Paused,
    /// The real clock.
    Real,
}

impl Clock {
    /// Runs a future to its end.
    pub fn block_on<F: Future>(self, future: F) -> F::Output {
        self.runtime().block_on(future)
    }

    fn runtime(self) -> &'static Runtime {
        static PAUSED: LazyLock<Runtime> = LazyLock::new(|| {
            let mut builder = Builder::new_current_thread();
            // Users are looked up on other threads.
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
