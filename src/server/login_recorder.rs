//! Writes the last logins: once a minute those of all users together, and once more at the stop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use crate::config;
use crate::last_login::{FileError, LastLogins, LoginFile, Logins};
use crate::threads;

/// Writes the logins of a server.
pub(super) struct LoginRecorder {
    logins: Arc<LastLogins>,
    file: Option<Arc<RecordedFile>>,
}

/// The file, if there is one.
struct RecordedFile {
    path: PathBuf,
    file: Mutex<LoginFile>,
    /// Why it could not be written the last time, as it was logged.
    logged: Mutex<Option<String>>,
}

impl LoginRecorder {
    /// Begins the file of the configuration.
    pub(super) fn new(config: &config::LastLogins, logins: &Arc<LastLogins>) -> Self {
        let file = config.enabled.then(|| RecordedFile::begin(&config.path)).flatten();
        Self { logins: Arc::clone(logins), file: file.map(Arc::new) }
    }

    /// Writes regularly. The future never ends.
    pub(super) async fn keep_writing(self: Arc<Self>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.write().await;
        }
    }

    /// Writes for the last time. Does not wait long for a file system that does not answer.
    pub(super) async fn finish(&self) {
        if timeout(LAST_WRITE, self.write()).await.is_err() {
            warn!("the last logins of this minute are not written");
        }
    }

    async fn write(&self) {
        let logins = self.logins.take();
        let Some(recorded) = self.file.clone() else { return };
        let pool = threads::files().of(&recorded.path);
        if let Err(error) = pool.run(move || recorded.add(logins)).await {
            warn!("the last logins of this minute are not written: {error}");
        }
    }
}

impl RecordedFile {
    /// `None` where nothing is configured and there is no directory for it.
    fn begin(path: &Path) -> Option<Self> {
        let mut file = LoginFile::new(path.to_owned());
        let begun = file.add(Logins::new());
        if let Err(error) = &begun
            && path == Path::new(config::LastLogins::PATH)
            && is_usual(error)
        {
            debug!("last logins are not recorded: {error}");
            return None;
        }
        let recorded =
            Self { path: path.to_owned(), file: Mutex::new(file), logged: Mutex::default() };
        recorded.log(begun);
        Some(recorded)
    }

    fn add(&self, logins: Logins) {
        let added = self.file.lock().unwrap_or_else(PoisonError::into_inner).add(logins);
        self.log(added);
    }

    /// Logs a failure, unless it is the same as before.
    fn log(&self, outcome: Result<(), FileError>) {
        let why = outcome.err().map(|error| error.to_string());
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &why
            && logged.as_ref() != Some(why)
        {
            warn!("last logins are not recorded: {why}");
        }
        *logged = why;
    }
}

/// Whether the directory does not exist, or belongs to another user.
fn is_usual(error: &FileError) -> bool {
    match error {
        FileError::System { error, .. } => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        }
        FileError::Foreign(_) => false,
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
const LAST_WRITE: Duration = Duration::from_secs(5);
