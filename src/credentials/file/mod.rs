//! The credential file as a store: a table in memory that follows the file.

pub mod edit;
mod parse;
mod source;
mod table;

use std::fmt;
use std::hash::RandomState;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

use self::source::{Source, Stamp};
pub use self::table::{Faults, Finding, Report, Table};
use super::{CredentialStore, Decoy, Lookup, Offers, OpenError, StoreError, decoy};
use crate::config::FileSection;
use crate::password::{NewPassword, Verifier, WeakSchemes};
use crate::protocol::{Secret, Username};
use crate::threads::{self, Pool, PoolError};

/// The users of a credential file, which may be edited or replaced at any time.
///
/// - Each look-up asks the file system whether the file has changed, and waits for the new table
///   if so; look-ups that come meanwhile wait for the same one.
/// - The new file counts as a whole or not at all. When it is missing, unreadable, faulty or not yet
///   written to its end, the old table stays in force.
/// - An empty file in the place of one with users is faulty. A file with a comment alone is not: it
///   removes all users.
/// - A file whose last line has no line end, or that has fewer users after an edit in place, may
///   be half-written: it counts when it has not changed for a few seconds.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    /// Whether hashes are rewritten. Held while one is.
    rehashing: Arc<Mutex<bool>>,
}

/// A credential file that cannot be used.
#[derive(Debug)]
pub struct BadFile {
    path: PathBuf,
    faults: Faults,
}

/// A credential file was not read, as its threads are busy.
#[derive(Debug, thiserror::Error)]
#[error("{label} was not read: {why}")]
struct NotRead {
    label: String,
    why: PoolError,
}

/// What is to be said about a credential file, for `restante check`. Shows nothing secret.
pub fn inspect(path: &Path, weak: WeakSchemes) -> Report {
    match Source::read(path) {
        Ok(source) => examine(&source, weak, &RandomState::new()).1,
        Err(what) => Report { errors: vec![Finding::whole_file(what)], ..Report::default() },
    }
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    weak: WeakSchemes,
    /// What decoys are chosen by.
    key: RandomState,
    now: RwLock<Snapshot>,
    /// Held while the file is read again.
    reading: Arc<Mutex<()>>,
}

/// The table in force, and the state of the file when it was last looked into.
#[derive(Clone, Debug)]
struct Snapshot {
    table: Arc<Table>,
    /// The file that the table is from.
    loaded: Stamp,
    /// The last state of the file, whether a table came of it or not.
    seen: Result<Stamp, io::ErrorKind>,
    /// When that state was first met.
    since: Instant,
    /// When it was last read.
    read: Instant,
    /// Whether any further change is sure to give another stamp.
    settled: bool,
    /// Why no table came of it, as it was logged.
    complaint: Option<String>,
    /// Whether the file that the table is from is empty.
    blank: bool,
}

impl FileStore {
    /// Loads a credential file, and logs what is to be said about it.
    ///
    /// Blocks: for the start of the program.
    ///
    /// # Errors
    /// [`BadFile`] with all its faults.
    pub fn open(section: &FileSection, weak: WeakSchemes) -> Result<Self, BadFile> {
        let FileSection { path, rehash } = section.clone();
        let bad = |faults| BadFile { path: path.clone(), faults };
        let key = decoy::key();
        let read = Instant::now();
        let source =
            Source::read(&path).map_err(|what| bad(Faults(vec![Finding::whole_file(what)])))?;
        let (table, report) = examine(&source, weak, &key);
        let table = table.ok_or_else(|| bad(Faults(report.errors.clone())))?;
        tell(&path, &report);
        let now = Snapshot {
            table: Arc::new(table),
            loaded: source.stamp,
            seen: Ok(source.stamp),
            since: read,
            read,
            settled: source.stamp.settled(read.elapsed()),
            complaint: None,
            blank: source.is_blank(),
        };
        let now = RwLock::new(now);
        let shared = Shared { path, weak, key, now, reading: Arc::default() };
        Ok(Self { shared: Arc::new(shared), rehashing: Arc::new(Mutex::new(rehash)) })
    }

