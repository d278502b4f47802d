//! Which message of the old server is which message here.

use std::collections::{BTreeMap, HashMap};

use crate::cli::migrate::digest::{Digest, Kind};

/// What a message is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// `None` if the header could not be read.
    pub(super) digest: Option<Digest>,
    pub(super) octets: u64,
}

/// Pairs messages whose headers are the same.
///
/// - One message on each side is a pair, whatever its octets: servers count some of them otherwise.
/// - Messages with one Message-ID are copies of one message. Those with the same octets are paired
///   in their order, however many there are on each side: any pairing of equal copies is right. So
///   are the others, if they have one number of octets on each side.
/// - Without a Message-ID, they may be different messages. Those with the same octets are paired in
///   their order, if there are as many on both sides.
/// - Messages without a field that counts are paired in their order, if all of them have the same
///   octets on both sides.
/// - All others are ambiguous, and are not paired.
pub(super) fn pair(old: &[Key], new: &[Key]) -> Vec<(usize, usize)> {
    let (mut pairs, mut groups) = (Vec::new(), HashMap::<Digest, Group>::new());
    for (index, key) in old.iter().enumerate() {
        if let Some(digest) = key.digest {
            groups.entry(digest).or_default().old.push((index, key.octets));
        }
    }
    for (index, key) in new.iter().enumerate() {
        if let Some(group) = key.digest.and_then(|digest| groups.get_mut(&digest)) {
            group.new.push((index, key.octets));
        }
    }
    for (digest, group) in groups {
        match digest.kind {
            Kind::WithId => pairs.extend(group.copies()),
            Kind::WithoutId => pairs.extend(group.equal_numbers()),
            Kind::Empty => pairs.extend(group.equal_sequences()),
        }
    }
    pairs.sort_unstable();
    pairs
}

/// The messages with one header: their indices and octets.
#[derive(Default)]
struct Group {
    old: Vec<(usize, u64)>,
    new: Vec<(usize, u64)>,
}

impl Group {
    /// All are copies of one message.
    fn copies(&self) -> Vec<(usize, usize)> {
        let mut octets = ByOctets::of(self);
        let mut pairs = octets.take_pairs(usize::min);
        if let ([old], [new]) = (octets.old.rest().as_slice(), octets.new.rest().as_slice()) {
            pairs.extend(old.iter().copied().zip(new.iter().copied()));
        }
        pairs
    }

    /// They may be different messages.
    fn equal_numbers(&self) -> Vec<(usize, usize)> {
        match (self.old.as_slice(), self.new.as_slice()) {
            ([(old, _)], [(new, _)]) => vec![(*old, *new)],
            _ => ByOctets::of(self).take_pairs(|old, new| if old == new { old } else { 0 }),
        }
    }

    /// Only the octets and the order tell.
    fn equal_sequences(&self) -> Vec<(usize, usize)> {
        let pairs = || self.old.iter().zip(&self.new);
        let is_same = self.old.len() == self.new.len()
            && pairs().all(|((_, old), (_, new))| ENDS.iter().any(|end| old + end == *new));
        if is_same {
            pairs().map(|((old, _), (new, _))| (*old, *new)).collect()
        } else {
            Vec::new()
        }
    }
}

/// The messages of a group by their octets.
struct ByOctets {
    old: Indices,
    new: Indices,
}

impl ByOctets {
    fn of(group: &Group) -> Self {
        Self { old: Indices::of(&group.old), new: Indices::of(&group.new) }
    }

    /// Takes pairs out of the messages with the same octets; `number` says how many, of the numbers
    /// on both sides.
    fn take_pairs(&mut self, number: impl Fn(usize, usize) -> usize) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for end in ENDS {
            for (octets, old) in &mut self.old.0 {
                let Some(new) = self.new.0.get_mut(&(octets + end)) else { continue };
                let number = number(old.len(), new.len());
                pairs.extend(old.drain(..number).zip(new.drain(..number)));
            }
        }
        pairs
    }
}

struct Indices(BTreeMap<u64, Vec<usize>>);

impl Indices {
    fn of(messages: &[(usize, u64)]) -> Self {
        let mut indices = BTreeMap::<u64, Vec<usize>>::new();
        for (index, octets) in messages {
            indices.entry(*octets).or_default().push(*index);
        }
        Self(indices)
    }

