//! A maildrop that is open and locked: what a session holds between login and QUIT.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use tokio::task::coop::consume_budget;
use tracing::Span;

use super::super::{Failure, Maildrop, MessageError, OpenError, Position, RemovalError, Witness};
use super::folder::{Folders, Location};
use super::index;
use super::inode::{Inode, KnownFile};
use super::listing::Listing;
use super::lock::{Root, TryLock};
use super::locked::Locked;
use super::message::{self, StoredMessage};
use super::removal::{self, Hold, RemovalOutcome, UnlinkedFiles};
use super::removal_report::RemovalReport;
use super::separator::Separator;
use super::stamp::{Basis, Moment};
use super::take_listing::{ListingStats, TakenListing, take_listing, take_listing_at_once};
use super::time_limit::TimeLimit;
use super::wait::Wait;
use crate::protocol::UniqueId;
use crate::threads::{ByFileSystem, Pool};

/// A locked Maildir and its listing.
///
/// The lock is given back when this is dropped and nothing that it started is still at work.
#[derive(Debug)]
pub struct LockedMaildir(Arc<Opened>);

impl LockedMaildir {
    /// The maildrop that was opened.
    pub(super) fn new(opened: Arc<Opened>) -> Self {
        Self(opened)
    }

    /// Has the system read the messages from `next` on into memory, while the client takes the one
    /// before: most clients fetch them in their order. Nobody waits for it.
    fn read_ahead(&self, next: u32) {
        let Opened { listing, maildir, ahead, .. } = &*self.0;
        let end = next.saturating_add(READ_AHEAD).min(listing.count());
        if next < end && next >= ahead.load(Ordering::Relaxed) && maildir.supports_nowait() {
            ahead.store(end, Ordering::Relaxed);
            let opened = Arc::clone(&self.0);
            // Where there is no thread for it, the client waits for the disk.
            drop(self.0.threads().start(move || message::read_ahead(&opened, next..end)));
        }
    }

    /// How the listing came about.
    #[cfg(test)]
    pub(super) fn stats(&self) -> ListingStats {
        self.0.stats
    }
}

impl Maildrop for LockedMaildir {
    type Message = StoredMessage;

    fn count(&self) -> u32 {
        self.0.listing.count()
    }

