//! Which unique-id is whose, when files share a unique name.
//!
//! The unique name of a file is its unique-id, as long as no other file has the same. From when two
//! are seen, the one that was there before, and nobody else, keeps that unique-id; every other file
//! gets a hash of the name and its inode number, and keeps it when it is the last one left. So no
//! unique-id is ever that of another message than before, with one exception: a file that is alone,
//! and takes the place of one that was alone, is the same message, edited or restored.
//!
//! What a file was before is known from the index. Without one, all that share a name get hashes.

use super::entry::{Entry, Namesake, Sizes};
use super::folders::Folders;
use super::index::Index;
use super::inode::may_be;
use super::scan::FoundFile;
use super::sightings::Sightings;

/// What an index knows of the files that were found.
#[derive(Debug)]
pub(super) struct IndexMatch {
    /// The sizes of each file, if they are known.
    pub(super) sizes: Vec<Option<Sizes>>,
    /// Whether the index has other messages as well.
    pub(super) index_has_more: bool,
}

/// Looks the files up in the index, and tells those of one unique name apart by what they were.
pub(super) fn match_index(
    folders: &Folders<'_>,
    seen: &Sightings,
    files: &mut [FoundFile],
    index: &Index,
) -> IndexMatch {
    let mut cursor = index.cursor();
    let mut sizes = Vec::with_capacity(files.len());
    for group in files.chunk_by_mut(|a, b| seen.unique(&a.sighting) == seen.unique(&b.sighting)) {
        let Some(first) = group.first() else { continue };
        let known = cursor.find(&seen.key(&first.sighting));
        let shared = group.len() > 1 || known.clone().any(|entry| entry.is_shared());
        for file in group {
            let entry = if shared {
                tell_apart(folders, seen, file, known.clone())
            } else {
                known.clone().find(|entry| may_be(file.inode, entry.inode))
            };
            sizes.push(entry.map(|entry| entry.sizes));
        }
    }
    let found = sizes.iter().flatten().count();
    let index_has_more = found < index.listing.count() as usize;
    IndexMatch { sizes, index_has_more }
}

/// Finds out which of the known files of its unique name a file is, if it is one of them.
fn tell_apart<'a>(
    folders: &Folders<'_>,
    seen: &Sightings,
    file: &mut FoundFile,
    mut known: impl Iterator<Item = Entry<'a>>,
) -> Option<Entry<'a>> {
    let FoundFile { sighting, .. } = file;
    if file.inode.is_none() {
        // The others are gone, so it has not been looked at yet.
        file.inode = folders.stat(sighting.folder, seen.name(sighting)).unwrap_or(None);
    }
    let entry = known.find(|entry| file.inode.is_some() && entry.inode == file.inode);
    let was_later = |entry: Entry<'_>| entry.namesake == Namesake::Later;
    file.namesake = if entry.is_none_or(was_later) { Namesake::Later } else { Namesake::First };
    entry
}