    /// Those that have not been taken.
    fn rest(&self) -> Vec<&Vec<usize>> {
        self.0.values().filter(|indices| !indices.is_empty()).collect()
    }
}

/// The octets that the old server may have counted too few: Dovecot does not count the line end that
/// it sends after a last line without one.
const ENDS: [u64; 2] = [0, 2];

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(kind: Kind, keys: &[(u8, u64)]) -> Vec<Key> {
        let key = |(digest, octets): &(u8, u64)| Key {
            digest: (*digest > 0).then_some(Digest { kind, hash: [*digest; 32] }),
            octets: *octets,
        };
        keys.iter().map(key).collect()
    }

    type Messages<'a> = &'a [(u8, u64)];
    type Pairs<'a> = &'a [(usize, usize)];

    fn check(kind: Kind, cases: &[(Messages<'_>, Messages<'_>, Pairs<'_>)]) {
        for (old, new, expected) in cases {
            let pairs = pair(&keys(kind, old), &keys(kind, new));
            assert_eq!(pairs, *expected, "{kind:?} {old:?} {new:?}");
        }
    }

    #[test]
    fn messages_that_are_there_once() {
        let cases: [(Messages<'_>, Messages<'_>, Pairs<'_>); 3] = [
            (&[], &[], &[]),
            (&[(1, 5), (2, 5)], &[(2, 7), (3, 5), (1, 5)], &[(0, 2), (1, 0)]),
            // No header.
            (&[(0, 5)], &[(0, 5)], &[]),
        ];
        check(Kind::WithId, &cases);
        check(Kind::WithoutId, &cases);
    }

    #[test]
    fn copies_of_one_message() {
        check(
            Kind::WithId,
            &[
                (&[(1, 5), (1, 5)], &[(1, 5), (1, 5)], &[(0, 0), (1, 1)]),
                (&[(1, 5), (1, 6)], &[(1, 6), (1, 5)], &[(0, 1), (1, 0)]),
                // A copy that was made once only, and one that has come later.
                (&[(1, 5), (1, 5), (1, 5)], &[(1, 5), (1, 5)], &[(0, 0), (1, 1)]),
                (&[(1, 5), (1, 5)], &[(1, 5), (1, 5), (1, 5)], &[(0, 0), (1, 1)]),
                (&[(1, 5)], &[(1, 6), (1, 5)], &[(0, 1)]),
                // Without the last line end.
                (&[(1, 5), (1, 9)], &[(1, 11), (1, 7)], &[(0, 1), (1, 0)]),
                // The copies have a line more.
                (&[(1, 5), (1, 5)], &[(1, 25), (1, 25), (1, 25)], &[(0, 0), (1, 1)]),
                (&[(1, 5), (1, 6)], &[(1, 25), (1, 26)], &[]),
            ],
        );
    }

    #[test]
    fn other_messages_with_one_header() {
        check(
            Kind::WithoutId,
            &[
                (&[(1, 5), (1, 5)], &[(1, 5), (1, 5)], &[(0, 0), (1, 1)]),
                (&[(1, 5), (1, 6)], &[(1, 6), (1, 9)], &[(1, 0)]),
                (&[(1, 5), (1, 6)], &[(1, 6), (1, 7)], &[(0, 1), (1, 0)]),
                (&[(1, 5), (1, 5)], &[(1, 5)], &[]),
                (&[(1, 5), (1, 6), (1, 6)], &[(1, 6), (1, 5), (1, 8)], &[(0, 1)]),
                (&[(1, 5)], &[(1, 5), (1, 6)], &[(0, 0)]),
            ],
        );
    }

    #[test]
    fn messages_without_a_header() {
        check(
            Kind::Empty,
            &[
                (&[(1, 5), (1, 5), (1, 7)], &[(1, 5), (1, 7), (1, 7)], &[(0, 0), (1, 1), (2, 2)]),
                (&[(1, 5), (1, 6)], &[(1, 6), (1, 5)], &[]),
                (&[(1, 5)], &[(1, 5), (1, 5)], &[]),
                (&[(1, 5)], &[(1, 6)], &[]),
            ],
        );
    }
}