    fn unique_id(&self, at: Position) -> UniqueId<'_> {
        self.0.listing.entry(at.0).unique_id()
    }

    fn octets(&self, at: Position) -> u64 {
        self.0.listing.entry(at.0).sizes.octets
    }

    fn total_octets(&self) -> u64 {
        self.0.listing.total_octets()
    }

    async fn message(&self, at: Position) -> Result<StoredMessage, MessageError> {
        // What is done on this thread counts: however fast the client is, other sessions have
        // their turn.
        consume_budget().await;
        if let Some(message) = StoredMessage::open_cached(&self.0, at.0) {
            return Ok(message);
        }
        let opened = Arc::clone(&self.0);
        let span = Span::current();
        let open = move || span.in_scope(|| StoredMessage::open(&opened, at.0));
        let message = self.0.threads().run(open).await;
        self.read_ahead(at.0.saturating_add(1));
        message.unwrap_or_else(|refused| {
            Err(MessageError::Unreadable(Failure::new("read a message", refused.into())))
        })
    }

    async fn remove(
        self,
        marked: Vec<Position>,
        witness: Option<Witness>,
    ) -> Result<(), RemovalError> {
        let remaining = u32::try_from(marked.len()).unwrap_or(u32::MAX);
        let (opened, span) = (Arc::clone(&self.0), Span::current());
        let threads = Arc::clone(self.0.threads());
        let removal = threads.answer(move |done| {
            let _entered = span.enter();
            let hold = if witness.is_some() { Hold::Readable } else { Hold::Closed };
            let removed = opened.remove(&marked, hold, |result| drop(done.send(result)));
            let shown = witness.map(|witness| (RemovalReport::of(&opened, &removed.0), witness));
            // The next session need not wait for the rest.
            drop(opened);
            if let Some((shown, witness)) = shown {
                shown.show(&removed.1, &witness);
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

impl Drop for LockedMaildir {
    fn drop(&mut self) {
        if lock(&self.0.forgotten).is_empty() {
            return;
        }
        let opened = Arc::clone(&self.0);
        let forget = move || opened.forget(&lock(&opened.index), BTreeSet::new());
        // Where there is no thread for it, the next session finds out for itself.
        drop(self.0.threads().start(forget));
    }
}

/// What is behind a [`LockedMaildir`], shared with the work that it starts.
#[derive(Debug)]
pub(super) struct Opened {
    /// The messages as they were at login.
    pub(super) listing: Listing,
    basis: Option<Basis>,
    stats: ListingStats,
    /// When that was.
    listed: Moment,
    /// Where messages are that have been renamed since.
    moved: Mutex<HashMap<u32, Location>>,
    /// The files that were read in place of those that were listed.
    replaced: Mutex<HashMap<u32, KnownFile>>,
    /// Messages that the index is to forget: it was wrong about them, or they are removed.
    forgotten: Mutex<BTreeSet<u32>>,
    /// Held while the index is written.
    index: Mutex<()>,
    /// The end of what has been read ahead.
    ahead: AtomicU32,
    pools: &'static ByFileSystem,
    /// The one of these that is for this Maildir, from the first time on that it is needed.
    threads: OnceLock<Arc<Pool>>,
    /// Last, so that the lock is what is given back last.
    pub(super) maildir: Locked,
}

impl Opened {
    /// Opens the Maildir at `path` if nobody has it, and hands it to `done` as soon as the listing
    /// is there; then writes the index.
    ///
    /// If nobody waits any more, all that has been counted is kept in the index all the same: the
    /// first login to a very big maildrop may take longer than its client waits, but only once. One file
    /// may not keep it busy for ever, see [`Patience`].
    pub(super) fn open(
        path: &Path,
        separator: Separator,
        pools: &'static ByFileSystem,
        limit: &TimeLimit,
        done: impl FnOnce(Result<Arc<Self>, OpenError>),
    ) {
        let opened = match Self::try_open(path, separator, pools, limit) {
            Ok(opened) => Arc::new(opened),
            Err(error) => return done(Err(error)),
        };
        let ListingStats { passes, opened: files, left_out, index_is_stale } = opened.stats;
        tracing::debug!(passes, opened = files, left_out, "the listing is taken");
        // Taken before anybody else can: a removal has to write after this, not before.
        let writing = lock(&opened.index);
        done(Ok(Arc::clone(&opened)));
        let basis_is_new = passes > 0 && opened.basis.is_some();
        if index_is_stale || basis_is_new {
            opened.write_index(&writing, &opened.listing, opened.basis.as_ref());
        }
    }

    /// Removes messages and says so to `done`, then has the index forget them. Gives those that were
    /// unlinked here.
    fn remove(
        &self,
        marked: &[Position],
        hold: Hold,
        done: impl FnOnce(Result<(), RemovalError>),
    ) -> (BTreeSet<u32>, UnlinkedFiles) {
        let removed = removal::remove(self, marked, hold);
        let RemovalOutcome { messages, unlinked, result, unlinked_files } = removed;
        // Taken before the lock can be given back: nobody else is to write before this.
        let writing = lock(&self.index);
        done(result);
        if !messages.is_empty() {
            self.forget(&writing, messages);
        }
        (unlinked, unlinked_files)
    }

    fn try_open(
        path: &Path,
        separator: Separator,
        pools: &'static ByFileSystem,
        limit: &TimeLimit,
    ) -> Result<Self, OpenError> {
        let root = match Root::try_lock(path).map_err(OpenError::Unavailable)? {
            TryLock::Locked(root) => root.with_separator(separator),
            TryLock::InUse(since) => return Err(in_use(since)),
        };
        let (maildir, directories) =
            Locked::open(root, Wait::IfNeedBe).map_err(OpenError::Unavailable)?;
        let taken = take_listing(&Folders::new(&maildir, directories), limit);
        Ok(Self::new(maildir, taken.map_err(OpenError::Unavailable)?, pools))
    }

    /// Opens it without waiting for anything, if nobody has it, it has not changed since the last
    /// session, and all of that is in memory: the usual case for a client that polls.
    pub(super) fn open_at_once(
        path: &Path,
        separator: Separator,
        pools: &'static ByFileSystem,
    ) -> Option<Self> {
        let root = Root::lock_at_once(path)?.with_separator(separator);
        let (maildir, directories) = Locked::open(root, Wait::Never).ok()?;
        let taken = take_listing_at_once(&Folders::new(&maildir, directories))?;
        Some(Self::new(maildir, taken, pools))
    }

    fn new(maildir: Locked, taken: TakenListing, pools: &'static ByFileSystem) -> Self {
        let TakenListing { listing, basis, stats } = taken;
        Self {
            listing,
            basis,
            stats,
            listed: Moment::now(),
            moved: Mutex::default(),
            replaced: Mutex::default(),
            forgotten: Mutex::default(),
            index: Mutex::default(),
            ahead: AtomicU32::default(),
            pools,
            threads: OnceLock::new(),
            maildir,
        }
    }

    /// The threads for work that may have to wait for the file system.
    pub(super) fn threads(&self) -> &Arc<Pool> {
        self.threads.get_or_init(|| self.pools.of(self.maildir.root().path()))
    }

    /// Where the file of a message was seen last.
    pub(super) fn location(&self, at: u32) -> Location {
        let moved = lock(&self.moved).get(&at).cloned();
        moved.unwrap_or_else(|| {
            let entry = self.listing.entry(at);
            Location::new(entry.folder, entry.name)
        })
    }

    /// Remembers that the file of a message was found at another place.
    pub(super) fn moved_to(&self, at: u32, location: &Location) {
        lock(&self.moved).insert(at, location.clone());
    }

    /// The file of a message: the one that was listed, or the one that was read in its place.
    pub(super) fn file(&self, at: u32) -> KnownFile {
        let replaced = lock(&self.replaced).get(&at).copied();
        let inode = self.listing.entry(at).inode;
        replaced.unwrap_or(KnownFile { inode, seen: self.listed })
    }

    /// Remembers that another file is read in place of the one that was listed.
    pub(super) fn replaced_by(&self, at: u32, inode: Option<Inode>) {
        lock(&self.replaced).insert(at, KnownFile { inode, seen: Moment::now() });
    }

    /// Sees to it that the index forgets a message, at the end of the session.
    pub(super) fn drop_from_index(&self, at: u32) {
        lock(&self.forgotten).insert(at);
    }

    /// Writes the index without these messages and without those that it was wrong about.
    ///
    /// Whoever writes last knows all that is to be forgotten: a removal and the end of the session
    /// may both write. What is left has no basis any more: the folders have changed, or a message
    /// has without them.
    fn forget(&self, writing: &MutexGuard<'_, ()>, removed: BTreeSet<u32>) {
        lock(&self.forgotten).extend(removed);
        let forgotten = lock(&self.forgotten).clone();
        self.write_index(writing, &self.listing.without(&forgotten), None);
    }

    fn write_index(&self, _writing: &MutexGuard<'_, ()>, listing: &Listing, basis: Option<&Basis>) {
        let root = self.maildir.root();
        if let Err(error) = index::write(root, listing, basis) {
            let path = root.path().display();
            tracing::warn!(%path, %error, "the index cannot be written; logins will take longer");
        }
    }
}

fn in_use(since: Option<SystemTime>) -> OpenError {
    OpenError::InUse { since }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many messages are read ahead at once.
const READ_AHEAD: u32 = 8;
