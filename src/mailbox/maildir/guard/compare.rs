//! The listing of the last session and that of now: which messages are in both.

use std::collections::{HashMap, HashSet};

use super::super::super::Position;
use super::super::entry::Entry;
use super::super::folders::Folders;
use super::super::inode::Inode;
use super::super::listing::Listing;
use super::super::take_listing::TakenListing;

/// The messages of two listings.
#[derive(Debug, Default)]
pub(super) struct Comparison<'a> {
    /// The number of messages of the last session.
    pub(super) remembered: u32,
    /// Those that are still there under their unique names, with their positions now.
    pub(super) still_there: Vec<(Entry<'a>, Position)>,
    /// Those whose files have other unique names.
    pub(super) renamed: Vec<(Entry<'a>, Position)>,
    /// The octets of those that are gone, in their order.
    pub(super) gone: Vec<u64>,
    /// New messages, in their order.
    pub(super) new: Vec<Entry<'a>>,
}

impl<'a> Comparison<'a> {
    /// Compares a listing with the one in the index.
    pub(super) fn of(folders: &Folders<'_>, taken: &'a TakenListing) -> Self {
        let last = if taken.is_unchanged() { &taken.listing } else { &taken.index.listing };
        let mut pairs = Pairs::by_name(last, &taken.listing);
        if !taken.is_unchanged() {
            pairs.find_renamed(|entry| is_as_old_as_the_index(folders, taken, entry));
        }
        let Pairs { paired, renamed, last: gone, now: new } = pairs;
        Self {
            remembered: last.count(),
            still_there: paired,
            renamed,
            gone: gone.into_iter().map(|(_, entry)| entry.sizes.octets).collect(),
            new: new.into_iter().map(|(_, entry)| entry).collect(),
        }
    }
}

/// The messages that are in both listings, and those that are in one only.
struct Pairs<'a> {
    paired: Vec<(Entry<'a>, Position)>,
    renamed: Vec<(Entry<'a>, Position)>,
    last: Vec<(Position, Entry<'a>)>,
    now: Vec<(Position, Entry<'a>)>,
}

impl<'a> Pairs<'a> {
    /// Pairs the messages by their unique names, and by their inodes if files share one.
    fn by_name(last: &'a Listing, now: &'a Listing) -> Self {
        let (last, now) = (positioned(last), positioned(now));
        let (paired, renamed) = (Vec::new(), Vec::new());
        let mut pairs = Self { paired, renamed, last: Vec::new(), now: Vec::new() };
        let mut groups = now.chunk_by(|(_, a), (_, b)| a.key() == b.key()).peekable();
        for group in last.chunk_by(|(_, a), (_, b)| a.key() == b.key()) {
            let Some((_, first)) = group.first() else { continue };
            while let Some(new) = groups.next_if(|now| key(now) < key(group)) {
                pairs.now.extend(new);
            }
            match groups.next_if(|now| key(now) == Some(first.key())) {
                Some(same) => pairs.add(group, same),
                None => pairs.last.extend(group),
            }
        }
        pairs.now.extend(groups.flatten());
        pairs
    }

    /// Adds the messages of one unique name.
    fn add(&mut self, last: &[(Position, Entry<'a>)], now: &[(Position, Entry<'a>)]) {
        if let ([(_, last)], [(at, _)]) = (last, now) {
            self.paired.push((*last, *at));
            return;
        }
        let mut now = now.to_vec();
        for (old, entry) in last {
            match now.iter().position(|(_, now)| now.inode == entry.inode) {
                Some(found) => self.paired.push((*entry, now.swap_remove(found).0)),
                None => self.last.push((*old, *entry)),
            }
        }
        now.sort_unstable_by_key(|(at, _)| *at);
        self.now.extend(now);
    }

    /// Pairs the files that have been renamed: those with the same inode and the same sizes that
    /// `is_old`. The inode number of a removed file may be that of a new one.
    fn find_renamed(&mut self, is_old: impl Fn(&Entry<'a>) -> bool) {
        let by_inode = self.now.iter().filter_map(|now| Some((now.1.inode?, *now)));
        let mut by_inode = by_inode.collect::<HashMap<Inode, _>>();
        let (pairs, mut renamed) = (&mut self.renamed, HashSet::new());
        self.last.retain(|(_, old)| {
            let found = old.inode.and_then(|inode| by_inode.remove(&inode));
            match found.filter(|(_, now)| now.sizes == old.sizes && is_old(now)) {
                Some((at, _)) => {
                    pairs.push((*old, at));
                    !renamed.insert(at)
                }
                None => true,
            }
        });
        self.now.retain(|(at, _)| !renamed.contains(at));
    }
}

fn positioned(listing: &Listing) -> Vec<(Position, Entry<'_>)> {
    (0..).map(Position).zip(listing.entries()).collect()
}

fn key<'a>(group: &[(Position, Entry<'a>)]) -> Option<super::super::entry::Key<'a>> {
    group.first().map(|(_, entry)| entry.key())
}

/// Whether a file was made before the index was written. If the file system does not record when
/// files are made, it is not known to be younger.
fn is_as_old_as_the_index(folders: &Folders<'_>, taken: &TakenListing, entry: &Entry<'_>) -> bool {
    let born = folders.look(entry.folder, entry.name, None).ok().and_then(|look| look.born);
    // The clock of the file system is coarse: what has the same time may be younger.
    born.zip(taken.index.written).is_none_or(|(born, written)| born < written)
}

/// How many of these files were last written before the index was. Mail that has been delivered
/// since is younger; copies keep the time, if they are made to preserve it.
pub(super) fn older_than_the_index(
    folders: &Folders<'_>,
    taken: &TakenListing,
    files: &[Entry<'_>],
) -> usize {
    let modified = |file: &Entry<'_>| folders.modified(file.folder, file.name).ok();
    let is_older = |file: &&Entry<'_>| {
        modified(file)
            .zip(taken.index.written)
            .is_some_and(|(modified, written)| modified < written)
    };
    files.iter().filter(is_older).count()
}

/// The numbers that two sequences have in the same order. A few may be missing in either of them.
pub(super) fn same_in_order(mut a: &[u64], mut b: &[u64]) -> Vec<u64> {
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
