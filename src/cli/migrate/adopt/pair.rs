//! Which message of the old server is which message here.

use std::collections::HashMap;

use crate::cli::migrate::digest::Digest;

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
/// - Several messages with the same header are pairs if both sides have the same number of them
///   with the same octets. They are copies of one message, and are paired in their order.
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
    for group in groups.into_values() {
        match (group.old.as_slice(), group.new.as_slice()) {
            ([(old, _)], [(new, _)]) => pairs.push((*old, *new)),
            _ => pairs.extend(group.copies()),
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
    fn copies(&self) -> Vec<(usize, usize)> {
        let mut by_octets = HashMap::<u64, (Vec<usize>, Vec<usize>)>::new();
        for (index, octets) in &self.old {
            by_octets.entry(*octets).or_default().0.push(*index);
        }
        for (index, octets) in &self.new {
            by_octets.entry(*octets).or_default().1.push(*index);
        }
        let equal = by_octets.into_values().filter(|(old, new)| old.len() == new.len());
        equal.flat_map(|(old, new)| old.into_iter().zip(new)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[(u8, u64)]) -> Vec<Key> {
        let key = |(digest, octets): &(u8, u64)| Key {
            digest: (*digest > 0).then_some([*digest; 32]),
            octets: *octets,
        };
        keys.iter().map(key).collect()
    }

    #[test]
    fn only_what_is_unambiguous() {
        for (old, new, expected) in [
            (&[][..], &[][..], &[][..]),
            (&[(1, 5), (2, 5)], &[(2, 7), (3, 5), (1, 5)], &[(0, 2), (1, 0)]),
            // No header.
            (&[(0, 5)], &[(0, 5)], &[]),
            // Copies.
            (&[(1, 5), (1, 5)], &[(1, 5), (1, 5)], &[(0, 0), (1, 1)]),
            (&[(1, 5), (1, 6)], &[(1, 6), (1, 5)], &[(0, 1), (1, 0)]),
            (&[(1, 5), (1, 5)], &[(1, 5)], &[]),
            (&[(1, 5), (1, 6), (1, 6)], &[(1, 6), (1, 5), (1, 7)], &[(0, 1)]),
            (&[(1, 5)], &[(1, 5), (1, 6)], &[(0, 0)]),
        ] {
            assert_eq!(pair(&keys(old), &keys(new)), expected, "{old:?} {new:?}");
        }
    }
}
