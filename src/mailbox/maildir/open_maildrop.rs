//! An open maildrop: its listing, and what the session has found out since it was taken.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::time::Instant;

use super::super::{Failure, OpenError, Position};
use super::assign::{Assignment, Places, Purpose, Rules, Settings, assign};
use super::folder::Location;
use super::folders::Folders;
use super::index::{self, KnownState};
use super::inode::{Inode, KnownFile};
use super::listing::Listing;
use super::lock::{Root, TryLock};
use super::locked::LockedMaildir;
use super::separator::Separator;
use super::shown::Shown;
use super::stamp::{Basis, Moment};
use super::take_listing::{ListingStats, TakenListing, take_listing, take_listing_at_once};
use super::time_limit::TimeLimit;
use super::uids::Mark;
use super::wait::Wait;
use crate::config;
use crate::counters;
use crate::protocol::UniqueId;
use crate::threads::{ByFileSystem, Pool};

/// A locked Maildir with its listing, shared by a session and the work that it starts.
#[derive(Debug)]
pub(super) struct OpenMaildrop {
    /// The messages as they were at login.
    pub(super) listing: Listing,
    /// The messages as clients see them; `None` if that is the listing.
    shown: Option<Shown>,
    /// The mark of `restante.uids`; `None` without that file.
    mark: Option<Mark>,
    /// Whether the index has another mark.
    mark_is_new: bool,
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
    /// Locks the Maildir, passes it to `done` as soon as the listing is taken, and then
    /// writes the index.
    ///
    /// The index is written even if the client has gone: the first login to a very big maildrop may
    /// take longer than its client waits, but only once. [`TimeLimit`] bounds the time for one
    /// file.
    pub(super) fn open(
        terms: &Terms,
        limit: &TimeLimit,
        done: impl FnOnce(Result<Arc<Self>, OpenError>),
    ) {
        let opened = match terms.open(limit) {
            Ok(opened) => Arc::new(opened),
            Err(error) => return done(Err(error)),
        };
        let ListingStats { passes, opened: files, left_out, index_is_stale, .. } = opened.stats;
        tracing::debug!(passes, opened = files, left_out, "the listing is taken");
        // Locked before `done` is called, so that a removal writes the index after this.
        let writing = opened.lock_index();
        done(Ok(Arc::clone(&opened)));
        let basis_is_new = passes > 0 && opened.basis.is_some();
        // A listing with messages that are not shown is written at the end, without them.
        let is_due = index_is_stale || basis_is_new || opened.mark_is_new;
        if is_due && !opened.is_index_stale() {
            opened.write_index(&writing);
        }
    }

    /// Opens it without waiting for anything. `None` if it is in use, has changed since the last
    /// session, or is not in memory. A client that polls usually succeeds.
    pub(super) fn open_at_once(
        path: &Path,
        separator: Separator,
        pools: &'static ByFileSystem,
    ) -> Option<Self> {
        let begun = counters::clock();
        let root = Root::lock_at_once(path)?.with_separator(separator);
        let (maildir, directories) = LockedMaildir::open(root, Wait::Never).ok()?;
        let taken = take_listing_at_once(&Folders::new(&maildir, directories))?;
        // To read `restante.uids` may take a while.
        let is_shown_as_it_is = taken.index.state == KnownState::Absent;
        is_shown_as_it_is.then(|| {
            count_listing(taken.stats, begun);
            Self::new(maildir, taken, Assignment::default(), pools)
        })
    }

    /// A maildrop with its listing and the unique-ids.
    pub(super) fn new(
        maildir: LockedMaildir,
        taken: TakenListing,
        assignment: Assignment,
        pools: &'static ByFileSystem,
    ) -> Self {
        let TakenListing { listing, basis, stats, index, .. } = taken;
        let Assignment { shown, mark, unsaved, .. } = assignment;
        Self {
            listing,
            shown,
            mark,
            mark_is_new: is_new(mark, index.state),
            basis,
            stats,
            listed: Moment::now(),
            moved: Mutex::default(),
            replaced: Mutex::default(),
            stale: Mutex::new(unsaved),
            index: Mutex::default(),
            read_ahead: AtomicU32::default(),
            pools,
            threads: OnceLock::new(),
            maildir,
        }
    }

