//! The Maildir store's [`Maildrop`]: what a session holds between login and QUIT.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::coop::consume_budget;
use tracing::Span;

use super::super::{Failure, Maildrop, MessageError, Position, RemovalError, RemovalObserver};
use super::message::{self, MaildirMessage};
use super::open_maildrop::OpenMaildrop;
use super::removal::{self, Hold, RemovalOutcome, UnlinkedFiles};
use super::removal_report::RemovalReport;
#[cfg(test)]
use super::take_listing::ListingStats;
use crate::protocol::UniqueId;

/// A locked Maildir and its listing.
///
/// The lock is released when this is dropped and the work that it has started is done.
#[derive(Debug)]
pub struct MaildirMaildrop(Arc<OpenMaildrop>);

impl MaildirMaildrop {
    /// The maildrop that was opened.
    pub(super) fn new(opened: Arc<OpenMaildrop>) -> Self {
        Self(opened)
    }

    /// Has the system read the messages from `next` on into memory, while the client takes the one
    /// before. Does not wait for it.
    fn read_ahead(&self, next: u32) {
        if let Some(messages) = self.0.to_read_ahead(next) {
            let opened = Arc::clone(&self.0);
            // If there is no thread for it, the client waits for the disk.
            drop(self.0.threads().start(move || message::read_ahead(&opened, messages)));
        }
    }

    /// How the listing was taken.
    #[cfg(test)]
    pub(super) fn stats(&self) -> ListingStats {
        self.0.stats()
    }
}

impl Maildrop for MaildirMaildrop {
    type Message = MaildirMessage;

    fn count(&self) -> u32 {
        self.0.count()
    }

    fn unique_id(&self, at: Position) -> UniqueId<'_> {
        self.0.unique_id(at)
    }

    fn octets(&self, at: Position) -> u64 {
        self.0.listing.entry(self.0.in_listing(at)).sizes.octets
    }

    fn total_octets(&self) -> u64 {
        self.0.total_octets()
    }

    async fn message(&self, seen_at: Position) -> Result<MaildirMessage, MessageError> {
        let at = self.0.in_listing(seen_at);
        // Work on this thread has to yield, too: other sessions get their turn, however fast the
        // client is.
        consume_budget().await;
        if let Some(message) = MaildirMessage::open_cached(&self.0, at) {
            return Ok(message);
        }
        let opened = Arc::clone(&self.0);
        let span = Span::current();
        let open = move || span.in_scope(|| MaildirMessage::open(&opened, at));
        let message = self.0.threads().run(open).await;
        self.read_ahead(seen_at.0.saturating_add(1));
        message.unwrap_or_else(|refused| {
            Err(MessageError::Unreadable(Failure::new("read a message", refused.into())))
        })
    }

    async fn remove(
        self,
        marked: Vec<Position>,
        observer: Option<RemovalObserver>,
    ) -> Result<(), RemovalError> {
        let remaining = u32::try_from(marked.len()).unwrap_or(u32::MAX);
        let marked = marked.into_iter().map(|at| self.0.in_listing(at)).collect::<Vec<_>>();
        let (opened, span) = (Arc::clone(&self.0), Span::current());
        let threads = Arc::clone(self.0.threads());
        let removal = threads.answer(move |done| {
            let _entered = span.enter();
            let hold = if observer.is_some() { Hold::Readable } else { Hold::PathOnly };
            let (unlinked, files) =
                remove(&opened, &marked, hold, |result| drop(done.send(result)));
            let report = observer.map(|observer| (RemovalReport::of(&opened, &unlinked), observer));
            // Releases the lock: the next session need not wait for the report.
            drop(opened);
            if let Some((report, observer)) = report {
                report.notify(&files, &observer);
            }
        });
        // From here on the lock lasts as long as the removal, or until that is refused.
        drop(self);
        removal.await.unwrap_or_else(|refused| {
            let cause = Failure::new("remove messages", refused.into());
            Err(RemovalError { remaining, cause })
        })
    }
}

/// Removes messages, passes the result to `done`, and then writes the index without them. Returns
/// the messages that were unlinked here.
fn remove(
    maildrop: &OpenMaildrop,
    marked: &[Position],
    hold: Hold,
    done: impl FnOnce(Result<(), RemovalError>),
) -> (BTreeSet<Position>, UnlinkedFiles) {
    let outcome = removal::remove(maildrop, marked, hold);
    let RemovalOutcome { messages, unlinked, result, unlinked_files } = outcome;
    // Locked before the lock of the maildrop can be released: no other session writes before this.
    let writing = maildrop.lock_index();
    done(result);
    if !messages.is_empty() {
        maildrop.write_index_without(&writing, messages);
    }
    (unlinked, unlinked_files)
}

impl Drop for MaildirMaildrop {
    fn drop(&mut self) {
        if !self.0.is_index_stale() {
            return;
        }
        let opened = Arc::clone(&self.0);
        let write = move || opened.write_index_without(&opened.lock_index(), BTreeSet::new());
        // If there is no thread for it, the next session finds out for itself.
        drop(self.0.threads().start(write));
    }
}
