//! Removing messages for good: the UPDATE state's work on files (RFC 1939 §6).
//!
//! - Found by unique name, wherever another server has renamed them to; where several files share
//!   the name, by identity: one DELE never removes two messages.
//! - A file is removed only if it is the one that was listed, or that the client has read since. Where
//!   another has taken the name, it stays, and the client is told that the message is not removed.
//! - One that cannot be removed does not keep the others.
//! - What is unlinked here is subtracted from what the Maildir has taken of its quota; what somebody
//!   else has removed is not.
//! - Removed means that the directories are synced too. No crash brings a message back after the
//!   client has been told that it is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::io::Errno;

use super::super::{Failure, Position, RemovalError};
use super::folder::{Folder, Location, NO_FILE};
use super::folders::Folders;
use super::inode::Inode;
use super::open_maildrop::OpenMaildrop;
use super::permits::{Acquired, Permits};
use super::quota::Freed;
use super::search::{Target, Visit, search};

/// What came of a removal.
#[derive(Debug)]
pub(super) struct RemovalOutcome {
    /// The messages that are gone.
    pub(super) messages: BTreeSet<Position>,
    /// Those of them that were removed here and not by somebody else before.
    pub(super) unlinked: BTreeSet<Position>,
    pub(super) result: Result<(), RemovalError>,
    /// Dropping it takes its time, and nobody needs to wait for that.
    pub(super) unlinked_files: UnlinkedFiles,
}

/// How a file that is unlinked is held for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// So that its blocks are not freed yet.
    PathOnly,
    /// So that it can be read.
    Readable,
}

/// Removes messages and makes that durable; blocks until it is done.
pub(super) fn remove(maildrop: &OpenMaildrop, marked: &[Position], hold: Hold) -> RemovalOutcome {
    let marked = marked.iter().copied().collect::<BTreeSet<_>>();
    let unlinked_files =
        UnlinkedFiles { acquired: held().acquire_up_to(marked.len()), files: BTreeMap::new() };
    if marked.is_empty() {
        return RemovalOutcome {
            messages: marked,
            unlinked: BTreeSet::new(),
            result: Ok(()),
            unlinked_files,
        };
    }
    let folders =
        match maildrop.maildir.check_path().and_then(|()| Folders::open(&maildrop.maildir)) {
            Ok(folders) => folders,
            // A +OK would be about messages that are no longer there for anybody.
            Err(cause) => {
                let remaining = u32::try_from(marked.len()).unwrap_or(u32::MAX);
                let result = Err(RemovalError { remaining, cause });
                let (messages, unlinked) = (BTreeSet::new(), BTreeSet::new());
                return RemovalOutcome { messages, unlinked, result, unlinked_files };
            }
        };
    let mut removal = Removal {
        maildrop,
        folders: &folders,
        hold,
        touched: BTreeSet::new(),
        remaining: BTreeSet::new(),
        unlinked: BTreeSet::new(),
        cause: None,
        freed: Freed::default(),
        unlinked_files,
    };
    let missing =
        marked.iter().copied().filter(|at| removal.unlink_at_known_location(*at) == Visit::Retry);
    let missing = missing.collect::<Vec<_>>();
    removal.find_and_unlink(&missing);
    removal.freed.record(maildrop.maildir.root());
    let unsynced = removal.touched.iter().filter_map(|f| folders.sync(*f).err()).next();
    let Removal { remaining, unlinked, cause, unlinked_files, .. } = removal;
    let count = |messages: &BTreeSet<Position>| u32::try_from(messages.len()).unwrap_or(u32::MAX);
    let result = match (unsynced, cause) {
        // Nobody can say which of the removals a crash would undo.
        (Some(cause), _) => Err(RemovalError { remaining: count(&marked), cause }),
        (None, Some(cause)) => Err(RemovalError { remaining: count(&remaining), cause }),
        (None, None) => Ok(()),
    };
    let messages = marked.difference(&remaining).copied().collect();
    RemovalOutcome { messages, unlinked, result, unlinked_files }
}

/// Files that have no name any more and are still open. Freeing the blocks of a file is most of
/// what it costs to remove it, and is done when the last descriptor is closed.
#[derive(Debug)]
pub(super) struct UnlinkedFiles {
    files: BTreeMap<Position, OwnedFd>,
    acquired: Acquired,
}

impl UnlinkedFiles {
    /// The file of a message, if it was held.
    pub(super) fn file(&self, at: Position) -> Option<&OwnedFd> {
        self.files.get(&at)
    }
}

/// Descriptors for that.
static HELD: OnceLock<Permits> = OnceLock::new();

/// More would be of little use.
const MOST_HELD: usize = 1024;

/// These are among those that every server has to spare, see `config::files_for`.
const LEAST_HELD: usize = 16;

/// Has removals hold no more than so many files that have no name any more; they do not hold more
/// than some, and no fewer than a few. Counts when it is said before the first removal.
pub fn hold_at_most(files: usize) {
    // Whoever says it again, as after a reload, says it too late.
    HELD.get_or_init(|| Permits::new(files.clamp(LEAST_HELD, MOST_HELD)));
}

fn held() -> &'static Permits {
    HELD.get_or_init(|| Permits::new(MOST_HELD))
}

/// What came of trying to unlink a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unlink {
    /// It is removed, or cannot be.
    Done,
    /// It is not there any more.
    NotThere,
    /// Another file is there.
    OtherFile,
}

