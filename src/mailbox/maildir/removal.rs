//! Removing messages: the UPDATE state's work on files (RFC 1939 §6).
//!
//! - A file is found by its unique name, even if another server has renamed it. If several files
//!   share the name, it is found by its inode: one DELE never removes two messages.
//! - A file is removed only if it is the one that was listed, or that the client has read since. If
//!   another file has taken the name, it stays, and the client learns that the message remains.
//! - A message that cannot be removed does not keep the others.
//! - Files that are unlinked here are subtracted from the quota usage of the Maildir. Files that
//!   another program has removed are not.
//! - The reply waits until the directories are synced. A crash brings back no message that the
//!   client believes to be removed.

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

/// The result of a removal.
#[derive(Debug)]
pub(super) struct RemovalOutcome {
    /// The messages that are gone.
    pub(super) messages: BTreeSet<Position>,
    /// Those of them that were unlinked here, and not by another program before.
    pub(super) unlinked: BTreeSet<Position>,
    pub(super) result: Result<(), RemovalError>,
    /// Dropping these takes time: do it when the reply has been sent.
    pub(super) unlinked_files: UnlinkedFiles,
}

/// How a file that is unlinked is kept open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Only to delay freeing its blocks.
    PathOnly,
    /// To read it afterwards.
    Readable,
}

/// Removes messages durably. Blocks until that is done.
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
            // The Maildir has been replaced or removed: a +OK would be about other messages.
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
        // A crash may undo any of the removals.
        (Some(cause), _) => Err(RemovalError { remaining: count(&marked), cause }),
        (None, Some(cause)) => Err(RemovalError { remaining: count(&remaining), cause }),
        (None, None) => Ok(()),
    };
    let messages = marked.difference(&remaining).copied().collect();
    RemovalOutcome { messages, unlinked, result, unlinked_files }
}

/// Files that have been unlinked and are still open. The system frees the blocks of a file when the
/// last descriptor is closed; that is most of the cost of a removal.
#[derive(Debug)]
pub(super) struct UnlinkedFiles {
    files: BTreeMap<Position, OwnedFd>,
    acquired: Acquired,
}

impl UnlinkedFiles {
    /// The file of a message, if it is still open.
    pub(super) fn file(&self, at: Position) -> Option<&OwnedFd> {
        self.files.get(&at)
    }
}

/// The descriptors for unlinked files.
static HELD: OnceLock<Permits> = OnceLock::new();

/// More descriptors gain little.
const MOST_HELD: usize = 1024;

/// Every server has these to spare, see `config::files_for`.
const LEAST_HELD: usize = 16;

/// Sets how many unlinked files all removals together may keep open, within fixed bounds. Call it
/// before the first removal; later calls have no effect.
pub fn hold_at_most(files: usize) {
    // A call after a reload has no effect.
    HELD.get_or_init(|| Permits::new(files.clamp(LEAST_HELD, MOST_HELD)));
}

fn held() -> &'static Permits {
    HELD.get_or_init(|| Permits::new(MOST_HELD))
}

/// The result of unlinking the file at a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unlink {
    /// It is removed, or cannot be removed.
    Done,
    /// The location is empty.
    NotThere,
    /// Another file is at the location.
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
            // Other files share its unique name, or it has several names: find it by inode.
            return Visit::Retry;
        }
        match self.unlink(at, &location) {
            Unlink::Done => Visit::Done,
            // It may have been renamed before another file took its name.
            Unlink::NotThere | Unlink::OtherFile => Visit::Retry,
        }
    }

    /// Finds messages that are not where they were seen last, and removes them.
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
            // A message that another program has removed is removed.
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
            // The next session distinguishes them and gives each its own unique-id.
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

    /// Unlinks the file at a location, if it is the file of the message.
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
            Err(NO_FILE) => self.failed(at, location, io::Error::other("it is no longer a file")),
            Err(error) => self.failed(at, location, error.into()),
        }
        Unlink::Done
    }

    /// Opens the file that is going to be unlinked, if a permit is left.
    fn hold(&self, location: &Location) -> Option<OwnedFd> {
        if self.unlinked_files.files.len() >= self.unlinked_files.acquired.count() {
            return None;
        }
        match self.hold {
            Hold::PathOnly => self.folders.hold(location.folder, &location.name),
            Hold::Readable => self.folders.hold_to_read(location.folder, &location.name),
        }
    }

    /// Whether the file at a location is the one that the client knows, and not another that has
    /// taken its name since.
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
        self.folders.stat_as_cached(location.folder, &location.name).ok().flatten()
    }
}
