//! The directory of a scenario. Runs its sessions there, and checks the invariants after each.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::client::{TestEnv, run_session, test_env};
use super::invariants::{Circumstances, Original, Originals, Outcome, ReplyChecker, check_files};
use super::record::{Exchange, Record};
use super::scenario::{Action, Contents, Index, Scenario, files};
use crate::login::Identity;
use crate::mailbox::maildir::{Fault, Hit, Plan};
use crate::mailbox::{Mailbox, Maildrop, Message, MessageError, OpenError, Position};
use crate::session::End;

/// The files of a scenario, and a server for them.
pub(super) struct Fixture {
    scenario: &'static Scenario,
    directory: PathBuf,
    runtime: Runtime,
    env: TestEnv,
    /// The messages, as a session without a fault has read them.
    originals: Originals,
    to_delete: Vec<String>,
}

impl Fixture {
    pub(super) fn new(scenario: &'static Scenario, directory: &Path) -> Self {
        let env = test_env(&directory.join("Maildir"), &directory.join("users"), scenario.server);
        let runtime = Builder::new_current_thread().enable_time().max_blocking_threads(4).build();
        let mut fixture = Self {
            scenario,
            directory: directory.to_owned(),
            runtime: runtime.unwrap(),
            env,
            originals: Originals::new(),
            to_delete: Vec::new(),
        };
        if !fixture.maildir().exists() {
            fixture.scenario.build(&fixture.maildir());
            fixture.learn_unique_ids();
        }
        fixture
    }

    pub(super) fn maildir(&self) -> PathBuf {
        self.directory.join("Maildir")
    }

    pub(super) fn to_delete(&self) -> &[String] {
        &self.to_delete
    }

    /// Finds out the unique-ids of the messages.
    fn learn_unique_ids(&mut self) {
        self.originals.clear();
        let mut files = files(&self.maildir())
            .iter()
            .map(|path| fs::read(path).unwrap())
            .map(Original::new)
            .collect::<Vec<_>>();
        for (unique_id, sent) in self.listing().unwrap() {
            let at = files.iter().position(|file| file.sent == sent).unwrap();
            self.originals.insert(unique_id, files.swap_remove(at));
        }
        assert!(files.is_empty());
        let every_other = |(at, id): (usize, &String)| at.is_multiple_of(2).then(|| id.clone());
        self.to_delete = match self.scenario.action {
            Action::Move => self.originals.keys().cloned().collect(),
            Action::Poll | Action::Fetch | Action::Delete | Action::Disconnect => {
                self.originals.keys().enumerate().filter_map(every_other).collect()
            }
        };
    }

    /// Creates the Maildir afresh before a run.
    pub(super) fn reset(&mut self) {
        self.scenario.build(&self.maildir());
        let delivered = self.directory.join("delivered");
        drop(fs::remove_dir_all(&delivered));
        fs::create_dir(delivered).unwrap();
        if self.scenario.contents == Contents::Namesakes {
            // Their unique-ids depend on their inodes.
            self.learn_unique_ids();
        } else if self.scenario.index != Index::None {
            self.listing().unwrap();
            self.scenario.deliver_new_mail(&self.maildir());
        }
        self.scenario.damage_index(&self.maildir());
    }

    /// Runs a session without a fault.
    pub(super) fn warm_up(&self) {
        self.perform(Plan::default(), &self.to_delete, &Record::in_memory());
        assert_eq!(self.wait_until_idle(usize::MAX), []);
        assert_eq!(Plan::disarm(), Vec::new());
    }

    /// Runs a session with a plan, and checks the invariants.
    pub(super) fn run(&self, plan: Plan, log: &Log) -> (Vec<Hit>, Vec<String>) {
        log.take();
        let fault = plan.fault;
        let descriptors = descriptors();
        let record = Record::in_memory();
        let end = self.perform(plan, &self.to_delete, &record);
        let leaks = self.wait_until_idle(descriptors);
        let mut problems = leaks.iter().map(Leak::to_string).collect::<Vec<_>>();
        let hits = Plan::disarm();
        let circumstances = Circumstances {
            body_failed: matches!(end, End::BodyFailed(_)),
            killed: false,
            unreadable_messages: fault == Some(Fault::Error(rustix::io::Errno::ACCESS))
                && hits.iter().any(is_message_opened),
        };
        let text = log.take();
        let (outcome, found) = self.check(&record.exchanges(), circumstances);
        problems.extend(found);
        let lines = ["ERROR", " WARN", "is gone"];
        if outcome.refused && !lines.iter().any(|line| text.contains(line)) {
            problems.push("I6: the log does not say why the client was refused".to_owned());
        }
        (hits, problems)
    }

    /// Runs a session with a plan.
    pub(super) fn perform(&self, plan: Plan, to_delete: &[String], record: &Record) -> End {
        let other = self.scenario.other(&self.maildir());
        let file_system = Some(self.scenario.file_system.kind());
        Plan { other, file_system, ..plan }.arm();
        self.runtime.block_on(run_session(&self.env, self.scenario.action, to_delete, record))
    }