    /// Refuses to replace a store for the same file that had users, when the file is empty.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn succeed(&self, old: &Self) -> Result<(), BadFile> {
        let (new, old) = (&self.shared, &old.shared);
        if new.path == old.path && new.snapshot().blank && old.snapshot().table.len() > 0 {
            let faults = Faults(vec![Finding::whole_file(EMPTIED)]);
            return Err(BadFile { path: new.path.clone(), faults });
        }
        Ok(())
    }

    /// The table of the file as it is now.
    ///
    /// # Errors
    /// When there was no thread to look at the file.
    async fn table(&self) -> Result<Arc<Table>, PoolError> {
        if let Some(table) = self.shared.unchanged() {
            return Ok(table);
        }
        let asked = Instant::now();
        if let Some(table) = self.shared.clone().fresh(asked).await? {
            return Ok(table);
        }
        let turn = Arc::clone(&self.shared.reading).lock_owned().await;
        // Another look-up may have read the file while this one waited.
        if let Some(table) = self.shared.clone().fresh(asked).await? {
            return Ok(table);
        }
        let (shared, threads) = (Arc::clone(&self.shared), self.shared.threads());
        let begun = Instant::now();
        let read = threads.run(move || {
            // Held to the end of the reading, even if the look-up is given up.
            let _turn = turn;
            shared.reload(begun);
            shared.snapshot().table
        });
        read.await
    }
}

impl CredentialStore for FileStore {
    fn label(&self) -> String {
        format!("file {}", self.shared.path.display())
    }

    async fn look_up(&self, name: &Username) -> Lookup {
        match self.table().await {
            Ok(table) => table.find(name),
            Err(why) => Lookup::Unavailable(NotRead { label: self.label(), why }.into()),
        }
    }

    fn decoy(&self, name: &Username) -> Option<Decoy> {
        self.shared.snapshot().table.decoy(name)
    }

    /// Rewrites the hash as argon2id, if it is weaker and the options say so. What comes of it is
    /// logged.
    ///
    /// - It costs one more verification of the old hash and one of argon2id. One user at a time:
    ///   the hash of one who logs in meanwhile is rewritten at the next login.
    /// - After a failure none is rewritten any more, until the store is opened again.
    async fn strengthen(&self, name: &Username, verifier: &Verifier, password: &Secret<Vec<u8>>) {
        if !verifier.outdated_by(password.expose()) {
            return;
        }
        let Ok(mut rehashing) = Arc::clone(&self.rehashing).try_lock_owned() else { return };
        let password = NewPassword::try_from(Secret::new(password.expose().clone()));
        let (true, Ok(password)) = (*rehashing, password) else { return };
        let (shared, user) = (Arc::clone(&self.shared), name.clone());
        let threads = self.shared.threads();
        let rewritten = threads.run(move || {
            let rewritten = edit::rehash(&shared.path, &user, &password, shared.weak);
            *rehashing = rewritten.is_ok();
            rewritten
        });
        let file = self.shared.path.display();
        match rewritten.await {
            Ok(Ok(true)) => info!(%file, user = %name, "the hash of a password is now argon2id"),
            // Changed meanwhile.
            Ok(Ok(false)) => {}
            Ok(Err(why)) => warn!(
                user = %name, %why,
                "a weak hash was not rewritten, and none will be until the next start or reload"
            ),
            Err(stopped) => warn!(%file, user = %name, %stopped, "a hash was not rewritten"),
        }
    }

    fn offers(&self) -> Offers {
        self.shared.snapshot().table.offers()
    }

    async fn probe(&self) -> Result<String, StoreError> {
        Ok(format!("{} users", self.table().await?.len()))
    }
}

