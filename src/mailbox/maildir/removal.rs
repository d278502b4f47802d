//! Removing messages for good: the UPDATE state's work on files (RFC 1939 §6).
//!
//! - Found by unique name, wherever another server has renamed them to; where several files share
//!   the name, by identity: one DELE never removes two messages.
//! - One that cannot be removed does not keep the others.
//! - What is unlinked here is subtracted from what the Maildir has taken of its quota; what somebody
//!   else has removed is not.
//! - Removed means that the directories are synced too. No crash brings a message back after the
//!   client has been told that it is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::super::{Failure, Position, RemovalError};
use super::budget::{Budget, Loan};
use super::chase::{Visit, Wanted, chase};
use super::folder::{FileId, Folder, Place};
use super::maildrop::Opened;
use super::quota::Freed;

/// What came of a removal.
#[derive(Debug)]
pub(super) struct Removed {
    /// The messages that are gone.
    pub(super) messages: BTreeSet<u32>,
    /// Those of them that were removed here and not by somebody else before.
    pub(super) unlinked: BTreeSet<u32>,
    pub(super) result: Result<(), RemovalError>,
    /// Dropping it takes its time, and nobody needs to wait for that.
    pub(super) remains: Remains,
}

/// How a file that is unlinked is held for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// So that its blocks are not freed yet.
    Closed,
    /// So that it can be read.
    Readable,
}

/// Removes messages and makes that durable; blocks until it is done.
pub(super) fn remove(maildrop: &Opened, marked: &[Position], hold: Hold) -> Removed {
    let marked = marked.iter().map(|position| position.0).collect::<BTreeSet<_>>();
    let remains = Remains { loan: HELD.borrow(marked.len()), files: BTreeMap::new() };
    if marked.is_empty() {
        return Removed { messages: marked, unlinked: BTreeSet::new(), result: Ok(()), remains };
    }
    let mut removal = Removal {
        maildrop,
        hold,
        touched: BTreeSet::new(),
        remaining: BTreeSet::new(),
        unlinked: BTreeSet::new(),
        cause: None,
        freed: Freed::default(),
        remains,
    };
    let missing = marked.iter().copied().filter(|at| removal.at_last_place(*at) == Visit::Missed);
    let missing = missing.collect::<Vec<_>>();
    removal.wherever_they_are(&missing);
    removal.freed.record(maildrop.folders.root());
    let unsynced = removal.touched.iter().filter_map(|f| maildrop.folders.sync(*f).err()).next();
    let Removal { remaining, unlinked, cause, remains, .. } = removal;
    let count = |messages: &BTreeSet<u32>| u32::try_from(messages.len()).unwrap_or(u32::MAX);
    let result = match (unsynced, cause) {
        // Nobody can say which of the removals a crash would undo.
        (Some(cause), _) => Err(RemovalError { remaining: count(&marked), cause }),
        (None, Some(cause)) => Err(RemovalError { remaining: count(&remaining), cause }),
        (None, None) => Ok(()),
    };
    let messages = marked.difference(&remaining).copied().collect();
    Removed { messages, unlinked, result, remains }
}

/// Files that have no name any more and are still open. Freeing the blocks of a file is most of
/// what it costs to remove it, and is done when the last descriptor is closed.
#[derive(Debug)]
pub(super) struct Remains {
    files: BTreeMap<u32, OwnedFd>,
    loan: Loan,
}

impl Remains {
    /// The file of a message, if it was held.
    pub(super) fn file(&self, at: u32) -> Option<&OwnedFd> {
        self.files.get(&at)
    }
}

/// Descriptors for that.
static HELD: Budget = Budget::new(1024);

struct Removal<'a> {
    maildrop: &'a Opened,
    hold: Hold,
    touched: BTreeSet<Folder>,
    remaining: BTreeSet<u32>,
    unlinked: BTreeSet<u32>,
    cause: Option<Failure>,
    freed: Freed,
    remains: Remains,
}

impl Removal<'_> {
    /// Removes a message where it was seen last.
    fn at_last_place(&mut self, at: u32) -> Visit {
        let place = self.maildrop.place(at);
        self.touched.insert(place.folder);
        if self.maildrop.listing.entry(at).file_id().is_some() {
            // Its name is not its own, or not its only one.
            return Visit::Missed;
        }
        self.unlink(at, &place)
    }

    /// Looks for messages that are not where they were seen last.
    fn wherever_they_are(&mut self, missing: &[u32]) {
        let listing = &self.maildrop.listing;
        let wanted = missing.iter().map(|&at| {
            let entry = listing.entry(at);
            Wanted { unique: entry.unique_name(), id: entry.file_id(), token: at }
        });
        let chased = chase(&self.maildrop.folders, wanted.collect(), |&at, places| {
            self.at_places(at, places)
        });
        match chased {
            // One that somebody else has removed is removed.
            Ok(not_found) => {
                for at in not_found.elusive {
                    let place = self.maildrop.place(at);
                    self.keep(at, &place, io::Error::other("it is renamed all the time"));
                }
            }
            Err(failure) => {
                self.remaining.extend(missing);
                self.cause.get_or_insert(failure);
            }
        }
    }

    fn at_places(&mut self, at: u32, places: &[Place]) -> Visit {
        let known = self.maildrop.listing.entry(at).file_id();
        if known.is_none() && self.are_different_files(places) {
            if let Some(place) = places.first() {
                let error = io::Error::other("another file has got the same unique name");
                self.keep(at, place, error);
            }
            return Visit::Done;
        }
        let visits = places.iter().map(|place| {
            self.touched.insert(place.folder);
            // Between the look and now it may have become another file.
            if known.is_some() && self.id(place) != known {
                return Visit::Missed;
            }
            self.unlink(at, place)
        });
        let visits = visits.collect::<Vec<_>>();
        if visits.contains(&Visit::Done) { Visit::Done } else { Visit::Missed }
    }

    fn unlink(&mut self, at: u32, place: &Place) -> Visit {
        let folders = &self.maildrop.folders;
        if self.remains.files.len() < self.remains.loan.count() {
            let file = match self.hold {
                Hold::Closed => folders.hold(place.folder, &place.name),
                Hold::Readable => folders.hold_to_read(place.folder, &place.name),
            };
            self.remains.files.extend(file.map(|file| (at, file)));
        }
        match folders.unlink(place.folder, &place.name) {
            Ok(()) => {
                let sizes = self.maildrop.listing.entry(at).sizes;
                self.freed.add(&place.name, folders.root().separator(), sizes.physical);
                self.unlinked.insert(at);
                Visit::Done
            }
            Err(Errno::NOENT) => Visit::Missed,
            Err(error) => {
                self.keep(at, place, error.into());
                Visit::Done
            }
        }
    }

    fn keep(&mut self, at: u32, place: &Place, error: io::Error) {
        let path = self.maildrop.folders.describe(place.folder, &place.name);
        tracing::warn!(path, %error, "a message cannot be removed");
        self.remaining.insert(at);
        self.cause.get_or_insert_with(|| Failure::new(format!("remove {path}"), error));
    }

    fn are_different_files(&self, places: &[Place]) -> bool {
        let mut ids = places.iter().filter_map(|place| self.id(place));
        ids.next().is_some_and(|first| ids.any(|id| id != first))
    }

    fn id(&self, place: &Place) -> Option<FileId> {
        self.maildrop.folders.stat(place.folder, &place.name).ok().flatten()
    }
}
