//! Writes the last logins to their file, and to the stores that are to have them: once a minute those
//! of all users together, and once more at the stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Shared, lacks_directory};
use crate::config;
use crate::credentials::{CredentialStore, StoreError};
use crate::last_login::{FileError, LoginFile, Logins};
use crate::protocol::Username;
use crate::threads;

/// Writes the logins of a server.
pub(super) struct LoginRecorder<M, C> {
    shared: Arc<Shared<M, C>>,
    file: Option<Arc<RecordedFile>>,
    /// Cancelled when only the last write is left.
    end: CancellationToken,
    /// Why the stores could not be written the last time, by their labels, as it was logged.
    logged: Mutex<BTreeMap<String, String>>,
}

/// The file.
struct RecordedFile {
    path: PathBuf,
    /// `None` where nothing is configured and there is no directory for it.
    recording: Mutex<Option<Recording>>,
}

struct Recording {
    file: LoginFile,
    /// Whether a write has been tried.
    is_begun: bool,
    /// Why it could not be written the last time, as it was logged.
    logged: Option<String>,
}

impl<M, C: CredentialStore> LoginRecorder<M, C> {
    /// A recorder for the file of the configuration, which the first write begins.
    pub(super) fn new(config: &config::LastLogins, shared: &Arc<Shared<M, C>>) -> Self {
        let file = config.enabled.then(|| Arc::new(RecordedFile::new(config.path.clone())));
        Self {
            shared: Arc::clone(shared),
            file,
            end: CancellationToken::new(),
            logged: Mutex::default(),
        }
    }

    /// Writes regularly, until [`finish`](Self::finish).
    pub(super) async fn keep_writing(self: Arc<Self>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.end.run_until_cancelled(ticks.tick()).await.is_some() {
            self.write().await;
        }
    }

    /// Lets `writing` end, and writes for the last time. Does not wait long for what does not answer.
    pub(super) async fn finish(&self, writing: JoinHandle<()>) {
        self.end.cancel();
        let last = async {
            // A write that has begun has taken its logins.
            drop(writing.await);
            self.write().await;
        };
        if timeout(LAST_WRITE, last).await.is_err() {
            warn!("the last logins of this minute are not written");
        }
    }

    async fn write(&self) {
        let logins = self.shared.last_logins.take();
        let mut users: Vec<Username> = logins.keys().cloned().collect();
        // Transactions that lock rows in the same order do not wait for each other in a circle.
        users.sort_unstable();
        tokio::join!(self.write_to_file(logins), self.write_to_stores(&users));
    }

    async fn write_to_file(&self, logins: Logins) {
        let Some(recorded) = self.file.clone() else { return };
        let pool = threads::files().of(&recorded.path);
        if let Err(error) = pool.run(move || recorded.add(logins)).await {
            warn!("the last logins of this minute are not written: {error}");
        }
    }

    async fn write_to_stores(&self, users: &[Username]) {
        if users.is_empty() {
            return;
        }
        let reloadable = self.shared.current();
        for store in reloadable.env.authenticator.stores() {
            let outcome = store.record_logins(users).await;
            self.log(store.label(), outcome);
        }
    }

    /// Logs that a store could not be written, unless it is the same as before.
    fn log(&self, store: String, outcome: Result<(), StoreError>) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(why) = outcome.map_err(|why| why.to_string()) else {
            logged.remove(&store);
            return;
        };
        if logged.get(&store) != Some(&why) {
            warn!(store, why, "last logins are not written to the store");
            logged.insert(store, why);
        }
    }
}

impl RecordedFile {
    fn new(path: PathBuf) -> Self {
        let file = LoginFile::new(path.clone());
        let recording = Recording { file, is_begun: false, logged: None };
        Self { path, recording: Mutex::new(Some(recording)) }
    }

    fn add(&self, logins: Logins) {
        let mut guard = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(recording) = &mut *guard else { return };
        let outcome = recording.file.add(logins);
        if let Err(error) = &outcome
            && !recording.is_begun
            && self.path == Path::new(config::LastLogins::PATH)
            && is_usual(error)
        {
            debug!("last logins are not recorded: {error}");
            *guard = None;
            return;
        }
        recording.is_begun = true;
        recording.log(outcome);
    }
}

impl Recording {
    /// Logs a failure, unless it is the same as before.
    fn log(&mut self, outcome: Result<(), FileError>) {
        let why = outcome.err().map(|error| error.to_string());
        if let Some(why) = &why
            && self.logged.as_ref() != Some(why)
        {
            warn!("last logins are not recorded: {why}");
        }
        self.logged = why;
    }
}

fn is_usual(error: &FileError) -> bool {
    match error {
        FileError::System { error, .. } => lacks_directory(error),
        FileError::Foreign(_) => false,
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
const LAST_WRITE: Duration = Duration::from_secs(5);
