//! Taking the listing at login: from the index if it still holds, else from a scan of the folders,
//! with the sizes in the index. Messages that are not in the index are read and counted.

use std::{io, mem};

use rustix::io::Errno;

use super::super::{Failure, Position};
use super::count::{self, Counted, Counter, Uncounted};
use super::entry::Sizes;
use super::folder::Ignored;
use super::folders::Folders;
use super::index::Index;
use super::inode::Inode;
use super::listing::{Builder, Listing};
use super::match_index::{IndexMatch, match_index};
use super::scan::{FoundFile, Scan, scan};
use super::search::{Target, Visit, search};
use super::sightings::Sightings;
use super::stamp::Basis;
use super::time_limit::TimeLimit;

/// How a listing was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ListingStats {
    /// How often both folders were read; 0 when the index held.
    pub(super) passes: u32,
    /// The number of message files that were counted.
    pub(super) opened: u32,
    /// The number of messages that cannot be read.
    pub(super) left_out: u32,
    /// Whether the messages in the index differ.
    pub(super) index_is_stale: bool,
    /// The number of files in the index that were not found.
    pub(super) not_found: u32,
}

/// A listing, with its basis.
#[derive(Debug)]
pub(super) struct TakenListing {
    pub(super) listing: Listing,
    /// `None` if the folders changed meanwhile, or if that is unknown: then the next login scans
    /// them.
    pub(super) basis: Option<Basis>,
    pub(super) stats: ListingStats,
    /// The index of the last session. If nothing has changed since, its messages are those of
    /// `listing`, and it is left without.
    pub(super) index: Index,
    /// The messages that cannot be read.
    pub(super) left_out: Vec<LeftOut>,
}

impl TakenListing {
    /// Whether the listing is that of the index.
    pub(super) fn is_unchanged(&self) -> bool {
        self.stats.passes == 0
    }

    /// The positions of all messages.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> + use<> {
        (0..self.listing.count()).map(Position)
    }
}

/// A message that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) unique: Box<[u8]>,
    pub(super) inode: Option<Inode>,
}

/// Takes the listing of a Maildir.
///
/// # Errors
/// When a folder cannot be read, or a message because of an error that is not about this message.
/// Messages with errors about them are left out.
pub(super) fn take_listing(
    folders: &Folders<'_>,
    limit: &TimeLimit,
) -> Result<TakenListing, Failure> {
    let index = match from_index(folders, Index::read(folders.maildir().root()))? {
        FromIndex::Holds(taken) => return Ok(taken),
        FromIndex::Outdated(index) => index,
    };
    let Scan { mut seen, mut files, basis, passes } = scan(folders, &index)?;
    let IndexMatch { sizes, not_found } = match_index(folders, &seen, &mut files, &index);
    let mut sizes = sizes.into_iter().map(KnownSizes::from).collect::<Vec<_>>();
    let mut counting = Counting { folders, limit, opened: 0, left_out: Ignored::default() };
    if sizes.contains(&KnownSizes::Uncounted) {
        counting.all(&mut seen, &mut files, &mut sizes)?;
    }
    let mut builder = Builder::new(folders.maildir().root().separator());
    let mut left_out = Vec::new();
    for (file, known) in files.iter().zip(&sizes) {
        match known {
            KnownSizes::Sizes(sizes) => {
                let location = (file.sighting.folder, seen.name(&file.sighting));
                builder.push(location, file.inode, file.namesake, *sizes)?;
            }
            KnownSizes::Unreadable => {
                let unique = seen.unique(&file.sighting).into();
                left_out.push(LeftOut { unique, inode: file.inode });
            }
            KnownSizes::Uncounted => {}
        }
    }
    let count = counting.left_out.count;
    if let Some(first) = counting.left_out.first {
        if builder.is_empty() {
            // If no message can be read, something is wrong with the Maildir.
            let error = io::Error::other(format!("no message can be read, the first is {first}"));
            let what = format!("read {}", folders.maildir().root().path().display());
            return Err(Failure::new(what, error));
        }
        tracing::warn!(count, first, "messages that cannot be read are left out");
    }
    // A message that is left out may become readable without a change of its folder.
    let basis = basis.filter(|_| count == 0 && folders.maildir().has_reliable_ctime());
    let stats = ListingStats {
        passes,
        opened: counting.opened,
        left_out: count,
        index_is_stale: not_found > 0 || counting.opened > 0,
        not_found,
    };
    Ok(TakenListing { listing: builder.finish(), basis, stats, index, left_out })
}

/// Takes the listing from the index without waiting; `None` if it does not hold.
pub(super) fn take_listing_at_once(folders: &Folders<'_>) -> Option<TakenListing> {
    let index = Index::read_at_once(folders.maildir().root())?;
    match from_index(folders, index).ok()? {
        FromIndex::Holds(taken) => Some(taken),
        FromIndex::Outdated(_) => None,
    }
}

/// Whether the index still holds.
enum FromIndex {
    Holds(TakenListing),
    Outdated(Index),
}

/// Takes the listing out of the index, if it still holds.
fn from_index(folders: &Folders<'_>, mut index: Index) -> Result<FromIndex, Failure> {
    match index.basis {
        Some(basis) if folders.are_still(&basis)? => {
            let listing = mem::take(&mut index.listing);
            let (stats, left_out) = (ListingStats::default(), Vec::new());
            let basis = Some(basis);
            Ok(FromIndex::Holds(TakenListing { listing, basis, stats, index, left_out }))
        }
        _ => Ok(FromIndex::Outdated(index)),
    }
}

/// The sizes of a file, as far as they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnownSizes {
    Sizes(Sizes),
    Uncounted,
    /// The file cannot be read, or is gone.
    Unreadable,
}

