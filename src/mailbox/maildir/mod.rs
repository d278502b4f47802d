//! The Maildir store: a directory a user, a file a message.
//!
//! Message files are read and removed, never written, renamed or flagged. The only files of our
//! own are `restante.lock` and `restante.index` in the Maildir; the second is a cache. A removal
//! adds a line to `maildirsize`, where there is one. Other programs may deliver, rename and remove
//! at any time; nothing here takes their absence for granted.
//!
//! - `path`: whose Maildir is where; `resolve`: which symbolic links lead there. `lock`: one session
//!   at a time. `opening`: one login at a time that waits for it. `wait`: not on a worker thread.
//! - `directories`: what a Maildir has to have; `create`: making what is missing of it; `locked`:
//!   what a session keeps open of it; `folder`: what is done in its folders, `view`: what finding
//!   messages asks of them; `search`: finding files that have been renamed; `file_system`: what can be relied
//!   on.
//! - `sightings`, `scan`, `match_index`, `take_listing`, `count`: from names to messages to a `listing`; `inode`:
//!   which file a message is; `time_limit`: how long counting may take; `index`: what the next login need not find out again; `stamp`: whether
//!   that still holds; `name`: what a file name says, `separator`: where its flags begin.
//! - `compressed`: messages that are stored so.
//! - `maildrop`, `message`, `removal`: what a session does with it all; `quota`: what a removal
//!   tells delivery agents; `removal_report`: what it tells the operator; `permits`: how much of the process it
//!   may use for that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::Span;

use super::{Cancellation, Failure, Mailbox, OpenError};
use crate::login::Identity;
use crate::threads::{self, ByFileSystem, Refused};

mod compressed;
mod count;
mod create;
mod directories;
mod entry;
mod file_id;
mod file_system;
mod folder;
mod folders;
mod index;
mod inode;
mod listing;
mod lock;
mod locked;
mod maildrop;
mod match_index;
mod message;
mod name;
mod open_maildrop;
mod opening;
mod path;
mod permits;
mod quota;
mod removal;
mod removal_report;
mod resolve;
mod scan;
mod search;
mod separator;
mod sightings;
mod stamp;
mod system;
mod take_listing;
#[cfg(test)]
mod tests;
mod time_limit;
mod view;
mod wait;

pub use create::{Made, Missing, could_create, create, is_mail_root, mark_root};
pub use directories::{examine, examine_for};
pub use maildrop::MaildirMaildrop;
pub use message::MaildirMessage;
use open_maildrop::OpenMaildrop;
use opening::Opening;
pub use path::PathTemplate;
pub use removal::hold_at_most;
pub use resolve::{is_link_trusted, untrusted_link};
pub use separator::{Separator, foreign_separator};
#[cfg(test)]
pub(crate) use system::{Extent, Fault, Hit, Journal, Lost, Plan, cut_power};
use time_limit::TimeLimit;

/// Maildirs, found by the names of their users.
#[derive(Clone, Debug)]
pub struct MaildirStore {
    template: PathTemplate,
    separator: Separator,
    missing: Missing,
    threads: &'static ByFileSystem,
    /// Where mail can be reached at all, if not everywhere.
    within: Option<Arc<[PathBuf]>>,
}

impl MaildirStore {
    /// Maildirs where `template` says.
    pub fn new(template: PathTemplate) -> Self {
        Self {
            template,
            separator: Separator::Colon,
            missing: Missing::Refuse,
            threads: threads::mail(),
            within: None,
        }
    }

    /// The same, with another separator before the flags in file names.
    #[must_use]
    pub fn with_separator(self, separator: Separator) -> Self {
        Self { separator, ..self }
    }

    /// The same, with another way to deal with Maildirs that are not there.
    #[must_use]
    pub fn with_missing(self, missing: Missing) -> Self {
        Self { missing, ..self }
    }

    /// The same, where the process cannot reach mail but below these directories.
    #[must_use]
    pub fn within(self, directories: Option<Arc<[PathBuf]>>) -> Self {
        Self { within: directories, ..self }
    }

    /// Says so when a Maildir is closed because it is where no mail can be reached.
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

    /// Makes what is missing of the Maildir of `identity` at `path`.
    async fn make(&self, identity: &Identity, path: &Path) -> Result<(), OpenError> {
        let highest = match identity.mail() {
            Some(_) => None,
            None => self.template.root().map(Path::to_owned),
        };
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

    /// Opens a Maildir where it may take its time, unless that is being done already: a file system
    /// that does not answer is to have one thread for each Maildir and not one for each login.
    async fn open_blocking(
        &self,
        path: PathBuf,
        cancellation: &Cancellation,
    ) -> Result<Arc<OpenMaildrop>, OpenError> {
        let opening = match Opening::begin(&path) {
            Ok(opening) => opening,
            Err(since) => return Err(OpenError::InUse { since: Some(since) }),
        };
        let what = format!("open {}", path.display());
        let (separator, pools, span) = (self.separator, self.threads, Span::current());
        let threads = pools.of(&path);
        let limit = TimeLimit::until_cancelled(cancellation.clone());
        let opened = threads.answer(move |done| {
            let (_opening, _entered) = (opening, span.enter());
            OpenMaildrop::open(&path, separator, pools, &limit, |result| {
                // If nobody waits for it any more, it is dropped, and with it the lock.
                drop(done.send(result));
            });
        });
        let refused = |refused: Refused| OpenError::Unavailable(Failure::new(what, refused.into()));
        opened.await.unwrap_or_else(|why| Err(refused(why)))
    }
}

impl Mailbox for MaildirStore {
    type Maildrop = MaildirMaildrop;

    async fn open(
        &self,
        identity: &Identity,
        cancellation: &Cancellation,
    ) -> Result<MaildirMaildrop, OpenError> {
        let path = self
            .template
            .path(identity.username(), identity.home(), identity.mail())
            .map_err(OpenError::Unavailable)?;
        if let Some(opened) = OpenMaildrop::open_at_once(&path, self.separator, self.threads) {
            return Ok(MaildirMaildrop::new(Arc::new(opened)));
        }
        let opened = match self.open_blocking(path.clone(), cancellation).await {
            Err(OpenError::Unavailable(failure))
                if self.missing == Missing::Make
                    && failure.source().kind() == io::ErrorKind::NotFound =>
            {
                self.make(identity, &path).await?;
                self.open_blocking(path.clone(), cancellation).await
            }
            result => result,
        };
        opened.map(MaildirMaildrop::new).map_err(|error| self.explain(&path, error))
    }
}
