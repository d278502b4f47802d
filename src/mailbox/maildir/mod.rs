//! The Maildir store: a directory for each user, a file for each message.
//!
//! Message files are read and removed, never written, renamed or flagged. The store's own files are
//! `restante.lock`, `restante.index` and `restante.uids` in the Maildir; the second is a cache. A
//! removal adds a line to `maildirsize`, if that exists. Other programs may deliver, rename and
//! remove at any time.
//!
//! - Where a Maildir is: `path` fills in the template, `resolve` decides which symbolic links are
//!   followed, `create` makes missing directories, `directories` checks that all are there.
//! - Locking: `lock` for sessions, `opening` for logins that wait for the file system; `locked` is
//!   a locked Maildir. `wait` says whether an operation may wait, `file_system` what a file system
//!   guarantees.
//! - Files: `folder` and `folders` are `new` and `cur`, `view` what a scan needs of them; `file_id`
//!   and `inode` identify files; `name` and `separator` parse file names; `search` finds files that
//!   have been renamed.
//! - The listing: `take_listing` makes it of the `index`, or of a `scan` (with its `sightings`) and
//!   the sizes that `match_index` finds and `count` counts, within a `time_limit`. `listing` and
//!   `entry` are its bytes; `stamp` says whether the index still holds. `own_file` opens and
//!   replaces files of the store.
//! - Unique-ids: `assign` finds those that clients see, by the lists of other servers if there are
//!   such. `uids` remembers the ones that are not made of file names, and `guard` refuses logins
//!   that would change them. `shown` has the order and the unique-ids that clients see.
//! - A session: `open_maildrop` and `maildrop`, `message` for RETR, `removal` for UPDATE with
//!   `quota` and `removal_report`; `compressed` messages; `header` reads fields of messages.
//!   `permits` bounds what all sessions use together.
//! - Without a session: `locked_listing` for commands.
//! - `system` has all system calls for files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{Failure, Mailbox, OpenError};
use crate::config;
use crate::login::Identity;
use crate::threads::{self, ByFileSystem, PoolError};
use crate::uidl::FormatError;

mod assign;
mod compressed;
mod count;
mod create;
mod directories;
mod entry;
mod file_id;
mod file_system;
mod folder;
mod folders;
mod guard;
mod header;
mod index;
mod inode;
mod listing;
mod lock;
mod locked;
mod locked_listing;
mod maildrop;
mod match_index;
mod message;
mod name;
mod open_maildrop;
mod opening;
mod own_file;
mod path;
mod permits;
mod quota;
mod removal;
mod removal_report;
mod resolve;
mod scan;
mod search;
mod separator;
mod shown;
mod sightings;
mod stamp;
mod system;
mod take_listing;
#[cfg(test)]
mod tests;
mod time_limit;
mod uids;
mod view;
mod wait;

use assign::Settings;
pub use assign::{InList, ListComparison};
pub use create::{Made, Missing, could_create, create, is_mail_root, mark_root};
pub use directories::{examine, examine_for};
pub use guard::Objection;
pub use locked_listing::{ListedMessage, LockedListing};
pub use maildrop::MaildirMaildrop;
pub use message::MaildirMessage;
use open_maildrop::{OpenMaildrop, Terms};
use opening::Opening;
pub use path::{MailOwner, PathTemplate};
pub use removal::hold_at_most;
pub use resolve::{is_link_trusted, open_trusted_directory, untrusted_link};
pub use separator::{Separator, foreign_separator};
#[cfg(test)]
pub(crate) use system::{Extent, Fault, Hit, Journal, Lost, Plan, cut_power};
use time_limit::TimeLimit;

/// The Maildirs of all users.
#[derive(Clone, Debug)]
pub struct MaildirStore {
    template: PathTemplate,
    separator: Separator,
    missing: Missing,
    settings: Arc<Settings>,
    guard: config::Guard,
    threads: &'static ByFileSystem,
    /// The directories that the sandbox leaves within reach; `None` without a sandbox.
    within: Option<Arc<[PathBuf]>>,
}

impl MaildirStore {
    /// Maildirs at the paths that `template` gives.
    pub fn new(template: PathTemplate) -> Self {
        Self {
            template,
            separator: Separator::Colon,
            missing: Missing::Refuse,
            settings: Arc::default(),
            guard: config::Guard::default(),
            threads: threads::mail(),
            within: None,
        }
    }

    /// Sets the separator before the flags in file names.
    #[must_use]
    pub fn with_separator(self, separator: Separator) -> Self {
        Self { separator, ..self }
    }

    /// Sets what is done when a Maildir does not exist.
    #[must_use]
    pub fn with_missing(self, missing: Missing) -> Self {
        Self { missing, ..self }
    }

    /// Sets how messages get their unique-ids, and when a login is refused because these would
    /// change.
    ///
    /// # Errors
    /// When `maildir.dovecot.format` is invalid.
    pub fn with_unique_ids(
        self,
        maildir: &config::Maildir,
        guard: &config::Guard,
    ) -> Result<Self, FormatError> {
        let settings = Arc::new(Settings::new(maildir)?);
        Ok(Self { settings, guard: guard.clone(), ..self })
    }

