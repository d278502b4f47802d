//! Matching the files of a scan with the index: their sizes, and their unique-ids when files share
//! a unique name.
//!
//! The unique name of a file is its unique-id, as long as no other file has the same name. When a
//! second file appears, the first keeps that unique-id. Each other file gets a hash of the name and
//! its inode number, and keeps it even when it is the last one left. So a unique-id never changes
//! to another message, with one exception: a single file that replaces a single file is the same
//! message, edited or restored.
//!
//! The index says which file was first. Without it, all files that share a name get hashes.

use super::entry::{Entry, Namesake, Sizes};
use super::folders::Folders;
use super::index::Index;
use super::inode::may_be;
use super::scan::FoundFile;
use super::sightings::Sightings;

/// The files of a scan in the index.
#[derive(Debug)]
pub(super) struct IndexMatch {
    /// The sizes of each file; `None` if it is not in the index.
    pub(super) sizes: Vec<Option<Sizes>>,
    /// The number of messages in the index whose files were not found.
    pub(super) not_found: u32,
}

/// Looks the files up in the index, and sets `namesake` of those that share a unique name.
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
                match_shared(folders, seen, file, known.clone())
            } else {
                known.clone().find(|entry| may_be(file.inode, entry.inode))
            };
            sizes.push(entry.map(|entry| entry.sizes));
        }
    }
    let found = u32::try_from(sizes.iter().flatten().count()).unwrap_or(u32::MAX);
    IndexMatch { sizes, not_found: index.listing.count().saturating_sub(found) }
}

/// Finds the entry of a file that shares its unique name, and sets its `namesake`.
fn match_shared<'a>(
    folders: &Folders<'_>,
    seen: &Sightings,
    file: &mut FoundFile,
    mut known: impl Iterator<Item = Entry<'a>>,
) -> Option<Entry<'a>> {
    let FoundFile { sighting, .. } = file;
    if file.inode.is_none() {
        // The other files are gone, so its inode was not needed yet.
        file.inode = folders.stat_as_cached(sighting.folder, seen.name(sighting)).unwrap_or(None);
    }
    let entry = known.find(|entry| file.inode.is_some() && entry.inode == file.inode);
    let was_later = |entry: Entry<'_>| entry.namesake == Namesake::Later;
    file.namesake = if entry.is_none_or(was_later) { Namesake::Later } else { Namesake::First };
    entry
}