struct Removal<'a> {
    maildrop: &'a OpenMaildrop,
    folders: &'a Folders<'a>,
    hold: Hold,
    touched: BTreeSet<Folder>,
    remaining: BTreeSet<Position>,
    unlinked: BTreeSet<Position>,
    cause: Option<Failure>,
    freed: Freed,
    unlinked_files: UnlinkedFiles,
}

impl Removal<'_> {
    /// Removes a message where it was seen last.
    fn unlink_at_known_location(&mut self, at: Position) -> Visit {
        let location = self.maildrop.location(at);
        self.touched.insert(location.folder);
        if self.maildrop.listing.entry(at).telling_inode().is_some() {
            // Its name is not its own, or not its only one.
            return Visit::Retry;
        }
        match self.unlink(at, &location) {
            Unlink::Done => Visit::Done,
            // It may have been renamed before another file has got its name.
            Unlink::NotThere | Unlink::OtherFile => Visit::Retry,
        }
    }

    /// Looks for messages that are not where they were seen last.
    fn find_and_unlink(&mut self, missing: &[Position]) {
        let listing = &self.maildrop.listing;
        let targets = missing.iter().map(|&at| {
            let entry = listing.entry(at);
            Target { unique: entry.unique_name(), inode: entry.telling_inode(), id: at }
        });
        let searched = search(self.folders, targets.collect(), |&at, locations| {
            self.at_locations(at, locations)
        });
        match searched {
            // One that somebody else has removed is removed.
            Ok(not_found) => {
                for at in not_found.unstable {
                    let location = self.maildrop.location(at);
                    self.failed(at, &location, io::Error::other("it is renamed all the time"));
                }
            }
            Err(failure) => {
                self.remaining.extend(missing);
                self.cause.get_or_insert(failure);
            }
        }
    }

    fn at_locations(&mut self, at: Position, locations: &[Location]) -> Visit {
        let told_by_name = self.maildrop.listing.entry(at).telling_inode().is_none();
        if told_by_name && self.are_different_files(locations) {
            // The next session tells them apart, and none gets the unique-id of another.
            return self.refuse_other_file(at, locations.first());
        }
        let results = locations.iter().map(|location| {
            self.touched.insert(location.folder);
            self.unlink(at, location)
        });
        let results = results.collect::<Vec<_>>();
        let at_another = results.iter().position(|result| *result == Unlink::OtherFile);
        match at_another.filter(|_| told_by_name) {
            _ if results.contains(&Unlink::Done) => Visit::Done,
            Some(at_another) => self.refuse_other_file(at, locations.get(at_another)),
            None => Visit::Retry,
        }
    }

    /// Removes what is at a place, if it is the file of the message.
    fn unlink(&mut self, at: Position, location: &Location) -> Unlink {
        let held = self.hold(location);
        let unlinked = match self.is_the_file(at, location, held.as_ref()) {
            Ok(true) => self.folders.unlink(location.folder, &location.name),
            Ok(false) => return Unlink::OtherFile,
            Err(error) => Err(error),
        };
        match unlinked {
            Ok(()) => {
                let sizes = self.maildrop.listing.entry(at).sizes;
                let separator = self.maildrop.maildir.root().separator();
                self.freed.add(&location.name, separator, sizes.physical);
                self.unlinked_files.files.extend(held.map(|file| (at, file)));
                self.unlinked.insert(at);
                return Unlink::Done;
            }
            Err(Errno::NOENT) => return Unlink::NotThere,
            Err(NO_FILE) => self.failed(at, location, io::Error::other("it is no file any more")),
            Err(error) => self.failed(at, location, error.into()),
        }
        Unlink::Done
    }

    /// Opens what is going to be unlinked, if there is room for it.
    fn hold(&self, location: &Location) -> Option<OwnedFd> {
        if self.unlinked_files.files.len() >= self.unlinked_files.acquired.count() {
            return None;
        }
        match self.hold {
            Hold::PathOnly => self.folders.hold(location.folder, &location.name),
            Hold::Readable => self.folders.hold_to_read(location.folder, &location.name),
        }
    }

    /// Whether the file at a place is the one that the client knows, and no other that has taken its
    /// name since.
    fn is_the_file(
        &self,
        at: Position,
        location: &Location,
        held: Option<&OwnedFd>,
    ) -> Result<bool, Errno> {
        let known = self.maildrop.file(at);
        if known.inode.is_none() {
            return Ok(true);
        }
        let look = self.folders.look(location.folder, &location.name, held)?;
        Ok(known.is(&look))
    }

    fn refuse_other_file(&mut self, at: Position, location: Option<&Location>) -> Visit {
        if let Some(location) = location {
            let error = io::Error::other("another file has got the same unique name");
            self.failed(at, location, error);
        }
        Visit::Done
    }

    fn failed(&mut self, at: Position, location: &Location, error: io::Error) {
        let path = self.maildrop.maildir.describe(location.folder, &location.name);
        tracing::warn!(path, %error, "a message cannot be removed");
        self.remaining.insert(at);
        self.cause.get_or_insert_with(|| Failure::new(format!("remove {path}"), error));
    }

    fn are_different_files(&self, locations: &[Location]) -> bool {
        let mut inodes = locations.iter().filter_map(|location| self.inode(location));
        inodes.next().is_some_and(|first| inodes.any(|inode| inode != first))
    }

    fn inode(&self, location: &Location) -> Option<Inode> {
        self.folders.stat(location.folder, &location.name).ok().flatten()
    }
}