    /// Sets the directories to which the sandbox limits this process.
    #[must_use]
    pub fn within(self, directories: Option<Arc<[PathBuf]>>) -> Self {
        Self { within: directories, ..self }
    }

    /// Names the sandbox in the error when a Maildir is outside of it.
    fn explain(&self, path: &Path, error: OpenError) -> OpenError {
        let is_within = |directories: &Arc<[PathBuf]>| {
            let roots = directories.iter().map(PathBuf::as_path).chain(self.template.root());
            roots.into_iter().any(|root| path.starts_with(root))
        };
        match (&self.within, error) {
            (Some(directories), OpenError::Unavailable(failure))
                if failure.source().kind() == io::ErrorKind::PermissionDenied
                    && !is_within(directories) =>
            {
                let what = format!(
                    "open {}, which is outside of the sandbox that was entered at the start; \
                     restart the server, or name a directory above it in sandbox.mail-directories",
                    path.display()
                );
                let denied = io::Error::from(io::ErrorKind::PermissionDenied);
                OpenError::Unavailable(Failure::new(what, denied))
            }
            (_, error) => error,
        }
    }

    fn terms(&self, owner: MailOwner<'_>, path: PathBuf) -> Result<Terms, Failure> {
        Ok(Terms {
            path,
            separator: self.separator,
            pools: self.threads,
            settings: Arc::clone(&self.settings),
            places: self.settings.places(owner)?,
            guard: self.guard.clone(),
        })
    }

    /// The directory above the mail of all users; none if the paths begin with their homes.
    pub fn root(&self) -> Option<&Path> {
        self.template.root()
    }

    /// The highest directory that may be the mail root of a Maildir that is made.
    fn highest_root(&self, owner: MailOwner<'_>) -> Option<&Path> {
        self.template.root().filter(|_| owner.mail.is_none())
    }

    /// Makes what is missing of the Maildir of `owner` at `path`.
    async fn make(&self, owner: MailOwner<'_>, path: &Path) -> Result<(), OpenError> {
        let highest = self.highest_root(owner).map(Path::to_owned);
        let what = format!("make the Maildir {}", path.display());
        let threads = self.threads.of(path);
        let (path, span) = (path.to_owned(), Span::current());
        let made = threads.run(move || {
            let _entered = span.enter();
            let made = create(&path, highest.as_deref())?;
            match made {
                Made::Maildir => tracing::info!(path = %path.display(), "a Maildir is made"),
                Made::Tmp => tracing::info!(path = %path.display(), "tmp is made in a Maildir"),
                Made::Nothing => {}
            }
            Ok(())
        });
        let made = made.await.unwrap_or_else(|refused| Err(Failure::new(what, refused.into())));
        made.map_err(OpenError::Unavailable)
    }

    /// Opens a Maildir on a thread that may block, unless another login is doing so: a file system
    /// that does not answer then blocks one thread for each Maildir, not one for each login.
    async fn open_blocking(
        &self,
        terms: Terms,
        cancellation: &CancellationToken,
    ) -> Result<Arc<OpenMaildrop>, OpenError> {
        let opening = match Opening::begin(&terms.path) {
            Ok(opening) => opening,
            Err(since) => return Err(OpenError::InUse { since: Some(since) }),
        };
        let what = format!("open {}", terms.path.display());
        let (threads, span) = (terms.pools.of(&terms.path), Span::current());
        let limit = TimeLimit::until_cancelled(cancellation.clone());
        let opened = threads.answer(move |done| {
            let (_opening, _entered) = (opening, span.enter());
            OpenMaildrop::open(&terms, &limit, |result| {
                // If the login has gone, the maildrop is dropped, and with it the lock.
                drop(done.send(result));
            });
        });
        let refused =
            |refused: PoolError| OpenError::Unavailable(Failure::new(what, refused.into()));
        opened.await.unwrap_or_else(|why| Err(refused(why)))
    }
}

impl Mailbox for MaildirStore {
    type Maildrop = MaildirMaildrop;

    async fn open(
        &self,
        identity: &Identity,
        cancellation: &CancellationToken,
    ) -> Result<MaildirMaildrop, OpenError> {
        let owner = MailOwner::from(identity);
        let path = self.template.maildir(owner).map_err(OpenError::Unavailable)?;
        if self.settings.are_plain()
            && let Some(opened) = OpenMaildrop::open_at_once(&path, self.separator, self.threads)
        {
            return Ok(MaildirMaildrop::new(Arc::new(opened)));
        }
        let terms = self.terms(owner, path.clone()).map_err(OpenError::Unavailable)?;
        let opened = match self.open_blocking(terms.clone(), cancellation).await {
            Err(OpenError::Unavailable(failure))
                if self.missing == Missing::Make
                    && failure.source().kind() == io::ErrorKind::NotFound =>
            {
                self.make(owner, &path).await?;
                self.open_blocking(terms, cancellation).await
            }
            result => result,
        };
        opened.map(MaildirMaildrop::new).map_err(|error| self.explain(&path, error))
    }
}
