//! The credential file as a store: a table in memory that follows the file.
//!
//! - `source`: the file on disk. `parse`: its lines. `table`: its users. `diagnostic`: what is wrong
//!   with it.
//! - `edit`: changes to it.

use std::hash::RandomState;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

use self::diagnostic::FileProblem;
pub use self::diagnostic::{Diagnostic, Diagnostics, Report};
use self::source::Source;
pub use self::table::Table;
use super::{CredentialStore, Decoy, Lookup, Offers, OpenError, StoreError, decoy};
use crate::config::FileSection;
use crate::password::{NewPassword, Verifier, WeakSchemes};
use crate::protocol::{Secret, Username};
use crate::threads::{self, FileStamp, Pool, PoolError};

mod diagnostic;
pub mod edit;
mod parse;
mod source;
mod table;

/// The users of a credential file, which may be edited or replaced at any time.
///
/// - Each look-up asks the file system whether the file has changed. If so it waits for the new
///   table, together with the look-ups that come meanwhile.
/// - The new file is used as a whole or not at all. When it is missing, unreadable, faulty or not yet
///   written to its end, the old table stays in use.
/// - An empty file in the place of one with users is faulty. A file that has only a comment is not:
///   it removes all users.
/// - A file whose last line has no line end, or that has fewer users after an edit in place, may
///   be half-written. It is used when it has not changed for a few seconds.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    /// Whether hashes are rewritten. Held while one is.
    rehashing: Arc<Mutex<bool>>,
}

/// A credential file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {errors}")]
pub struct BadFile {
    path: PathBuf,
    errors: Diagnostics,
}

/// A credential file was not read, as its threads are busy.
#[derive(Debug, thiserror::Error)]
#[error("{label} was not read: {why}")]
struct NotRead {
    label: String,
    why: PoolError,
}

/// Reads a credential file and reports all problems, for `restante check`.
pub fn inspect(path: &Path, weak: WeakSchemes) -> Report {
    match Source::read(path) {
        Ok(source) => examine(&source, weak, &RandomState::new()).1,
        Err(error) => {
            let Diagnostics(errors) = FileProblem::from(error).into();
            Report { errors, ..Report::default() }
        }
    }
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    weak: WeakSchemes,
    /// Chooses the decoys.
    key: RandomState,
    now: RwLock<Snapshot>,
    /// Held while the file is read again.
    reading: Arc<Mutex<()>>,
}

/// The table in use, and the state of the file when it was last read.
#[derive(Clone, Debug)]
struct Snapshot {
    table: Arc<Table>,
    /// The file that the table is from.
    loaded: FileStamp,
    /// The last state of the file, even if it was not usable.
    seen: Result<FileStamp, io::ErrorKind>,
    /// When that state was first seen.
    since: Instant,
    /// When the file was last read.
    read: Instant,
    /// Whether any further change is certain to give another stamp.
    settled: bool,
    /// Why the last state was not usable, as it was logged.
    logged: Option<String>,
    /// Whether the file that the table is from is empty.
    blank: bool,
}

impl FileStore {
    /// Loads a credential file and logs its warnings. Blocks.
    ///
    /// # Errors
    /// [`BadFile`] with all errors of the file.
    pub fn open(section: &FileSection, weak: WeakSchemes) -> Result<Self, BadFile> {
        let FileSection { path, rehash } = section.clone();
        let key = decoy::key();
        let read = Instant::now();
        let loaded = load(&path, weak, &key);
        let loaded = loaded.map_err(|errors| BadFile { path: path.clone(), errors })?;
        log(&path, &loaded.warnings);
        let stamp = loaded.source.stamp;
        let now = Snapshot {
            table: Arc::new(loaded.table),
            loaded: stamp,
            seen: Ok(stamp),
            since: read,
            read,
            settled: stamp.is_settled(read.elapsed()),
            logged: None,
            blank: loaded.source.is_blank(),
        };
        let now = RwLock::new(now);
        let shared = Shared { path, weak, key, now, reading: Arc::default() };
        Ok(Self { shared: Arc::new(shared), rehashing: Arc::new(Mutex::new(rehash)) })
    }

    /// Takes the place of a store in a reload.
    ///
    /// # Errors
    /// [`BadFile`] when the file is empty, and the old store had users from the same file.
    pub fn replace(&self, old: &Self) -> Result<(), BadFile> {
        let (new, old) = (&self.shared, &old.shared);
        if new.path == old.path && new.snapshot().blank && old.snapshot().table.len() > 0 {
            return Err(BadFile { path: new.path.clone(), errors: FileProblem::Emptied.into() });
        }
        Ok(())
    }

