//! The names that passes over the folders have seen, compactly and in the order of the listing.

use std::cmp::Ordering;

use super::super::Failure;
use super::entry::Key;
use super::folder::{Folder, Ignored, Location};
use super::name;
use super::separator::Separator;
use super::view::View;

/// File names, with the folder and the pass that had them.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    separator: Separator,
    names: Vec<u8>,
    sightings: Vec<Sighting>,
    ignored: Ignored,
}

/// A name that a pass has seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    /// The folder that had it.
    pub(super) folder: Folder,
    /// The pass that saw it last.
    pub(super) pass: u32,
    /// The inode number that the directory gave.
    pub(super) inode: u64,
    delivered: u64,
    at: usize,
    length: u16,
    unique: u16,
}

impl Sightings {
    /// Reads both folders once.
    pub(super) fn read(folders: &impl View, pass: u32) -> Result<Self, Failure> {
        let separator = folders.separator();
        let mut seen = Self { separator, ..Self::default() };
        for folder in Folder::READING_ORDER {
            let ignored =
                folders.read(folder, |name, inode| seen.push(folder, name, inode, pass))?;
            seen.ignored.extend(ignored);
        }
        seen.sort();
        Ok(seen)
    }

    /// Adds the sightings that only `older` has. Returns whether this has a message that `older`
    /// lacks.
    pub(super) fn absorb(&mut self, older: &Self) -> bool {
        if older.sightings.is_empty() {
            return !self.sightings.is_empty();
        }
        let groups_before = older.groups().count();
        let mut kept = Vec::new();
        let mut mine = self.sightings.iter().peekable();
        for theirs in &older.sightings {
            let order = |mine: &&Sighting| self.order_with(mine, older, theirs);
            while mine.next_if(|mine| order(mine) == Ordering::Less).is_some() {}
            if mine.peek().is_none_or(|mine| order(mine) == Ordering::Greater) {
                kept.push(theirs);
            }
        }
        for sighting in kept {
            self.push(sighting.folder, older.name(sighting), sighting.inode, sighting.pass);
        }
        self.sort();
        self.groups().count() > groups_before
    }

    /// The sightings by unique name, in the order of the listing.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[Sighting]> {
        self.sightings.chunk_by(|a, b| self.unique(a) == self.unique(b))
    }

    /// The file name.
    pub(super) fn name(&self, sighting: &Sighting) -> &[u8] {
        let end = sighting.at + usize::from(sighting.length);
        self.names.get(sighting.at..end).unwrap_or_default()
    }

    /// The unique name.
    pub(super) fn unique(&self, sighting: &Sighting) -> &[u8] {
        self.name(sighting).get(..usize::from(sighting.unique)).unwrap_or_default()
    }

    /// The key by which listings are sorted.
    pub(super) fn key(&self, sighting: &Sighting) -> Key<'_> {
        Key::new(self.unique(sighting))
    }

    /// The keys of all unique names.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        self.groups().filter_map(|group| group.first().map(|sighting| self.key(sighting)))
    }

    /// Adds a name that a search has found.
    pub(super) fn add(&mut self, location: &Location, inode: u64, pass: u32) -> Option<Sighting> {
        self.push(location.folder, &location.name, inode, pass);
        self.sightings.pop()
    }

    /// The order of the listing: by time of delivery, then unique name. Files of one unique name
    /// are ordered by folder and whole name.
    pub(super) fn order(&self, a: &Sighting, b: &Sighting) -> Ordering {
        self.order_with(a, self, b)
    }

    /// The entries that are not messages, as the last pass saw them.
    pub(super) fn ignored(&self) -> &Ignored {
        &self.ignored
    }

    fn push(&mut self, folder: Folder, file_name: &[u8], inode: u64, pass: u32) {
        let unique = name::unique(file_name, self.separator);
        // A directory entry is shorter than 64 KiB, so both fit.
        let (Ok(length), Ok(unique_length)) =
            (u16::try_from(file_name.len()), u16::try_from(unique.len()))
        else {
            return;
        };
        self.sightings.push(Sighting {
            folder,
            pass,
            inode,
            delivered: name::delivery_time(unique),
            at: self.names.len(),
            length,
            unique: unique_length,
        });
        self.names.extend_from_slice(file_name);
    }

    fn sort(&mut self) {
        let mut sightings = std::mem::take(&mut self.sightings);
        sightings.sort_unstable_by(|a, b| self.order(a, b));
        self.sightings = sightings;
    }

    fn order_with(&self, a: &Sighting, other: &Self, b: &Sighting) -> Ordering {
        a.delivered
            .cmp(&b.delivered)
            .then_with(|| self.unique(a).cmp(other.unique(b)))
            .then_with(|| a.folder.cmp(&b.folder))
            .then_with(|| self.name(a).cmp(other.name(b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pass: u32, names: &[(Folder, &str)]) -> Sightings {
        let mut seen = Sightings::default();
        for (inode, (folder, name)) in (1..).zip(names) {
            seen.push(*folder, name.as_bytes(), inode, pass);
        }
        seen.sort();
        seen
    }

    fn shown(seen: &Sightings) -> Vec<String> {
        let show = |s: &Sighting| {
            format!("{}/{} {}", s.folder.name(), seen.name(s).escape_ascii(), s.pass)
        };
        seen.groups().map(|group| group.iter().map(show).collect::<Vec<_>>().join(" + ")).collect()
    }

    #[test]
    fn order_is_by_number_then_by_bytes() {
        let seen = seen(
            1,
            &[
                (Folder::New, "odd"),
                (Folder::New, "10.b"),
                (Folder::Cur, "9.z:2,S"),
                (Folder::Cur, "10.a:2,"),
                (Folder::New, "010.a"),
                (Folder::Cur, "10.b:2,F"),
            ],
        );
        assert_eq!(
            shown(&seen),
            [
                "cur/9.z:2,S 1",
                "new/010.a 1",
                "cur/10.a:2, 1",
                "cur/10.b:2,F 1 + new/10.b 1",
                "new/odd 1",
            ]
        );
    }

    #[test]
    fn a_later_pass_keeps_what_it_has_missed() {
        let older = seen(1, &[(Folder::New, "1.a"), (Folder::Cur, "2.b:2,"), (Folder::New, "4.d")]);
        let mut newer = seen(2, &[(Folder::Cur, "1.a:2,S"), (Folder::Cur, "2.b:2,")]);
        assert!(!newer.absorb(&older));
        let both = ["cur/1.a:2,S 2 + new/1.a 1", "cur/2.b:2, 2", "new/4.d 1"];
        assert_eq!(shown(&newer), both);

        let mut newest = seen(3, &[(Folder::New, "3.c"), (Folder::New, "4.d")]);
        assert!(newest.absorb(&newer));
        assert_eq!(
            shown(&newest),
            ["cur/1.a:2,S 2 + new/1.a 1", "cur/2.b:2, 2", "new/3.c 3", "new/4.d 3"]
        );
    }
}
