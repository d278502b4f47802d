//! An open maildrop: its listing, and what the session has found out since it was taken.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::super::{OpenError, Position};
use super::folder::Location;
use super::folders::Folders;
use super::index;
use super::inode::{Inode, KnownFile};
use super::listing::Listing;
use super::lock::{Root, TryLock};
use super::locked::LockedMaildir;
use super::separator::Separator;
use super::stamp::{Basis, Moment};
use super::take_listing::{ListingStats, TakenListing, take_listing, take_listing_at_once};
use super::time_limit::TimeLimit;
use super::wait::Wait;
use crate::threads::{ByFileSystem, Pool};

/// A locked Maildir with its listing, shared by a session and the work that it starts.
#[derive(Debug)]
pub(super) struct OpenMaildrop {
    /// The messages as they were at login.
    pub(super) listing: Listing,
    basis: Option<Basis>,
    stats: ListingStats,
    /// The time of the listing.
    listed: Moment,
    /// The locations of messages that have been renamed since.
    moved: Mutex<HashMap<Position, Location>>,
    /// The files that were read in place of those that were listed.
    replaced: Mutex<HashMap<Position, KnownFile>>,
    /// Messages to leave out of the index: it was wrong about them, or they are removed.
    stale: Mutex<BTreeSet<Position>>,
    /// Held while the index is written.
    index: Mutex<()>,
    /// The end of what has been read ahead.
    read_ahead: AtomicU32,
    pools: &'static ByFileSystem,
    /// The pool for this Maildir, looked up when it is needed first.
    threads: OnceLock<Arc<Pool>>,
    /// The last field, so that the lock is released last.
    pub(super) maildir: LockedMaildir,
}

impl OpenMaildrop {
    /// Locks the Maildir at `path`, passes it to `done` as soon as the listing is taken, and then
    /// writes the index.
    ///
    /// The index is written even if the client has gone: the first login to a very big maildrop may
    /// take longer than its client waits, but only once. [`TimeLimit`] bounds the time for one
    /// file.
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
        // Locked before `done` is called, so that a removal writes the index after this.
        let writing = opened.lock_index();
        done(Ok(Arc::clone(&opened)));
        let basis_is_new = passes > 0 && opened.basis.is_some();
        if index_is_stale || basis_is_new {
            opened.write_index(&writing, &opened.listing, opened.basis.as_ref());
        }
    }

    pub(super) fn try_open(
        path: &Path,
        separator: Separator,
        pools: &'static ByFileSystem,
        limit: &TimeLimit,
    ) -> Result<Self, OpenError> {
        let root = match Root::try_lock(path).map_err(OpenError::Unavailable)? {
            TryLock::Locked(root) => root.with_separator(separator),
            TryLock::InUse(since) => return Err(OpenError::InUse { since }),
        };
        let (maildir, directories) =
            LockedMaildir::open(root, Wait::IfNeedBe).map_err(OpenError::Unavailable)?;
        let taken = take_listing(&Folders::new(&maildir, directories), limit);
        Ok(Self::new(maildir, taken.map_err(OpenError::Unavailable)?, pools))
    }

    /// Opens it without waiting for anything. `None` if it is in use, has changed since the last
    /// session, or is not in memory. A client that polls usually succeeds.
    pub(super) fn open_at_once(
        path: &Path,
        separator: Separator,
        pools: &'static ByFileSystem,
    ) -> Option<Self> {
        let root = Root::lock_at_once(path)?.with_separator(separator);
        let (maildir, directories) = LockedMaildir::open(root, Wait::Never).ok()?;
        let taken = take_listing_at_once(&Folders::new(&maildir, directories))?;
        Some(Self::new(maildir, taken, pools))
    }

    fn new(maildir: LockedMaildir, taken: TakenListing, pools: &'static ByFileSystem) -> Self {
        let TakenListing { listing, basis, stats } = taken;
        Self {
            listing,
            basis,
            stats,
            listed: Moment::now(),
            moved: Mutex::default(),
            replaced: Mutex::default(),
            stale: Mutex::default(),
            index: Mutex::default(),
            read_ahead: AtomicU32::default(),
            pools,
            threads: OnceLock::new(),
            maildir,
        }
    }

    /// How the listing was taken.
    #[cfg(test)]
    pub(super) fn stats(&self) -> ListingStats {
        self.stats
    }

    /// The messages to read ahead when `next` is the one that the client will fetch: most clients
    /// fetch them in their order. `None` if they have been read ahead already.
    pub(super) fn to_read_ahead(&self, next: u32) -> Option<Range<u32>> {
        let end = next.saturating_add(READ_AHEAD).min(self.listing.count());
        let is_due = next < end
            && next >= self.read_ahead.load(Ordering::Relaxed)
            && self.maildir.supports_nowait();
        is_due.then(|| {
            self.read_ahead.store(end, Ordering::Relaxed);
            next..end
        })
    }

    /// The threads for work that may wait for the file system.
    pub(super) fn threads(&self) -> &Arc<Pool> {
        self.threads.get_or_init(|| self.pools.of(self.maildir.root().path()))
    }

    /// The last known location of a message.
    pub(super) fn location(&self, at: Position) -> Location {
        let moved = lock(&self.moved).get(&at).cloned();
        moved.unwrap_or_else(|| {
            let entry = self.listing.entry(at);
            Location::new(entry.folder, entry.name)
        })
    }

    /// Remembers that the file of a message was found at another place.
    pub(super) fn moved_to(&self, at: Position, location: &Location) {
        lock(&self.moved).insert(at, location.clone());
    }

    /// The file of a message: the one that was listed, or the one that was read in its place.
    pub(super) fn file(&self, at: Position) -> KnownFile {
        let replaced = lock(&self.replaced).get(&at).copied();
        let inode = self.listing.entry(at).inode;
        replaced.unwrap_or(KnownFile { inode, seen: self.listed })
    }

    /// Remembers that another file is read in place of the one that was listed.
    pub(super) fn replaced_by(&self, at: Position, inode: Option<Inode>) {
        lock(&self.replaced).insert(at, KnownFile { inode, seen: Moment::now() });
    }

    /// Leaves a message out of the index from the end of the session on.
    pub(super) fn drop_from_index(&self, at: Position) {
        lock(&self.stale).insert(at);
    }

    /// Whether the index was wrong about a message.
    pub(super) fn is_index_stale(&self) -> bool {
        !lock(&self.stale).is_empty()
    }

    /// The right to write the index, until it is dropped.
    pub(super) fn lock_index(&self) -> MutexGuard<'_, ()> {
        lock(&self.index)
    }

    /// Writes the index without the removed messages and without those that it was wrong about.
    ///
    /// A removal and the end of the session may both write; the later of them leaves out all. The
    /// index then has no basis: the folders have changed, or a message has without them.
    pub(super) fn write_index_without(
        &self,
        writing: &MutexGuard<'_, ()>,
        removed: BTreeSet<Position>,
    ) {
        lock(&self.stale).extend(removed);
        let stale = lock(&self.stale).clone();
        self.write_index(writing, &self.listing.without(&stale), None);
    }

    fn write_index(&self, _writing: &MutexGuard<'_, ()>, listing: &Listing, basis: Option<&Basis>) {
        let root = self.maildir.root();
        if let Err(error) = index::write(root, listing, basis) {
            let path = root.path().display();
            tracing::warn!(%path, %error, "the index cannot be written; logins will take longer");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of messages that are read ahead at once.
const READ_AHEAD: u32 = 8;