impl From<Option<Sizes>> for KnownSizes {
    fn from(sizes: Option<Sizes>) -> Self {
        sizes.map_or(Self::Uncounted, Self::Sizes)
    }
}

struct Counting<'a> {
    folders: &'a Folders<'a>,
    limit: &'a TimeLimit,
    opened: u32,
    left_out: Ignored,
}

impl Counting<'_> {
    /// Counts the files whose sizes are not known.
    fn all(
        &mut self,
        seen: &mut Sightings,
        files: &mut [FoundFile],
        sizes: &mut [KnownSizes],
    ) -> Result<(), Failure> {
        let unknown = files.iter().zip(&*sizes).enumerate();
        let unknown = unknown.filter(|(_, (_, known))| **known == KnownSizes::Uncounted);
        let mut unknown = unknown.map(|(at, (file, _))| (at, *file)).collect::<Vec<_>>();
        // Inodes that are close to each other are close to each other on a disk.
        unknown.sort_unstable_by_key(|(_, file)| file.sighting.inode);
        let uncounted = unknown.iter().map(|(_, file)| uncounted(seen, file)).collect::<Vec<_>>();
        let counted = count::all(self.folders, &uncounted, self.limit);
        let mut renamed = Vec::new();
        for (((at, file), uncounted), counted) in unknown.iter().zip(&uncounted).zip(counted) {
            match (self.after_counting(uncounted, counted)?, sizes.get_mut(*at)) {
                (Some(counted), Some(known)) => *known = counted,
                _ => renamed.push((*at, seen.unique(&file.sighting).to_vec())),
            }
        }
        self.again(seen, files, sizes, &renamed)
    }

    /// Counts the files that have been renamed since they were seen.
    fn again(
        &mut self,
        seen: &mut Sightings,
        files: &mut [FoundFile],
        sizes: &mut [KnownSizes],
        renamed: &[(usize, Vec<u8>)],
    ) -> Result<(), Failure> {
        let targets = renamed.iter().filter_map(|(at, unique)| {
            let inode = files.get(*at)?.telling_inode();
            Some(Target { unique, inode, id: *at })
        });
        let mut counter = Counter::new(self.folders, self.limit);
        let mut failure = None;
        let mut found = Vec::new();
        let not_found = search(self.folders, targets.collect(), |&at, locations| {
            let Some(file) = files.get(at) else { return Visit::Done };
            for location in locations {
                let inode = file.telling_inode();
                let uncounted = Uncounted { folder: location.folder, name: &location.name, inode };
                match self.after_counting(&uncounted, counter.count(&uncounted)) {
                    Ok(Some(known)) => {
                        found.push((at, location.clone(), known));
                        return Visit::Done;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        failure.get_or_insert(error);
                        return Visit::Done;
                    }
                }
            }
            Visit::Retry
        })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        for (at, location, known) in found {
            if let (Some(file), Some(sizes)) = (files.get_mut(at), sizes.get_mut(at))
                && let Some(sighting) = seen.add(&location, file.sighting.inode, file.sighting.pass)
            {
                file.sighting = sighting;
                *sizes = known;
            }
        }
        if !not_found.unstable.is_empty() {
            let error = io::Error::other("a message is renamed all the time");
            let what = format!("read {}", self.folders.maildir().root().path().display());
            return Err(Failure::new(what, error));
        }
        Ok(())
    }

    /// The sizes after a count; `None` when the file was not at its location.
    fn after_counting(
        &mut self,
        file: &Uncounted<'_>,
        counted: Counted,
    ) -> Result<Option<KnownSizes>, Failure> {
        match counted {
            Ok(sizes) => {
                self.opened += 1;
                Ok(Some(KnownSizes::Sizes(sizes)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let path = self.folders.maildir().describe(file.folder, file.name);
                if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() {
                    // The client has gone, so only the log can say this.
                    tracing::warn!(
                        path,
                        "counting was given up: it takes too long and the client has gone"
                    );
                }
                if !is_about_this_file_alone(&error) {
                    return Err(Failure::new(format!("read {path}"), error));
                }
                tracing::debug!(path, %error, "left out");
                self.left_out.add(|| format!("{path}: {error}"));
                Ok(Some(KnownSizes::Unreadable))
            }
        }
    }
}

fn uncounted<'a>(seen: &'a Sightings, file: &FoundFile) -> Uncounted<'a> {
    let sighting = &file.sighting;
    let name = seen.name(sighting);
    Uncounted { folder: sighting.folder, name, inode: file.telling_inode() }
}

/// Whether an error is about one file: it cannot be opened, or holds no message. After another
/// error, say too many open files or a failing disk, no message may be left out.
fn is_about_this_file_alone(error: &io::Error) -> bool {
    match Errno::from_io_error(error) {
        Some(errno) => matches!(errno, Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NXIO),
        // Not a regular file, or not a message that can be read.
        None => matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData),
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::of_reading;
    use super::*;

    #[test]
    fn only_what_cannot_be_opened_or_decompressed_is_left_out() {
        for errno in [Errno::ACCESS, Errno::PERM, Errno::LOOP, Errno::NXIO] {
            assert!(is_about_this_file_alone(&errno.into()), "{errno}");
            assert!(!is_about_this_file_alone(&of_reading(errno.into())), "{errno}");
        }
        for errno in [Errno::IO, Errno::STALE, Errno::MFILE, Errno::NOMEM, Errno::TIMEDOUT] {
            assert!(!is_about_this_file_alone(&errno.into()), "{errno}");
        }
        let of_kind = |kind: io::ErrorKind| of_reading(kind.into());
        assert!(is_about_this_file_alone(&of_kind(io::ErrorKind::InvalidData)));
        assert!(!is_about_this_file_alone(&of_kind(io::ErrorKind::UnexpectedEof)));
    }
}
