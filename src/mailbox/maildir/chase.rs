//! Finding files again that have been renamed since they were seen.
//!
//! Another server renames a file whenever a flag of the message changes; only the unique name
//! stays. A file counts as gone when two full looks at both folders have missed it, the second of
//! them undisturbed; or a few more, where the folders do not come to rest.

use std::collections::HashMap;

use super::super::Failure;
use super::folder::{Folder, NO_FILE, Place};
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
    /// Seen at every look, and elsewhere when visited, or not to be looked at.
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
            match sight(folders, &wanted, &places) {
                Sight::At(places) if visit(&wanted.token, &places) == Visit::Done => {}
                Sight::At(_) | Sight::Unsure => still.push((wanted, 0)),
                Sight::Missed => {
                    let misses = misses + 1;
                    if misses >= if basis.is_some() { LOOKS } else { LOOKS_AT_UNREST } {
                        gone.push(wanted.token);
                    } else {
                        still.push((wanted, misses));
                    }
                }
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

/// What a look has seen of a file.
enum Sight {
    At(Vec<Place>),
    /// Something has its unique name and could not be looked at: it has been renamed since, say.
    Unsure,
    Missed,
}

fn sight<T>(
    folders: &impl View,
    wanted: &Wanted<'_, T>,
    places: &HashMap<&[u8], Vec<Place>>,
) -> Sight {
    let mut candidates = places.get(wanted.unique).cloned().unwrap_or_default();
    let mut unsure = false;
    if wanted.inode.is_some() {
        candidates.retain(|place| match folders.stat(place.folder, &place.name) {
            Ok(inode) => inode == wanted.inode,
            Err(NO_FILE) => false,
            Err(_) => {
                unsure = true;
                false
            }
        });
    }
    candidates.sort_unstable();
    match candidates.is_empty() {
        false => Sight::At(candidates),
        true if unsure => Sight::Unsure,
        true => Sight::Missed,
    }
}

/// So many looks must miss a file that is gone.
const LOOKS: u32 = 2;
/// The same, when none of them was undisturbed.
const LOOKS_AT_UNREST: u32 = 6;

/// A file that is renamed between a look and the visit this many times in a row is given up.
const MOST_LOOKS: u32 = 50;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rustix::io::Errno;

    use super::super::folder::{FileId, Ignored};
    use super::super::separator::Separator;
    use super::super::stamp::{Moment, Stamp, Stamps};
    use super::*;

    /// Two folders that seem to rest, and a file of which only its name is ever seen.
    struct Restless {
        renames: Cell<u64>,
        error: Errno,
    }

    impl View for Restless {
        fn separator(&self) -> Separator {
            Separator::Colon
        }

        fn read(
            &self,
            folder: Folder,
            mut each: impl FnMut(&[u8], u64),
        ) -> Result<Ignored, Failure> {
            if folder == Folder::Cur {
                let flags = ["", "S"][usize::from(self.renames.get().is_multiple_of(2))];
                each(format!("1.a:2,{flags}").as_bytes(), 7);
            }
            Ok(Ignored::default())
        }

        fn stat(&self, _: Folder, _: &[u8]) -> Result<Option<Inode>, Errno> {
            self.renames.set(self.renames.get() + 1);
            Err(self.error)
        }

        fn inode(&self, number: u64) -> Option<Inode> {
            Inode::new(number)
        }

        fn numbers_files(&self) -> bool {
            true
        }

        fn describe(&self, _: Folder, _: &[u8]) -> String {
            "1.a".to_owned()
        }

        fn clock(&self) -> Option<Moment> {
            Some(Moment::at(2))
        }

        fn stamps(&self) -> Result<Stamps, Failure> {
            let stamp = |number| Stamp::new(FileId::from_words([1, number]), Moment::at(1));
            Ok(Stamps { new: stamp(1), cur: stamp(2) })
        }

        fn are_stamped_faithfully(&self) -> bool {
            true
        }
    }

    #[test]
    fn what_is_renamed_whenever_it_is_looked_at_is_not_gone() {
        for error in [Errno::NOENT, Errno::IO, Errno::STALE] {
            let folders = Restless { renames: Cell::new(0), error };
            let wanted = Wanted { unique: &b"1.a"[..], inode: Inode::new(7), token: () };
            let not_found = chase(&folders, vec![wanted], |(), _| Visit::Missed).unwrap();
            assert_eq!(not_found, NotFound { gone: vec![], elusive: vec![()] }, "{error}");
        }
    }

    #[test]
    fn what_has_left_its_name_to_something_else_is_gone() {
        let folders = Restless { renames: Cell::new(0), error: NO_FILE };
        let wanted = Wanted { unique: &b"1.a"[..], inode: Inode::new(7), token: () };
        let not_found = chase(&folders, vec![wanted], |(), _| Visit::Missed).unwrap();
        assert_eq!(not_found, NotFound { gone: vec![()], elusive: vec![] });
    }
}
