//! A scenario in a directory of its own: one run after the other, each judged.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::dialogue::{World, converse, world};
use super::record::{Exchange, Record};
use super::scenario::{Contents, Deed, Index, Scenario, files};
use super::verdict::{Circumstances, Original, Originals, Outcome, Reader, survivors};
use crate::login::Identity;
use crate::mailbox::maildir::{Fault, Hit, Plan};
use crate::mailbox::{Cancellation, Mailbox, Maildrop, Message, OpenError, Position};
use crate::session::End;

/// The files of a scenario, and a server for them.
pub(super) struct Stage {
    scenario: &'static Scenario,
    directory: PathBuf,
    runtime: Runtime,
    world: World,
    /// The messages, once there has been a session in peace.
    originals: Originals,
    unwanted: Vec<String>,
}

impl Stage {
    pub(super) fn new(scenario: &'static Scenario, directory: &Path) -> Self {
        let world = world(&directory.join("Maildir"), &directory.join("users"));
        let runtime = Builder::new_current_thread().enable_time().max_blocking_threads(4).build();
        let mut stage = Self {
            scenario,
            directory: directory.to_owned(),
            runtime: runtime.unwrap(),
            world,
            originals: Originals::new(),
            unwanted: Vec::new(),
        };
        if !stage.maildir().exists() {
            stage.scenario.build(&stage.maildir());
            stage.meet();
        }
        stage
    }

    pub(super) fn maildir(&self) -> PathBuf {
        self.directory.join("Maildir")
    }

    pub(super) fn unwanted(&self) -> &[String] {
        &self.unwanted
    }

    /// Finds out what the unique-ids of the messages are.
    fn meet(&mut self) {
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
        self.unwanted = match self.scenario.deed {
            Deed::Move => self.originals.keys().cloned().collect(),
            Deed::Poll | Deed::Fetch | Deed::Delete | Deed::Leave => {
                self.originals.keys().enumerate().filter_map(every_other).collect()
            }
        };
    }

    /// Makes the Maildir as it is before each run.
    pub(super) fn set(&mut self) {
        self.scenario.build(&self.maildir());
        let delivered = self.directory.join("delivered");
        drop(fs::remove_dir_all(&delivered));
        fs::create_dir(delivered).unwrap();
        if self.scenario.contents == Contents::Namesakes {
            // Their unique-ids depend on their inodes.
            self.meet();
        } else if self.scenario.index != Index::None {
            self.listing().unwrap();
        }
        self.scenario.spoil_index(&self.maildir());
    }

    /// Has a session in which nothing goes wrong.
    pub(super) fn rehearse(&self) {
        self.perform(Plan::default(), &self.unwanted, &Record::in_memory());
        assert_eq!(self.come_to_rest(usize::MAX), Vec::<String>::new());
        assert_eq!(Plan::disarm(), Vec::new());
    }

    /// Has a session with a plan, and judges it.
    pub(super) fn run(&self, plan: Plan, log: &Log) -> (Vec<Hit>, Vec<String>) {
        log.take();
        let fault = plan.fault;
        let descriptors = descriptors();
        let record = Record::in_memory();
        let end = self.perform(plan, &self.unwanted, &record);
        let mut problems = self.come_to_rest(descriptors);
        let hits = Plan::disarm();
        let circumstances = Circumstances {
            body_failed: matches!(end, End::BodyFailed(_)),
            killed: false,
            closed_messages: fault == Some(Fault::Error(rustix::io::Errno::ACCESS))
                && hits.iter().any(is_message_opened),
        };
        let text = log.take();
        let (outcome, found) = self.judge(&record.exchanges(), circumstances);
        problems.extend(found);
        let lines = ["ERROR", " WARN", "is gone"];
        if outcome.refused && !lines.iter().any(|line| text.contains(line)) {
            problems.push("I6: the log does not say why the client was refused".to_owned());
        }
        (hits, problems)
    }

    /// Has a session with a plan.
    pub(super) fn perform(&self, plan: Plan, unwanted: &[String], record: &Record) -> End {
        let other = self.scenario.other(&self.maildir());
        let file_system = Some(self.scenario.file_system.kind());
        Plan { other, file_system, ..plan }.arm();
        self.runtime.block_on(converse(&self.world, self.scenario.deed, unwanted, record))
    }

    /// Judges what was said, what is there, and a session in peace afterwards.
    pub(super) fn judge(
        &self,
        exchanges: &[Exchange],
        circumstances: Circumstances,
    ) -> (Outcome, Vec<String>) {
        let (outcome, mut problems) = Reader::read(&self.originals, circumstances, exchanges);
        let (there, found) = survivors(&self.maildir(), &self.originals, &outcome);
        problems.extend(found);
        match self.listing() {
            Err(why) => problems.push(why),
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

    /// Unique-ids and messages, as a session in peace gets them.
    fn listing(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let read = self.runtime.block_on(async {
            // An attempt that has given the lock back may not have ended altogether.
            let wait = self.world.policy.lock_wait;
            let identity = Identity::for_test("mrose");
            let maildrop = self
                .world
                .mailbox
                .open_within(&identity, &Cancellation::default(), wait, || {})
                .await;
            let maildrop = match maildrop {
                Ok(maildrop) => maildrop,
                Err(OpenError::InUse { .. }) => return Err("I5: the lock is held".to_owned()),
                Err(error) => return Err(format!("I2: no login afterwards: {error:?}")),
            };
            let mut messages = Vec::new();
            for at in (0..maildrop.count()).map(Position) {
                let unique_id = maildrop.unique_id(at).as_str().to_owned();
                let mut message =
                    maildrop.message(at).await.map_err(|error| format!("{error:?}"))?;
                let mut bytes = Vec::new();
                loop {
                    match message.chunk().await.map_err(|error| format!("{error:?}"))? {
                        [] => break,
                        chunk => bytes.extend_from_slice(chunk),
                    }
                }
                let sent = super::verdict::sent(&bytes);
                if sent.len() as u64 != maildrop.octets(at) {
                    return Err(format!("I3: wrong octets of {unique_id} are listed"));
                }
                messages.push((unique_id, sent));
            }
            Ok(messages)
        });
        let problems = self.come_to_rest(usize::MAX);
        match problems.into_iter().next() {
            Some(problem) => Err(problem),
            None => read,
        }
    }

    /// Waits until nothing is at work any more; says what does not end.
    pub(super) fn come_to_rest(&self, descriptors_before: usize) -> Vec<String> {
        for _ in 0..PATIENCE {
            self.runtime.block_on(tokio::task::yield_now());
            let idle = self.world.removals.is_empty() && is_free(&self.maildir());
            if idle && descriptors() <= descriptors_before {
                return Vec::new();
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        let mut problems = Vec::new();
        if !is_free(&self.maildir()) {
            problems.push("I5: the lock is held".to_owned());
        }
        if !self.world.removals.is_empty() {
            problems.push("I4: a removal does not end".to_owned());
        }
        if descriptors() > descriptors_before {
            problems.push(format!("I4: {} descriptors, not {descriptors_before}", descriptors()));
        }
        problems
    }
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

/// What is logged.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects what the whole process logs.
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

/// Milliseconds until what does not end is taken to be stuck.
const PATIENCE: u32 = 10_000;
