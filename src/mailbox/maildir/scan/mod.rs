//! Finding the messages of a Maildir while other programs deliver, remove and rename files.
//!
//! While a file is renamed, reading its directory may return it twice or not at all. Therefore:
//! - A pass over both folders is complete if their time stamps prove that neither changed
//!   meanwhile. One such pass is enough, and the usual case.
//! - Otherwise passes are repeated until several in a row agree, up to a limit, and their union is
//!   taken.
//! - A file that an earlier pass saw and the last one did not is dropped only if it is not at its
//!   last known location, and a search does not find it either.
//! - If a message of the index was not seen, a few more passes are made.

use rustix::io::Errno;

use super::super::Failure;
use super::entry::Namesake;
use super::folder::NO_FILE;
use super::index::Index;
use super::inode::{Inode, may_be};
use super::search::{Target, Visit, search};
use super::sightings::{Sighting, Sightings};
use super::stamp::Basis;
use super::view::View;

/// The files that are messages, in the order of the listing.
#[derive(Debug)]
pub(super) struct Scan {
    /// The sightings, with the names of the files.
    pub(super) seen: Sightings,
    /// The messages.
    pub(super) files: Vec<FoundFile>,
    /// The basis, if the folders did not change during the last pass.
    pub(super) basis: Option<Basis>,
    /// How often both folders were read.
    pub(super) passes: u32,
}

/// A file that is a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundFile {
    /// Its last sighting.
    pub(super) sighting: Sighting,
    /// Its inode; `None` where inode numbers are not reliable and no file shares its name.
    pub(super) inode: Option<Inode>,
    /// `None` or `Itself`: `match_index` decides which of several files is the first.
    pub(super) namesake: Namesake,
}

impl FoundFile {
    /// The inode, where the unique name alone does not identify the file.
    pub(super) fn telling_inode(&self) -> Option<Inode> {
        self.inode.filter(|_| self.namesake != Namesake::None)
    }
}

/// Finds the messages of a Maildir; `index` is the index of the last session.
///
/// # Errors
/// When a folder cannot be read completely.
pub(super) fn scan(folders: &impl View, index: &Index) -> Result<Scan, Failure> {
    let mut seen = Sightings::default();
    let mut passes = 0;
    let mut agreeing = 0;
    let basis = loop {
        passes += 1;
        let (mut pass, basis) = folders.undisturbed(|| Sightings::read(folders, passes))?;
        let grown = pass.absorb(&seen);
        seen = pass;
        if basis.is_some() || passes == MOST_PASSES {
            break basis;
        }
        let incomplete = passes < PASSES_FOR_MISSING && index.knows_more_than(&seen);
        // If this pass missed a message that an earlier pass saw, or that the index has, any pass
        // may have missed some: start counting again.
        agreeing = if grown || incomplete || missed(&seen, passes) { 0 } else { agreeing + 1 };
        if agreeing == AGREEING_PASSES {
            break None;
        }
    };
    if let Some(first) = &seen.ignored().first {
        tracing::warn!(count = seen.ignored().count, first, "not messages, ignored");
    }
    let files = Resolution { folders, last: passes, whole: basis.is_some() }.files(&mut seen)?;
    Ok(Scan { seen, files, basis, passes })
}

/// Whether the last pass missed a message that an earlier one saw.
fn missed(seen: &Sightings, last: u32) -> bool {
    seen.groups().any(|group| group.iter().all(|sighting| sighting.pass < last))
}

/// Decides which files the sightings are.
struct Resolution<'a, V> {
    folders: &'a V,
    last: u32,
    whole: bool,
}

/// The sightings of one unique name, which must be checked.
struct Unresolved {
    /// The files that are still where they were seen.
    present: Vec<Candidate>,
    /// The unique name, if a file is no longer where it was seen.
    lost: Option<Vec<u8>>,
}

/// A sighting that has been checked.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    sighting: Sighting,
    /// `None` if the file was renamed before its inode could be read.
    inode: Option<Inode>,
}

