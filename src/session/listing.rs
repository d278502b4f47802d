//! The listing of a session: message-numbers, deletion marks and totals over a maildrop
//! (RFC 1939 §5).

use std::iter;

use super::fault::Fault;
use crate::mailbox::{Maildrop, Position};
use crate::protocol::{CommandError, MessageNumber, ScanListing, UniqueIdListing};

/// A maildrop as the client sees it.
///
/// Numbers, octets and unique-ids never change within a session; marks do. [`live`](Self::live)
/// is the only way from a number to a message.
pub(super) struct Listing<D> {
    maildrop: D,
    /// A bit for each message; it is set when the message is marked.
    bits: Vec<u64>,
    /// The marked messages, in the order of their marks.
    marked: Vec<Position>,
    /// The totals of all messages, and of those that are not marked.
    all: Totals,
    live: Totals,
}

/// A number of messages and their octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) messages: u32,
    pub(super) octets: u64,
}

impl<D: Maildrop> Listing<D> {
    pub(super) fn new(maildrop: D) -> Self {
        let all = Totals { messages: maildrop.count(), octets: maildrop.total_octets() };
        let words = all.messages.div_ceil(u64::BITS) as usize;
        Self { maildrop, bits: vec![0; words], marked: Vec::new(), all, live: all }
    }

    /// The totals for STAT, without marked messages (RFC 1939 §5 STAT).
    pub(super) fn totals(&self) -> Totals {
        self.live
    }

    /// Whether a message is marked as deleted.
    pub(super) fn has_marks(&self) -> bool {
        !self.marked.is_empty()
    }

    /// The number of messages that are marked as deleted.
    pub(super) fn marked(&self) -> u32 {
        self.all.messages - self.live.messages
    }

    pub(super) fn maildrop(&self) -> &D {
        &self.maildrop
    }

    /// The position of a message that exists and is not marked.
    pub(super) fn live(&self, number: MessageNumber) -> Result<Position, Fault> {
        let at = Position(number.position());
        if at.0 >= self.maildrop.count() {
            return Err(Fault::Command(CommandError::NoSuchMessage));
        }
        if self.is_marked(at) { Err(Fault::Deleted) } else { Ok(at) }
    }

    /// Marks a message as deleted (RFC 1939 §5 DELE).
    pub(super) fn mark(&mut self, number: MessageNumber) -> Result<(), Fault> {
        let at = self.live(number)?;
        if let Some(word) = self.bits.get_mut(word(at)) {
            *word |= bit(at);
        }
        self.marked.push(at);
        self.live.messages -= 1;
        self.live.octets -= self.maildrop.octets(at);
        Ok(())
    }

    /// Removes all marks (RFC 1939 §5 RSET). The time depends on the number of marks, not on that of
    /// the messages.
    pub(super) fn reset(&mut self) {
        for at in std::mem::take(&mut self.marked) {
            if let Some(word) = self.bits.get_mut(word(at)) {
                *word = 0;
            }
        }
        self.live = self.all;
    }

    /// The octets of the messages that are not marked. They keep their numbers.
    pub(super) fn live_octets(&self) -> impl Iterator<Item = ScanListing> {
        self.unmarked().map(|at| ScanListing {
            number: MessageNumber::from_position(at.0),
            octets: self.maildrop.octets(at),
        })
    }

    /// The unique-ids of the messages that are not marked.
    pub(super) fn live_unique_ids(&self) -> impl Iterator<Item = UniqueIdListing<'_>> {
        self.unmarked().map(|at| UniqueIdListing {
            number: MessageNumber::from_position(at.0),
            unique_id: self.maildrop.unique_id(at),
        })
    }

    /// The maildrop, and the marked messages in the order of the listing.
    pub(super) fn into_marked(self) -> (D, Vec<Position>) {
        let Self { maildrop, mut marked, .. } = self;
        marked.sort_unstable();
        (maildrop, marked)
    }

    /// Skips 64 messages at once where all are marked.
    fn unmarked(&self) -> impl Iterator<Item = Position> {
        let count = self.all.messages;
        let words = (0_u32..).step_by(u64::BITS as usize).zip(&self.bits);
        words
            .flat_map(|(first, bits)| ones(!bits).map(move |bit| Position(first + bit)))
            .take_while(move |at| at.0 < count)
    }

    fn is_marked(&self, at: Position) -> bool {
        self.bits.get(word(at)).is_some_and(|word| word & bit(at) != 0)
    }
}

fn word(at: Position) -> usize {
    (at.0 / u64::BITS) as usize
}

fn bit(at: Position) -> u64 {
    1 << (at.0 % u64::BITS)
}

/// The positions of the bits that are set in a word, the lowest first.
fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    iter::from_fn(move || {
        let lowest = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (lowest < u64::BITS).then_some(lowest)
    })
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::login::Identity;
    use crate::mailbox::Mailbox as _;
    use crate::mailbox::memory::{MemoryMaildrop, MemoryStore};

    const COUNT: u32 = 200;

    /// A maildrop with messages of 1, 2, 3, … octets.
    async fn listing() -> Listing<MemoryMaildrop> {
        let identity = Identity::for_test("mrose");
        let store = MemoryStore::default();
        for octets in 1..=COUNT {
            let message = [vec![b'x'; octets as usize - 1], b"\n".to_vec()].concat();
            store.deliver(identity.username(), &octets.to_string(), message);
        }
        Listing::new(store.open(&identity, &CancellationToken::default()).await.unwrap())
    }

    fn marked(listing: &mut Listing<MemoryMaildrop>, positions: &[u32]) {
        for at in positions {
            listing.mark(MessageNumber::from_position(*at)).unwrap();
        }
    }

    fn live(listing: &Listing<MemoryMaildrop>) -> Vec<u32> {
        listing.live_octets().map(|line| line.number.position()).collect()
    }

    #[tokio::test]
    async fn marked_messages_are_neither_counted_nor_listed_until_reset() {
        let mut listing = listing().await;
        let all = listing.totals();
        assert_eq!(live(&listing), (0..COUNT).collect::<Vec<_>>());
        for _ in 0..2 {
            let positions = [199, 0, 63, 64, 65, 127, 128, 3];
            marked(&mut listing, &positions);
            assert!(listing.has_marks());
            let left = (0..COUNT).filter(|at| !positions.contains(at)).collect::<Vec<_>>();
            assert_eq!(live(&listing), left);
            let octets = left.iter().map(|at| u64::from(*at) + 2).sum();
            assert_eq!(listing.totals(), Totals { messages: 192, octets });
            listing.reset();
            assert!(!listing.has_marks());
            assert_eq!(listing.totals(), all);
            assert_eq!(live(&listing), (0..COUNT).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn all_but_the_last_are_marked_and_removed_in_order() {
        let mut listing = listing().await;
        let backwards = (0..COUNT - 1).rev().collect::<Vec<_>>();
        marked(&mut listing, &backwards);
        assert_eq!(live(&listing), [COUNT - 1]);
        let expected = (0..COUNT - 1).map(Position).collect::<Vec<_>>();
        assert_eq!(listing.into_marked().1, expected);
    }
}
