//! The listing of the last session and that of now: which messages are in both.

use std::collections::{HashMap, HashSet};

use super::super::super::Position;
use super::super::entry::Entry;
use super::super::folders::Folders;
use super::super::inode::Inode;
use super::super::listing::{Group, Listing};
use super::super::take_listing::TakenListing;
use super::super::uids::State;

/// If the file with this old entry is the one with this new position, whether its unique-id would
/// differ.
pub(super) type Differs<'a> = &'a dyn Fn(&Entry<'_>, Position) -> bool;

/// The messages of two listings.
pub(super) struct Comparison<'a> {
    folders: &'a Folders<'a>,
    taken: &'a TakenListing,
    last: &'a Listing,
    differs: Differs<'a>,
    /// The number of messages of the last session.
    pub(super) remembered: u32,
    /// Those that are still there under their unique names.
    pub(super) still_there: Tally,
    /// Those whose files have other unique names.
    pub(super) renamed: Tally,
    /// The positions of those that are gone, in the last listing.
    pub(super) gone: Vec<Position>,
    /// The positions of new messages.
    pub(super) new: Vec<Position>,
}

/// A number of messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) count: u32,
    /// Those that would have another unique-id.
    pub(super) differing: u32,
}

impl<'a> Comparison<'a> {
    /// Compares a listing with the one in the index.
    pub(super) fn of(
        folders: &'a Folders<'a>,
        taken: &'a TakenListing,
        differs: Differs<'a>,
    ) -> Self {
        let last = if taken.is_unchanged() { &taken.listing } else { &taken.index.listing };
        let (still_there, renamed) = (Tally::default(), Tally::default());
        let (gone, new, remembered) = (Vec::new(), Vec::new(), last.count());
        let mut comparison =
            Self { folders, taken, last, differs, remembered, still_there, renamed, gone, new };
        comparison.pair_by_name();
        if !taken.is_unchanged() {
            comparison.pair_renamed();
        }
        comparison
    }

    /// Pairs the messages by their unique names, and by their inodes if files share one.
    fn pair_by_name(&mut self) {
        let mut groups = self.taken.listing.groups().peekable();
        for last in self.last.groups() {
            while let Some(new) = groups.next_if(|now| now.key < last.key) {
                self.new.extend(new.positions());
            }
            match groups.next_if(|now| now.key == last.key) {
                Some(now) => self.pair_group(&last, &now),
                None => self.gone.extend(last.positions()),
            }
        }
        self.new.extend(groups.flat_map(|group| group.positions()));
    }

    fn pair_group(&mut self, last: &Group<'_>, now: &Group<'_>) {
        let is_single = last.positions().len() == 1 && now.positions().len() == 1;
        let mut left = now.positions().collect::<Vec<_>>();
        for old in last.positions() {
            let inode = self.last.entry(old).inode;
            let is_same = |now: &Position| is_single || self.now(*now).inode == inode;
            match left.iter().position(is_same) {
                Some(found) => {
                    let now = left.remove(found);
                    self.still_there = self.with(self.still_there, old, now);
                }
                None => self.gone.push(old),
            }
        }
        self.new.extend(left);
    }

    /// Pairs the files that have been renamed: those with the same inode and the same sizes that are
    /// as old. The inode number of a removed file may be that of a new one.
    fn pair_renamed(&mut self) {
        let by_inode = self.new.iter().filter_map(|now| Some((self.now(*now).inode?, *now)));
        let mut by_inode = by_inode.collect::<HashMap<Inode, _>>();
        let (mut gone, mut renamed) = (std::mem::take(&mut self.gone), HashSet::new());
        gone.retain(|old| {
            let entry = self.last.entry(*old);
            let found = entry.inode.and_then(|inode| by_inode.remove(&inode));
            let is_renamed = |now: &Position| {
                let now = self.now(*now);
                now.sizes == entry.sizes && self.is_as_old_as_the_listing(&now)
            };
            let Some(now) = found.filter(is_renamed) else { return true };
            self.renamed = self.with(self.renamed, *old, now);
            !renamed.insert(now)
        });
        self.gone = gone;
        self.new.retain(|at| !renamed.contains(at));
    }

