//! The messages of a listing, and the names by which `restante.uids` knows them.
//!
//! A message is known by its unique name. Files that share one have longer names: the unique name,
//! a slash and the inode number. The file that was there first keeps the plain name, as it keeps
//! its unique-id (see `match_index`).
//!
//! Without the index it is unknown which file was first. If `restante.uids` knows all files of the
//! name but one, that one was first. Where inode numbers are not reliable, the scan has none of a
//! file that is the last one of its name; then it is looked up.

use std::borrow::Cow;

use super::super::super::Position;
use super::super::entry::{Entry, Namesake};
use super::super::folders::Folders;
use super::super::index::KnownState;
use super::super::inode::{Inode, may_be};
use super::super::listing::{Group, Listing};
use super::super::take_listing::TakenListing;
use super::super::uids::State;

/// A message that may be shown.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    listing: &'a Listing,
    /// Its position in the listing.
    pub(super) at: Position,
    /// Whether the index of the last session has it.
    pub(super) was_listed: bool,
    /// Its name in `restante.uids`.
    pub(super) key: Cow<'a, [u8]>,
}

impl<'a> Candidate<'a> {
    pub(super) fn entry(&self) -> Entry<'a> {
        self.listing.entry(self.at)
    }
}

/// The messages of a listing.
pub(super) fn candidates<'a>(
    folders: &Folders<'_>,
    taken: &'a TakenListing,
    state: &State,
) -> Vec<Candidate<'a>> {
    let listing = &taken.listing;
    let is_unchanged = taken.is_unchanged();
    let mut last = taken.index.cursor();
    let mut candidates = Vec::with_capacity(listing.count() as usize);
    for group in listing.groups() {
        let known = last.find(&group.key);
        let shared = group.positions().len() > 1 || known.clone().any(|entry| entry.is_shared());
        let was_listed = |entry: &Entry<'_>| {
            let is = |last: Entry<'_>| !shared || may_be(last.inode, entry.inode);
            is_unchanged || known.clone().any(is)
        };
        let index_is_known = is_index_known(taken);
        let names = Names { folders, listing, group: &group, state, index_is_known };
        for at in group.positions() {
            let entry = listing.entry(at);
            let was_listed = was_listed(&entry);
            let key = names.key(&entry, was_listed);
            candidates.push(Candidate { listing, at, was_listed, key });
        }
    }
    candidates
}

/// The longer name of a file that shares its unique name.
pub(super) fn long_key(unique: &[u8], inode: Option<Inode>) -> Vec<u8> {
    [unique, b"/", Inode::number(inode).to_string().as_bytes()].concat()
}

fn is_index_known(taken: &TakenListing) -> bool {
    taken.index.state != KnownState::Unknown
}

/// The names of the messages of one unique name.
struct Names<'g, 'a> {
    folders: &'g Folders<'g>,
    listing: &'a Listing,
    group: &'g Group<'a>,
    state: &'g State,
    index_is_known: bool,
}

impl<'a> Names<'_, 'a> {
    fn key(&self, entry: &Entry<'a>, was_listed: bool) -> Cow<'a, [u8]> {
        let unique = entry.unique_name();
        if let Some(key) = self.known_long_key(entry) {
            return Cow::Owned(key);
        }
        let is_first = match entry.namesake {
            Namesake::None | Namesake::Itself | Namesake::First => true,
            Namesake::Later => {
                // A file that the index does not have has come later.
                let may_be_first = was_listed || !self.index_is_known;
                may_be_first && self.is_first_by_exclusion()
            }
        };
        if is_first { Cow::Borrowed(unique) } else { Cow::Owned(long_key(unique, entry.inode)) }
    }

    /// Whether all files but one have longer names, and the plain name is known.
    fn is_first_by_exclusion(&self) -> bool {
        let entries = self.group.positions().map(|at| self.listing.entry(at));
        let others = entries.filter(|entry| self.known_long_key(entry).is_none());
        others.count() == 1 && self.state.by_name(self.group.key.unique()).is_some()
    }

    fn known_long_key(&self, entry: &Entry<'_>) -> Option<Vec<u8>> {
        let unique = entry.unique_name();
        if !self.state.has_long_names_of(unique) {
            return None;
        }
        let looked_up = || self.folders.stat_as_cached(entry.folder, entry.name).ok().flatten();
        let inode = entry.inode.or_else(looked_up)?;
        let key = long_key(unique, Some(inode));
        self.state.by_name(&key).is_some().then_some(key)
    }
}
