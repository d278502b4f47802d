//! The Maildir store: a directory a user, a file a message.
//!
//! Message files are read and removed, never written, renamed or flagged. The only files of our
//! own are `restante.lock` and `restante.index` in the Maildir; the second is a cache. A removal
//! adds a line to `maildirsize`, where there is one. Other programs may deliver, rename and remove
//! at any time; nothing here takes their absence for granted.
//!
//! - `path`: whose Maildir is where; `resolve`: which symbolic links lead there. `lock`: one session at a time. `wait`: not on a worker thread.
//! - `directories`: what a Maildir has to have; `create`: making what is missing of it; `folder`:
//!   what is done in them; `chase`: files that have been renamed; `file_system`: what can be relied
//!   on.
//! - `seen`, `scan`, `namesake`, `sizes`, `count`: from names to messages to a `listing`; `inode`:
//!   which file a message is; `index`: what the next login need not find out again; `stamp`: whether
//!   that still holds; `name`: what a file name says, `separator`: where its flags begin.
//! - `compressed`: messages that are stored so.
//! - `maildrop`, `message`, `removal`: what a session does with it all; `quota`: what a removal
//!   tells delivery agents; `shown`: what it tells the operator; `budget`: how much of the process it
//!   may use for that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Failure, Mailbox, OpenError};
use crate::auth::Identity;

mod budget;
mod chase;
mod compressed;
mod count;
mod create;
mod directories;
mod file_system;
mod folder;
mod index;
mod inode;
mod listing;
mod lock;
mod maildrop;
mod message;
mod name;
mod namesake;
mod path;
mod quota;
mod removal;
mod resolve;
mod scan;
mod seen;
mod separator;
mod shown;
mod sizes;
mod stamp;
mod system;
#[cfg(test)]
mod tests;
mod wait;

pub use create::{Made, Missing, could_create, create, is_mail_root, mark_root};
pub use directories::{examine, examine_for};
pub use maildrop::LockedMaildir;
pub use message::StoredMessage;
pub use path::PathTemplate;
pub use resolve::untrusted_link;
pub use separator::{Separator, foreign_separator};

/// Maildirs, found by the names of their users.
#[derive(Clone, Debug)]
pub struct MaildirStore {
    template: PathTemplate,
    separator: Separator,
    missing: Missing,
}

impl MaildirStore {
    /// Maildirs where `template` says.
    pub fn new(template: PathTemplate) -> Self {
        Self { template, separator: Separator::Colon, missing: Missing::Refuse }
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

    /// Makes what is missing of the Maildir of `identity` at `path`.
    async fn make(&self, identity: &Identity, path: &Path) -> Result<(), OpenError> {
        let highest = match identity.mail() {
            Some(_) => None,
            None => self.template.root().map(Path::to_owned),
        };
        let what = format!("make the Maildir {}", path.display());
        let path = path.to_owned();
        let made = blocking(move || {
            let made = create(&path, highest.as_deref())?;
            match made {
                Made::Maildir => tracing::info!(path = %path.display(), "a Maildir is made"),
                Made::Tmp => tracing::info!(path = %path.display(), "tmp is made in a Maildir"),
                Made::Nothing => {}
            }
            Ok(())
        });
        let made = made.await.unwrap_or_else(|error| Err(Failure::new(what, error)));
        made.map_err(OpenError::Unavailable)
    }
}

impl Mailbox for MaildirStore {
    type Maildrop = LockedMaildir;

    async fn open(&self, identity: &Identity) -> Result<LockedMaildir, OpenError> {
        let path = self
            .template
            .path(identity.username(), identity.home(), identity.mail())
            .map_err(OpenError::Unavailable)?;
        if let Some(opened) = maildrop::Opened::open_at_once(&path, self.separator) {
            return Ok(LockedMaildir::new(Arc::new(opened)));
        }
        match attempt(path.clone(), self.separator).await {
            Err(OpenError::Unavailable(failure))
                if self.missing == Missing::Make
                    && failure.source().kind() == io::ErrorKind::NotFound =>
            {
                self.make(identity, &path).await?;
                attempt(path, self.separator).await.map(LockedMaildir::new)
            }
            result => result.map(LockedMaildir::new),
        }
    }
}

async fn attempt(path: PathBuf, separator: Separator) -> Result<Arc<maildrop::Opened>, OpenError> {
    let what = format!("open {}", path.display());
    let (done, opened) = oneshot::channel();
    start(move || {
        maildrop::Opened::open(&path, separator, |result| {
            // If nobody waits for it any more, it is dropped, and with it the lock.
            drop(done.send(result));
        });
    });
    opened.await.unwrap_or_else(|_| {
        Err(OpenError::Unavailable(Failure::new(what, io::Error::other("ended half-way"))))
    })
}

/// Starts work that blocks; it is finished whether or not anybody waits for it.
fn start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
}

/// Starts work that blocks and waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Ok(start(work).await?)
}