impl Shared {
    /// The table, if it is that of the file as it is now, and that can be told without waiting.
    fn unchanged(&self) -> Option<Arc<Table>> {
        let Snapshot { table, seen, settled, .. } = self.snapshot();
        let last = seen.ok().filter(|_| settled)?;
        (Stamp::at_once(&self.path) == Some(last)).then_some(table)
    }

    /// The table, if it is that of the file as it is now, or was read after `asked`.
    async fn fresh(self: Arc<Self>, asked: Instant) -> Result<Option<Arc<Table>>, PoolError> {
        let threads = self.threads();
        let look = move || {
            let seen = Stamp::at(&self.path);
            let now = self.snapshot();
            (now.read > asked || (now.settled && now.seen == seen)).then_some(now.table)
        };
        threads.run(look).await
    }

    /// The threads for the file system of the file.
    fn threads(&self) -> Arc<Pool> {
        threads::files().of(&self.path)
    }

    /// Reads the file again, at the time `read` or later, and puts the new table in force, if it is
    /// to be trusted.
    fn reload(&self, read: Instant) {
        let old = self.snapshot();
        let seen = Stamp::at(&self.path);
        let changed = seen != old.seen;
        let since = if changed { read } else { old.since };
        let outcome = Source::read(&self.path).and_then(|source| {
            let (table, report) = examine(&source, self.weak, &self.key);
            let table = table.ok_or_else(|| Faults(report.errors.clone()).to_string())?;
            if source.is_blank() && old.table.len() > 0 {
                return Err(EMPTIED.to_owned());
            }
            Ok((source, table, report))
        });
        let settled = match seen {
            Ok(stamp) => stamp.settled(read.duration_since(since)),
            Err(_) => true,
        };
        let mut new = Snapshot { seen, since, read, settled, ..old.clone() };
        match outcome {
            Ok((source, table, report)) => {
                // It changed between the look at its stamp and the reading: look again next time.
                new.settled = settled && seen == Ok(source.stamp);
                new.complaint = None;
                if new.settled || !unfinished(&source, &table, &old) {
                    if source.stamp != old.loaded {
                        info!(
                            file = %self.path.display(),
                            users = table.len(),
                            "the credential file has changed and was read again"
                        );
                        tell(&self.path, &report);
                    }
                    new.loaded = source.stamp;
                    new.blank = source.is_blank();
                    new.table = Arc::new(table);
                }
            }
            Err(why) => {
                if changed || old.complaint.as_ref() != Some(&why) {
                    error!(
                        file = %self.path.display(),
                        why,
                        "the credential file is not usable; the users stay as they were"
                    );
                }
                new.complaint = Some(why);
            }
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn snapshot(&self) -> Snapshot {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const EMPTIED: &str = "has nothing in it any more; put the users back, or a comment if nobody is to \
                       log in";

/// Whether a file that has only just changed may be one that is still being written: a user who
/// is missing for a moment would be told that the password is wrong.
fn unfinished(source: &Source, table: &Table, old: &Snapshot) -> bool {
    let in_place = source.stamp.same_file(old.loaded);
    source.looks_unfinished() || (in_place && table.len() < old.table.len())
}

fn examine(source: &Source, weak: WeakSchemes, key: &RandomState) -> (Option<Table>, Report) {
    let (table, mut report) = Table::read(&source.text, weak, key);
    if source.exposed {
        let what = "can be read by everybody; take that away with chmod o-r";
        report.warnings.push(Finding::whole_file(what));
    }
    if report.errors.is_empty() && report.users == 0 {
        let what = "has no users; add one with restante user add";
        report.warnings.push(Finding::whole_file(what));
    }
    (table, report)
}

fn tell(path: &Path, report: &Report) {
    for warning in &report.warnings {
        warn!(file = %path.display(), "credential file: {warning}");
    }
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.faults)
    }
}

impl std::error::Error for BadFile {}

impl From<BadFile> for OpenError {
    fn from(bad: BadFile) -> Self {
        Self::at("path")(bad)
    }
}

#[cfg(test)]
mod tests;