impl<V: View> Resolution<'_, V> {
    fn files(&self, seen: &mut Sightings) -> Result<Vec<FoundFile>, Failure> {
        let mut files = Vec::new();
        let mut unresolved = Vec::new();
        for sightings in seen.groups() {
            match sightings {
                // The usual case.
                [only] if only.pass == self.last => {
                    let inode = self.folders.inode(only.inode);
                    let namesake = Namesake::None;
                    files.push(FoundFile { sighting: *only, inode, namesake });
                }
                _ => unresolved.push(self.resolve(seen, sightings)?),
            }
        }
        if unresolved.is_empty() {
            return Ok(files);
        }
        self.find(seen, &mut unresolved)?;
        for one in unresolved {
            files.extend(self.distinct_files(seen, one.present));
        }
        files.sort_unstable_by(|a, b| seen.order(&a.sighting, &b.sighting));
        Ok(files)
    }

    fn resolve(&self, seen: &Sightings, sightings: &[Sighting]) -> Result<Unresolved, Failure> {
        let mut present = Vec::new();
        for &sighting in sightings {
            let name = seen.name(&sighting);
            match self.folders.stat(sighting.folder, name) {
                Ok(inode) => present.push(Candidate { sighting, inode }),
                Err(Errno::NOENT | NO_FILE) => {}
                Err(error) => {
                    let what = format!("look at {}", self.folders.describe(sighting.folder, name));
                    return Err(Failure::new(what, error.into()));
                }
            }
        }
        // Without stable inodes, a file that is renamed between two checks would count as two.
        if present.len() > 1 && !self.folders.has_stable_inodes() {
            present.retain(|Candidate { sighting, .. }| {
                self.folders.stat(sighting.folder, seen.name(sighting)).is_ok()
            });
        }
        let lost = sightings.iter().find(|sighting| {
            // A file that a complete pass did not see, and that is not at its location, is gone.
            let may_live = !self.whole || sighting.pass == self.last;
            may_live && !present.iter().any(|candidate| candidate.may_be(sighting))
        });
        let lost = lost.map(|sighting| seen.unique(sighting).to_vec());
        Ok(Unresolved { present, lost })
    }

    /// Searches for the files that are no longer where they were seen.
    fn find(&self, seen: &mut Sightings, unresolved: &mut [Unresolved]) -> Result<(), Failure> {
        let mut found = Vec::new();
        let lost = unresolved
            .iter()
            .enumerate()
            .filter_map(|(id, one)| Some(Target { unique: one.lost.as_deref()?, inode: None, id }));
        search(self.folders, lost.collect(), |&at, locations| {
            for location in locations {
                let inode = self.folders.stat(location.folder, &location.name).unwrap_or(None);
                found.push((at, location.clone(), inode));
            }
            Visit::Done
        })?;
        for (at, location, inode) in found {
            let Some(one) = unresolved.get_mut(at) else { continue };
            // A file without an inode counts as one of the present files, if there are any.
            let known = one.present.iter().any(|known| may_be(inode, known.inode));
            if !known && let Some(sighting) = seen.add(&location, 0, self.last) {
                one.present.retain(|known| known.inode.is_some());
                one.present.push(Candidate { sighting, inode });
            }
        }
        Ok(())
    }

    /// The messages among the files of one unique name. A file with several names is one message.
    fn distinct_files(&self, seen: &Sightings, mut candidates: Vec<Candidate>) -> Vec<FoundFile> {
        candidates.sort_unstable_by(|a, b| seen.order(&a.sighting, &b.sighting));
        let names = candidates.len();
        let mut files = Vec::<Candidate>::new();
        for candidate in candidates {
            if files.iter().all(|file| file.inode != candidate.inode) {
                files.push(candidate);
            }
        }
        let alone = files.len() == 1;
        let found = |&Candidate { sighting, inode }: &Candidate| {
            let itself = alone && names > 1 && inode.is_some();
            let namesake = if itself { Namesake::Itself } else { Namesake::None };
            // A single file gets its inode in the same way as all others.
            let given = self.folders.inode(sighting.inode);
            let looked_at = inode.filter(|_| !alone || itself || self.folders.has_stable_inodes());
            let inode = looked_at.or(given);
            FoundFile { sighting, inode, namesake }
        };
        files.iter().map(found).collect()
    }
}

impl Candidate {
    fn may_be(&self, sighting: &Sighting) -> bool {
        let inode = sighting.inode;
        self.sighting.inode == inode || Inode::number(self.inode) == inode
    }
}

/// While the folders change, they are read until this many passes in a row agree.
const AGREEING_PASSES: u32 = 4;
/// The number of passes while a message of the index has not been seen.
const PASSES_FOR_MISSING: u32 = 8;
/// The limit.
const MOST_PASSES: u32 = 12;

#[cfg(test)]
mod tests;
