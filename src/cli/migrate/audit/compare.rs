//! The difference between what another server lists and what this one would list.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::cli::migrate::counts::write_counts;
use crate::cli::migrate::listing::Listing;
use crate::protocol::UniqueId;
use crate::uidl::displaced;

/// How two listings of a maildrop differ, as counts of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Comparison {
    /// Both servers list it.
    pub(super) same: usize,
    /// Only the other server lists it. A client forgets it, and fetches it again if it comes back.
    pub(super) missing: usize,
    /// Only this server lists it, so a client fetches it.
    pub(super) added: usize,
    /// Both list it, but it has moved among those that both list.
    pub(super) moved: usize,
    /// The other server lists the unique-id of an earlier message.
    pub(super) doubled: usize,
    /// The other server lists what cannot be a unique-id.
    pub(super) illegal: usize,
    /// Both list it, with other octets. Clients do not mind.
    pub(super) octets: usize,
}

impl Comparison {
    /// Compares listings.
    ///
    /// `own` has the unique-ids, each once, and the octets.
    pub(super) fn of<'a>(other: &Listing, own: impl IntoIterator<Item = (&'a [u8], u64)>) -> Self {
        let own = own.into_iter().enumerate().map(|(place, (id, octets))| (id, (place, octets)));
        let own = own.collect::<HashMap<_, _>>();
        let (mut comparison, mut seen) = (Self::default(), HashSet::new());
        let mut places = Vec::new();
        for (index, id) in other.ids.iter().map(Vec::as_slice).enumerate() {
            if !is_legal(id) {
                comparison.illegal += 1;
            } else if !seen.insert(id) {
                comparison.doubled += 1;
            } else if let Some((place, octets)) = own.get(id) {
                places.push(*place);
                let of_other = other.octets.get(index);
                comparison.octets += usize::from(of_other.is_some_and(|other| other != octets));
            } else {
                comparison.missing += 1;
            }
        }
        comparison.same = places.len();
        comparison.added = own.len().saturating_sub(places.len());
        comparison.moved = displaced(places);
        comparison
    }

    /// Whether a client that knows the listing of the other server would notice.
    pub(super) fn differs(&self) -> bool {
        let Self { same: _, missing, added, moved, doubled, illegal, octets: _ } = *self;
        missing + added + moved + doubled + illegal > 0
    }

    /// Adds the counts of another user.
    pub(super) fn add(&mut self, other: &Self) {
        self.same += other.same;
        self.missing += other.missing;
        self.added += other.added;
        self.moved += other.moved;
        self.doubled += other.doubled;
        self.illegal += other.illegal;
        self.octets += other.octets;
    }
}

fn is_legal(id: &[u8]) -> bool {
    UniqueId::is_valid(id)
}

/// `240 same, 2 missing, 1 in another order`
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_counts(
            f,
            (self.same, "same"),
            &[
                (self.missing, "missing"),
                (self.added, "added"),
                (self.moved, "in another order"),
                (self.doubled, "doubled"),
                (self.illegal, "illegal"),
                (self.octets, "with other octets"),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(other: &[&str], own: &[&str]) -> Comparison {
        let ids = other.iter().map(|id| id.as_bytes().to_vec()).collect();
        let listing = Listing { ids, octets: vec![7; other.len()], ..Listing::default() };
        let own = own.iter().map(|id| (id.as_bytes(), if *id == "big" { 8 } else { 7 }));
        Comparison::of(&listing, own)
    }

    #[test]
    fn differences() {
        for (other, own, expected) in [
            (&[][..], &[][..], "0 same"),
            (&["a", "b"], &["a", "b"], "2 same"),
            (&["a", "b"], &[], "0 same, 2 missing"),
            (&[], &["a"], "0 same, 1 added"),
            (&["a", "b", "c", "d"], &["d", "a", "b", "c"], "4 same, 1 in another order"),
            (&["a", "b", "c"], &["c", "x", "b", "a"], "3 same, 1 added, 2 in another order"),
            (&["a", "a", "b"], &["a", "b", "c"], "2 same, 1 added, 1 doubled"),
            (&["a b", "", "k\u{e4}se", "c"], &["c"], "1 same, 3 illegal"),
            (&["big"], &["big"], "1 same, 1 with other octets"),
        ] {
            let comparison = compare(other, own);
            assert_eq!(comparison.to_string(), expected);
            let is_unnoticed = expected.ends_with("same") || expected.ends_with("octets");
            assert_eq!(comparison.differs(), !is_unnoticed, "{expected}");
        }
    }
}