    fn with(&self, Tally { count, differing }: Tally, last: Position, now: Position) -> Tally {
        let differs = (self.differs)(&self.last.entry(last), now);
        Tally { count: count + 1, differing: differing + u32::from(differs) }
    }

    fn now(&self, at: Position) -> Entry<'a> {
        self.taken.listing.entry(at)
    }

    /// Whether a file was made before the last listing was taken. If the file system does not record
    /// when files are made, it is not known to be younger.
    fn is_as_old_as_the_listing(&self, entry: &Entry<'_>) -> bool {
        let look = self.folders.look(entry.folder, entry.name, None);
        let born = look.ok().and_then(|look| look.born);
        // The clock of the file system is coarse: what has the same time may be younger.
        born.zip(self.taken.index.listed()).is_none_or(|(born, listed)| born < listed)
    }

    /// How many new files were last written before the last listing was taken. Mail that has been
    /// delivered since is younger; copies keep the time, if they are made to preserve it.
    pub(super) fn older_than_the_listing(&self) -> usize {
        let modified = |file: &Entry<'_>| self.folders.modified(file.folder, file.name).ok();
        let is_older = |at: &&Position| {
            modified(&self.now(**at))
                .zip(self.taken.index.listed())
                .is_some_and(|(modified, listed)| modified < listed)
        };
        self.new.iter().filter(is_older).count()
    }

    /// The octets of the messages that are gone, as far as new ones have the same in the same order:
    /// in that of their names, or in that in which clients see them.
    pub(super) fn copied(&self, state: Option<&State>) -> Vec<u64> {
        let octets = |listing: &Listing, positions: &[Position]| {
            positions.iter().map(|at| listing.entry(*at).sizes.octets).collect::<Vec<_>>()
        };
        let new = octets(&self.taken.listing, &self.new);
        let by_name = same_in_order(&octets(self.last, &self.gone), &new);
        let Some(state) = state else { return by_name };
        let mut gone = self.gone.clone();
        gone.sort_by_key(|at| state.place(self.last.entry(*at).unique_name()));
        let by_state = same_in_order(&octets(self.last, &gone), &new);
        if by_state.len() > by_name.len() { by_state } else { by_name }
    }
}

/// The numbers that two sequences have in the same order. A few may be missing in either of them.
fn same_in_order(mut a: &[u64], mut b: &[u64]) -> Vec<u64> {
    let mut same = Vec::new();
    while let (Some(first), Some(other)) = (a.first(), b.first()) {
        let (skip_a, skip_b) = if first == other { (0, 0) } else { next_same(a, b) };
        (a, b) = (a.get(skip_a..).unwrap_or_default(), b.get(skip_b..).unwrap_or_default());
        if let (Some((first, rest_of_a)), Some((other, rest_of_b))) =
            (a.split_first(), b.split_first())
            && first == other
        {
            same.push(*first);
            (a, b) = (rest_of_a, rest_of_b);
        }
    }
    same
}

/// How many to skip in each of two sequences to the nearest number that both have.
fn next_same(a: &[u64], b: &[u64]) -> (usize, usize) {
    let mut near =
        (1..=MOST_SKIPPED).flat_map(|both| (0..=both).map(move |of_a| (of_a, both - of_a)));
    let is_same = |of_a: usize, of_b: usize| a.get(of_a).is_some_and(|it| b.get(of_b) == Some(it));
    near.find(|(of_a, of_b)| is_same(*of_a, *of_b)).unwrap_or((1, 1))
}

/// The most numbers that are skipped at once.
const MOST_SKIPPED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_numbers_may_be_missing_on_either_side() {
        let all = (1..=100).collect::<Vec<u64>>();
        assert_eq!(same_in_order(&all, &all), all);
        let without = |gap: std::ops::Range<u64>| {
            all.iter().copied().filter(|number| !gap.contains(number)).collect::<Vec<_>>()
        };
        assert_eq!(same_in_order(&without(10..40), &all), without(10..40));
        assert_eq!(same_in_order(&all, &without(90..101)), without(90..101));
        assert_eq!(same_in_order(&without(5..8), &without(50..60)).len(), 87);
        let reversed = all.iter().rev().copied().collect::<Vec<_>>();
        assert!(same_in_order(&all, &reversed).len() < 20);
        assert!(same_in_order(&all, &[]).is_empty());
    }
}