    /// Checks the replies, the files, and a session without a fault afterwards.
    pub(super) fn check(
        &self,
        exchanges: &[Exchange],
        circumstances: Circumstances,
    ) -> (Outcome, Vec<String>) {
        let (outcome, mut problems) =
            ReplyChecker::check(&self.originals, circumstances, exchanges);
        let (there, found) = check_files(&self.maildir(), &self.originals, &outcome);
        problems.extend(found);
        match self.listing() {
            Err(error) => problems.push(error.to_string()),
            Ok(listing) => {
                let listed = listing.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>();
                if listed != there {
                    problems.push(format!("I2: {there:?} are there, {listed:?} are listed"));
                }
                for (unique_id, sent) in &listing {
                    if self.originals.get(unique_id).is_some_and(|original| original.sent != *sent)
                    {
                        problems.push(format!("I2: {unique_id} is another message"));
                    }
                }
            }
        }
        (outcome, problems)
    }

    /// Unique-ids and messages, as a session without a fault reads them.
    fn listing(&self) -> Result<Vec<(String, Vec<u8>)>, ListingError> {
        let read = self.runtime.block_on(self.read_messages());
        match self.wait_until_idle(usize::MAX).pop() {
            Some(leak) => Err(leak.into()),
            None => read,
        }
    }

    async fn read_messages(&self) -> Result<Vec<(String, Vec<u8>)>, ListingError> {
        // An attempt that has released the lock may not have ended yet.
        let wait = self.env.policy.lock_wait;
        let (identity, cancellation) = (Identity::for_test("mrose"), CancellationToken::default());
        let opening = self.env.mailbox.open_within(&identity, &cancellation, wait, || {});
        let maildrop = opening.await.map_err(|error| match error {
            OpenError::InUse { .. } => Leak::Lock.into(),
            error @ (OpenError::Unavailable(_) | OpenError::Guarded(_)) => {
                ListingError::Login(error)
            }
        })?;
        let mut messages = Vec::new();
        for at in (0..maildrop.count()).map(Position) {
            let unique_id = maildrop.unique_id(at).as_str().to_owned();
            let mut message = maildrop.message(at).await?;
            let mut stored = Vec::new();
            loop {
                match message.chunk().await? {
                    [] => break,
                    chunk => stored.extend_from_slice(chunk),
                }
            }
            let sent = super::invariants::sent(&stored);
            if sent.len() as u64 != maildrop.octets(at) {
                return Err(ListingError::WrongOctets(unique_id));
            }
            messages.push((unique_id, sent));
        }
        Ok(messages)
    }

    /// Waits until the session has released all that it used. Returns what it still holds in the
    /// end.
    pub(super) fn wait_until_idle(&self, descriptors_before: usize) -> Vec<Leak> {
        let mut leaks = Vec::new();
        for _ in 0..IDLE_TIMEOUT_MS {
            self.runtime.block_on(tokio::task::yield_now());
            leaks = self.leaks(descriptors_before);
            if leaks.is_empty() {
                break;
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        leaks
    }

    fn leaks(&self, descriptors_before: usize) -> Vec<Leak> {
        let mut leaks = Vec::new();
        if !is_free(&self.maildir()) {
            leaks.push(Leak::Lock);
        }
        if !self.env.removals.is_empty() {
            leaks.push(Leak::Removal);
        }
        let descriptors = descriptors();
        if descriptors > descriptors_before {
            leaks.push(Leak::Descriptors { before: descriptors_before, after: descriptors });
        }
        leaks
    }
}

/// What a session still holds after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Leak {
    #[error("I5: the lock is held")]
    Lock,
    #[error("I4: a removal does not end")]
    Removal,
    #[error("I4: {after} descriptors, not {before}")]
    Descriptors { before: usize, after: usize },
}

/// Why a session without a fault could not read the messages.
#[derive(Debug, thiserror::Error)]
enum ListingError {
    #[error(transparent)]
    Leak(#[from] Leak),
    #[error("I2: no login afterwards: {0}")]
    Login(#[source] OpenError),
    #[error("I1: a message cannot be opened afterwards: {0}")]
    Message(#[from] MessageError),
    #[error("I1: a message cannot be read afterwards: {0}")]
    Read(#[from] io::Error),
    #[error("I3: wrong octets of {0} are listed")]
    WrongOctets(String),
}

fn is_message_opened(hit: &Hit) -> bool {
    hit.call.starts_with("openat") && hit.file.starts_with(|c: char| c.is_ascii_digit())
}

fn is_free(maildir: &Path) -> bool {
    let lock = |path: &Path| match File::open(path) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    lock(&maildir.join("restante.lock")) && lock(maildir)
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The log.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects the log of the whole process.
    pub(super) fn of_process() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Milliseconds until work that does not end is taken to be stuck.
const IDLE_TIMEOUT_MS: u32 = 10_000;
