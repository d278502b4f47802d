//! Finding files again that have been renamed since they were seen.
//!
//! Another server renames a file whenever a flag of the message changes; only the unique name
//! stays. A file counts as gone when two full looks at both folders have missed it, the second of
//! them undisturbed; or a few more, where the folders do not come to rest.

use std::collections::HashMap;

use super::super::Failure;
use super::folder::{Folder, Place};
use super::inode::Inode;
use super::name;
use super::view::View;

/// A file that is looked for.
#[derive(Debug)]
pub(super) struct Wanted<'a, T> {
    /// Its unique name.
    pub(super) unique: &'a [u8],
    /// The file itself, when others share the unique name.
    pub(super) inode: Option<Inode>,
    /// What the seeker knows it by.
    pub(super) token: T,
}

/// What came of going to the places where a file was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// There is nothing more to do about it.
    Done,
    /// It was not there any more.
    Missed,
}

/// What was not found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotFound<T> {
    /// Removed by somebody.
    pub(super) gone: Vec<T>,
    /// Seen at every look, and elsewhere when visited.
    pub(super) elusive: Vec<T>,
}

/// Looks for files and visits each where it was found, until there is nothing more to do.
///
/// A visit is given all places at which the file may be, at least one; usually there is one.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn chase<'a, T>(
    folders: &impl View,
    wanted: Vec<Wanted<'a, T>>,
    mut visit: impl FnMut(&T, &[Place]) -> Visit,
) -> Result<NotFound<T>, Failure> {
    let mut gone = Vec::new();
    let mut sought = wanted.into_iter().map(|wanted| (wanted, 0)).collect::<Vec<_>>();
    for _ in 0..MOST_LOOKS {
        if sought.is_empty() {
            break;
        }
        let (places, basis) = folders
            .undisturbed(|| look(folders, sought.iter().map(|(wanted, _)| wanted.unique)))?;
        let mut still = Vec::new();
        for (wanted, misses) in sought {
            let candidates = candidates(folders, &wanted, &places);
            if candidates.is_empty() {
                let misses = misses + 1;
                if misses >= if basis.is_some() { LOOKS } else { LOOKS_AT_UNREST } {
                    gone.push(wanted.token);
                } else {
                    still.push((wanted, misses));
                }
            } else if visit(&wanted.token, &candidates) == Visit::Missed {
                still.push((wanted, 0));
            }
        }
        sought = still;
    }
    Ok(NotFound { gone, elusive: sought.into_iter().map(|(wanted, _)| wanted.token).collect() })
}

fn look<'a>(
    folders: &impl View,
    uniques: impl Iterator<Item = &'a [u8]>,
) -> Result<HashMap<&'a [u8], Vec<Place>>, Failure> {
    let mut places = uniques.map(|unique| (unique, Vec::new())).collect::<HashMap<_, _>>();
    let separator = folders.separator();
    for folder in Folder::READING_ORDER {
        folders.read(folder, |file_name, _| {
            if let Some(places) = places.get_mut(name::unique(file_name, separator)) {
                places.push(Place::new(folder, file_name));
            }
        })?;
    }
    Ok(places)
}

fn candidates<T>(
    folders: &impl View,
    wanted: &Wanted<'_, T>,
    places: &HashMap<&[u8], Vec<Place>>,
) -> Vec<Place> {
    let mut candidates = places.get(wanted.unique).cloned().unwrap_or_default();
    if wanted.inode.is_some() {
        candidates.retain(|place| folders.stat(place.folder, &place.name) == Ok(wanted.inode));
    }
    candidates.sort_unstable();
    candidates
}

/// So many looks must miss a file that is gone.
const LOOKS: u32 = 2;
/// The same, when none of them was undisturbed.
const LOOKS_AT_UNREST: u32 = 6;

/// A file that is renamed between a look and the visit this many times in a row is given up.
const MOST_LOOKS: u32 = 50;
