//! Searching for files that have been renamed since they were seen.
//!
//! Another server renames a file whenever a flag of the message changes; only the unique name
//! stays. A file counts as gone when two full passes over both folders have missed it, the second
//! of them undisturbed; or a few more, where the folders change all the time.

use std::collections::HashMap;

use super::super::Failure;
use super::folder::{Folder, Location, NO_FILE};
use super::inode::Inode;
use super::name;
use super::view::View;

/// A file to search for.
#[derive(Debug)]
pub(super) struct Target<'a, T> {
    /// Its unique name.
    pub(super) unique: &'a [u8],
    /// Its inode, when other files share the unique name.
    pub(super) inode: Option<Inode>,
    /// How the caller identifies it.
    pub(super) id: T,
}

/// The result of a visit to the places where a file was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// The caller is done with the file.
    Done,
    /// The file was no longer there: search again.
    Retry,
}

/// The files for which no visit was [`Visit::Done`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotFound<T> {
    /// Another program has removed these.
    pub(super) gone: Vec<T>,
    /// Every pass saw these, but they had moved before each visit, or could not be examined.
    pub(super) unstable: Vec<T>,
}

/// Searches for files. Calls `visit` for each file that a pass has found, until it is done or gone.
///
/// A visit gets all possible locations of the file: usually one, and never none.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn search<'a, T>(
    folders: &impl View,
    targets: Vec<Target<'a, T>>,
    mut visit: impl FnMut(&T, &[Location]) -> Visit,
) -> Result<NotFound<T>, Failure> {
    let mut gone = Vec::new();
    let mut sought = targets.into_iter().map(|target| (target, 0)).collect::<Vec<_>>();
    for _ in 0..MOST_PASSES {
        if sought.is_empty() {
            break;
        }
        let (locations, basis) = folders
            .undisturbed(|| pass(folders, sought.iter().map(|(target, _)| target.unique)))?;
        let mut still = Vec::new();
        for (target, misses) in sought {
            match matches(folders, &target, &locations) {
                Match::At(locations) if visit(&target.id, &locations) == Visit::Done => {}
                Match::At(_) | Match::Unsure => still.push((target, 0)),
                Match::None => {
                    let misses = misses + 1;
                    if misses >= if basis.is_some() { PASSES } else { DISTURBED_PASSES } {
                        gone.push(target.id);
                    } else {
                        still.push((target, misses));
                    }
                }
            }
        }
        sought = still;
    }
    Ok(NotFound { gone, unstable: sought.into_iter().map(|(target, _)| target.id).collect() })
}

/// Reads both folders for files with these unique names.
fn pass<'a>(
    folders: &impl View,
    uniques: impl Iterator<Item = &'a [u8]>,
) -> Result<HashMap<&'a [u8], Vec<Location>>, Failure> {
    let mut locations = uniques.map(|unique| (unique, Vec::new())).collect::<HashMap<_, _>>();
    let separator = folders.separator();
    for folder in Folder::READING_ORDER {
        folders.read(folder, |file_name, _| {
            if let Some(locations) = locations.get_mut(name::unique(file_name, separator)) {
                locations.push(Location::new(folder, file_name));
            }
        })?;
    }
    Ok(locations)
}

/// What a pass has found of a target.
enum Match {
    At(Vec<Location>),
    /// A file has its unique name and could not be examined: it has been renamed since, say.
    Unsure,
    None,
}

fn matches<T>(
    folders: &impl View,
    target: &Target<'_, T>,
    locations: &HashMap<&[u8], Vec<Location>>,
) -> Match {
    let mut candidates = locations.get(target.unique).cloned().unwrap_or_default();
    let mut unsure = false;
    if target.inode.is_some() {
        candidates.retain(|location| match folders.stat(location.folder, &location.name) {
            Ok(inode) => inode == target.inode,
            Err(NO_FILE) => false,
            Err(_) => {
                unsure = true;
                false
            }
        });
    }
    candidates.sort_unstable();
    match candidates.is_empty() {
        false => Match::At(candidates),
        true if unsure => Match::Unsure,
        true => Match::None,
    }
}

/// The number of passes that must miss a file that is gone, the last of them undisturbed.
const PASSES: u32 = 2;
/// The number if none of them was undisturbed.
const DISTURBED_PASSES: u32 = 6;

/// A search ends after this many passes, with files that were renamed before each visit.
const MOST_PASSES: u32 = 50;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rustix::io::Errno;

    use super::super::file_id::FileId;
    use super::super::folder::Ignored;
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

        fn has_stable_inodes(&self) -> bool {
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

        fn have_reliable_ctime(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_file_that_is_renamed_before_each_visit_is_not_gone() {
        for error in [Errno::NOENT, Errno::IO, Errno::STALE] {
            let folders = Restless { renames: Cell::new(0), error };
            let target = Target { unique: &b"1.a"[..], inode: Inode::new(7), id: () };
            let not_found = search(&folders, vec![target], |(), _| Visit::Retry).unwrap();
            assert_eq!(not_found, NotFound { gone: vec![], unstable: vec![()] }, "{error}");
        }
    }

    #[test]
    fn a_file_whose_name_another_has_taken_is_gone() {
        let folders = Restless { renames: Cell::new(0), error: NO_FILE };
        let target = Target { unique: &b"1.a"[..], inode: Inode::new(7), id: () };
        let not_found = search(&folders, vec![target], |(), _| Visit::Retry).unwrap();
        assert_eq!(not_found, NotFound { gone: vec![()], unstable: vec![] });
    }
}