    /// Writes the index, for the next login to compare with.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn remember(&self) -> Result<(), Failure> {
        let what = || format!("write the index of {}", self.maildir.root().path().display());
        self.try_write_index(&self.lock_index()).map_err(|error| Failure::new(what(), error))
    }

    /// How the listing was taken.
    #[cfg(test)]
    pub(super) fn stats(&self) -> ListingStats {
        self.stats
    }

    /// The number of messages that clients see.
    pub(super) fn count(&self) -> u32 {
        self.shown.as_ref().map_or(self.listing.count(), Shown::count)
    }

    /// The octets of all messages that clients see.
    pub(super) fn total_octets(&self) -> u64 {
        self.shown.as_ref().map_or(self.listing.total_octets(), Shown::total_octets)
    }

    /// The unique-id of the message that clients see at `at`.
    pub(super) fn unique_id(&self, at: Position) -> UniqueId<'_> {
        match &self.shown {
            Some(shown) => shown.unique_id(at),
            None => self.listing.entry(at).unique_id(),
        }
    }

    /// The position in the listing of the message that clients see at `at`.
    pub(super) fn in_listing(&self, at: Position) -> Position {
        self.shown.as_ref().map_or(at, |shown| shown.in_listing(at))
    }

    /// The messages that clients see, in their order: their positions in the listing, and their
    /// unique-ids.
    pub(super) fn messages(&self) -> impl Iterator<Item = (Position, UniqueId<'_>)> {
        let seen = (0..self.count()).map(Position);
        seen.map(|at| (self.in_listing(at), self.unique_id(at)))
    }

    /// The messages to read ahead when clients see the one that they will fetch at `next`: most
    /// clients fetch them in their order. `None` if they have been read ahead already.
    pub(super) fn to_read_ahead(&self, next: u32) -> Option<Range<u32>> {
        let end = next.saturating_add(READ_AHEAD).min(self.count());
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
    /// A removal and the end of the session may both write; the later of them leaves out all.
    pub(super) fn write_index_without(
        &self,
        writing: &MutexGuard<'_, ()>,
        removed: BTreeSet<Position>,
    ) {
        lock(&self.stale).extend(removed);
        self.write_index(writing);
    }

    fn write_index(&self, writing: &MutexGuard<'_, ()>) {
        if let Err(error) = self.try_write_index(writing) {
            let path = self.maildir.root().path().display();
            tracing::warn!(%path, %error, "the index cannot be written; logins will take longer");
        }
    }

    fn try_write_index(&self, _writing: &MutexGuard<'_, ()>) -> io::Result<()> {
        let root = self.maildir.root();
        let stale = lock(&self.stale).clone();
        if stale.is_empty() {
            return index::write(root, &self.listing, self.basis.as_ref(), self.mark);
        }
        // There is no basis: the folders have changed, or a message has without them.
        index::write(root, &self.listing.without(&stale), None, self.mark)
    }
}

/// How a Maildir is opened for a user.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) path: PathBuf,
    pub(super) separator: Separator,
    pub(super) pools: &'static ByFileSystem,
    pub(super) settings: Arc<Settings>,
    pub(super) places: Places,
    pub(super) guard: config::Guard,
}

impl Terms {
    fn open(&self, limit: &TimeLimit) -> Result<OpenMaildrop, OpenError> {
        let begun = counters::clock();
        let (maildir, taken, assignment) = self.assign(Purpose::Show, limit)?;
        count_listing(taken.stats, begun);
        Ok(OpenMaildrop::new(maildir, taken, assignment, self.pools))
    }

    /// Locks the Maildir, takes its listing, and assigns unique-ids to the messages.
    pub(super) fn assign(
        &self,
        purpose: Purpose,
        limit: &TimeLimit,
    ) -> Result<(LockedMaildir, TakenListing, Assignment), OpenError> {
        let Self { path, separator, settings, places, guard, .. } = self;
        let root = match Root::try_lock(path).map_err(OpenError::Unavailable)? {
            TryLock::Locked(root) => root.with_separator(*separator),
            TryLock::InUse(since) => return Err(OpenError::InUse { since }),
        };
        let (maildir, directories) =
            LockedMaildir::open(root, Wait::IfNeedBe).map_err(OpenError::Unavailable)?;
        let folders = Folders::new(&maildir, directories);
        let taken = take_listing(&folders, limit).map_err(OpenError::Unavailable)?;
        let rules = Rules { settings, places, guard, purpose };
        let assignment = assign(&folders, &taken, &rules)?;
        drop(folders);
        Ok((maildir, taken, assignment))
    }
}

/// Counts a listing that was begun at `begun`.
fn count_listing(stats: ListingStats, begun: Option<Instant>) {
    let (Some(counters), Some(begun)) = (counters::on(), begun) else { return };
    let histogram = match stats.passes {
        0 => &counters.listing_from_index,
        _ => &counters.listing_by_scan,
    };
    histogram.observe(begun.elapsed());
}

/// Whether the index has to be written because of the mark.
fn is_new(mark: Option<Mark>, known: KnownState) -> bool {
    match (mark, known) {
        (Some(mark), KnownState::Present(known)) => mark != known,
        (Some(_), KnownState::Absent | KnownState::Unknown) | (None, KnownState::Present(_)) => {
            true
        }
        (None, KnownState::Absent | KnownState::Unknown) => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of messages that are read ahead at once.
const READ_AHEAD: u32 = 8;