    /// The table of the file as it is now.
    ///
    /// # Errors
    /// [`PoolError`] when there was no thread to read the file.
    async fn table(&self) -> Result<Arc<Table>, PoolError> {
        if let Some(table) = self.shared.unchanged() {
            return Ok(table);
        }
        let asked = Instant::now();
        if let Some(table) = self.shared.clone().fresh(asked).await? {
            return Ok(table);
        }
        let lock = Arc::clone(&self.shared.reading).lock_owned().await;
        // Another look-up may have read the file while this one waited.
        if let Some(table) = self.shared.clone().fresh(asked).await? {
            return Ok(table);
        }
        let (shared, threads) = (Arc::clone(&self.shared), self.shared.threads());
        let begun = Instant::now();
        let read = threads.run(move || {
            // Held until the file is read, even if the look-up is given up.
            let _lock = lock;
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

    /// Rewrites the hash as argon2id, if it is weaker and the options say so, and logs the outcome.
    ///
    /// - The cost is one more verification of the old hash and one argon2id hash. One hash is
    ///   rewritten at a time: that of a user who logs in meanwhile is rewritten at the next login.
    /// - After a failure no hash is rewritten until the store is opened again.
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
            // The line has changed meanwhile.
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
    /// The table, if the file has not changed since. Does not block; `None` if that cannot be told
    /// at once.
    fn unchanged(&self) -> Option<Arc<Table>> {
        let Snapshot { table, seen, settled, .. } = self.snapshot();
        let last = seen.ok().filter(|_| settled)?;
        (FileStamp::at_once(&self.path) == Some(last)).then_some(table)
    }

    /// The table, if the file has not changed since, or was read after `asked`.
    async fn fresh(self: Arc<Self>, asked: Instant) -> Result<Option<Arc<Table>>, PoolError> {
        let threads = self.threads();
        let look = move || {
            let seen = self.stamp();
            let now = self.snapshot();
            (now.read > asked || (now.settled && now.seen == seen)).then_some(now.table)
        };
        threads.run(look).await
    }

    /// The threads for the file system of the file.
    fn threads(&self) -> Arc<Pool> {
        threads::files().of(&self.path)
    }

    /// The present state of the file.
    fn stamp(&self) -> Result<FileStamp, io::ErrorKind> {
        FileStamp::at(&self.path).map_err(|error| error.kind())
    }

    /// Reads the file again, at the time `read` or later, and puts the new table in use, if it can be
    /// trusted.
    fn reload(&self, read: Instant) {
        let old = self.snapshot();
        let seen = self.stamp();
        let changed = seen != old.seen;
        let since = if changed { read } else { old.since };
        let settled = seen.map_or(true, |stamp| stamp.is_settled(read.duration_since(since)));
        let mut new = Snapshot { seen, since, read, settled, ..old.clone() };
        match self.load_instead_of(&old.table) {
            Ok(loaded) => {
                // If the file has changed between the stamp and the reading, read it again next time.
                new.settled = settled && seen == Ok(loaded.source.stamp);
                new.logged = None;
                if new.settled || !loaded.is_unfinished(&old) {
                    self.take_over(&mut new, loaded);
                }
            }
            Err(errors) => {
                let why = errors.to_string();
                if changed || old.logged.as_ref() != Some(&why) {
                    error!(
                        file = %self.path.display(),
                        why,
                        "the credential file is not usable; the users stay as they were"
                    );
                }
                new.logged = Some(why);
            }
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn load_instead_of(&self, old: &Table) -> Result<Loaded, Diagnostics> {
        let loaded = load(&self.path, self.weak, &self.key)?;
        match loaded.source.is_blank() && old.len() > 0 {
            true => Err(FileProblem::Emptied.into()),
            false => Ok(loaded),
        }
    }

    fn take_over(&self, new: &mut Snapshot, Loaded { source, table, warnings }: Loaded) {
        if source.stamp != new.loaded {
            info!(
                file = %self.path.display(),
                users = table.len(),
                "the credential file has changed and was read again"
            );
            log(&self.path, &warnings);
        }
        new.loaded = source.stamp;
        new.blank = source.is_blank();
        new.table = Arc::new(table);
    }

    fn snapshot(&self) -> Snapshot {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A credential file without errors.
struct Loaded {
    source: Source,
    table: Table,
    warnings: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether a file that has just changed may still be being written: a user who is missing for a
    /// moment would be told that the password is wrong.
    fn is_unfinished(&self, old: &Snapshot) -> bool {
        let in_place = self.source.stamp.is_same_file(old.loaded);
        self.source.looks_unfinished() || (in_place && self.table.len() < old.table.len())
    }
}

fn load(path: &Path, weak: WeakSchemes, key: &RandomState) -> Result<Loaded, Diagnostics> {
    let source = Source::read(path).map_err(FileProblem::from)?;
    let (table, Report { errors, warnings, .. }) = examine(&source, weak, key);
    Ok(Loaded { source, table: table.ok_or(Diagnostics(errors))?, warnings })
}

fn examine(source: &Source, weak: WeakSchemes, key: &RandomState) -> (Option<Table>, Report) {
    let (table, mut report) = Table::read(&source.text, weak, key);
    if source.exposed {
        report.warnings.push(Diagnostic::File(FileProblem::Exposed));
    }
    if report.errors.is_empty() && report.users == 0 {
        report.warnings.push(Diagnostic::File(FileProblem::NoUsers));
    }
    (table, report)
}

fn log(path: &Path, warnings: &[Diagnostic]) {
    for warning in warnings {
        warn!(file = %path.display(), "credential file: {warning}");
    }
}

impl From<BadFile> for OpenError {
    fn from(bad: BadFile) -> Self {
        Self::at("path")(bad)
    }
}

#[cfg(test)]
mod tests;
