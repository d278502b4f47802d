//! Which messages a Maildir has, while others deliver to it, remove from it and rename in it.
//!
//! While a file is renamed, reading its directory may show it twice or not at all. Therefore:
//! - A pass over both folders counts as whole when neither changed meanwhile, and when any change
//!   would have shown in their time stamps. One such pass is enough, and the usual case.
//! - Otherwise passes are repeated until several in a row agree, a bounded number of times, and
//!   their union is taken.
//! - What one pass saw and the last one did not is dropped only when it is not at its last known
//!   place either, and a further look misses it too.
//! - A message that the index knows and that was not seen is worth a few passes more.

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
    /// What was seen; it has the names of the files.
    pub(super) seen: Sightings,
    /// The messages.
    pub(super) files: Vec<FoundFile>,
    /// What the messages rest on, if the folders were at rest.
    pub(super) basis: Option<Basis>,
    /// How often both folders were read.
    pub(super) passes: u32,
}

/// A file that is a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundFile {
    /// Where it was seen last.
    pub(super) sighting: Sighting,
    /// Which file it is; nothing where that is not to be relied on, and nobody shares its name.
    pub(super) inode: Option<Inode>,
    /// What the unique name alone does not tell; whether it is the first or a later one of several
    /// is not known here.
    pub(super) namesake: Namesake,
}

impl FoundFile {
    /// The inode, where the unique name alone does not tell which file it is.
    pub(super) fn telling_inode(&self) -> Option<Inode> {
        self.inode.filter(|_| self.namesake != Namesake::None)
    }
}

/// Finds the messages of a Maildir; `index` is what was known of it.
///
/// # Errors
/// When a folder cannot be read whole.
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
        // What a pass misses of what others saw says how much all of them may have missed.
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

/// Makes files of sightings.
struct Resolution<'a, V> {
    folders: &'a V,
    last: u32,
    whole: bool,
}

/// What is left of the sightings of one unique name.
struct Unresolved {
    /// The files that are where they were seen.
    present: Vec<Candidate>,
    /// The unique name, when one more has left its place.
    lost: Option<Vec<u8>>,
}

/// A sighting that has been checked.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    sighting: Sighting,
    /// Nothing, when the file was seen, but had been renamed before it could be looked at.
    inode: Option<Inode>,
}

impl<V: View> Resolution<'_, V> {
    fn files(&self, seen: &mut Sightings) -> Result<Vec<FoundFile>, Failure> {
        let mut files = Vec::new();
        let mut unresolved = Vec::new();
        for sightings in seen.groups() {
            match sightings {
                // Nearly all are like this.
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
        // Where numbers do not tell files apart, one that is renamed between two looks would be two.
        if present.len() > 1 && !self.folders.has_stable_inodes() {
            present.retain(|Candidate { sighting, .. }| {
                self.folders.stat(sighting.folder, seen.name(sighting)).is_ok()
            });
        }
        let lost = sightings.iter().find(|sighting| {
            // What a whole pass did not see, and what is not at its place, is gone.
            let may_live = !self.whole || sighting.pass == self.last;
            may_live && !present.iter().any(|candidate| candidate.may_be(sighting))
        });
        let lost = lost.map(|sighting| seen.unique(sighting).to_vec());
        Ok(Unresolved { present, lost })
    }

    /// Looks for the files that have left their places.
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
            // A file that cannot be looked at now is one that is known already, if there is any.
            let known = one.present.iter().any(|known| may_be(inode, known.inode));
            if !known && let Some(sighting) = seen.add(&location, 0, self.last) {
                one.present.retain(|known| known.inode.is_some());
                one.present.push(Candidate { sighting, inode });
            }
        }
        Ok(())
    }

    /// The messages among the files of one unique name: a file is one message, by however many names.
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
            // One that nobody shares its name with is known by what tells all others.
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

/// Folders that do not come to rest are read until so many passes in a row agree.
const AGREEING_PASSES: u32 = 4;
/// A message of the last login that has not been seen is worth at least so many.
const PASSES_FOR_MISSING: u32 = 8;
/// More are not taken, whatever happens meanwhile.
const MOST_PASSES: u32 = 12;

#[cfg(test)]
mod tests;
