//! The listing of a session: message-numbers, deletion marks and totals over a maildrop
//! (RFC 1939 §5).

use super::fault::Fault;
use crate::mailbox::{Maildrop, Position};
use crate::protocol::{MessageNumber, ScanListing, UniqueIdListing};

/// A maildrop as the client sees it.
///
/// Numbers, octets and unique-ids never change within a session; marks do. [`live`](Self::live)
/// is the only way from a number to a message.
pub(super) struct Listing<D> {
    maildrop: D,
    marks: Vec<u64>,
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
        let count = maildrop.count();
        let octets = (0..count).map(|at| maildrop.octets(Position(at))).sum();
        let words = count.div_ceil(u64::BITS) as usize;
        Self { maildrop, marks: vec![0; words], live: Totals { messages: count, octets } }
    }

    /// What STAT tells: marked messages are not counted (RFC 1939 §5 STAT).
    pub(super) fn totals(&self) -> Totals {
        self.live
    }

    /// Whether a message is marked as deleted.
    pub(super) fn has_marks(&self) -> bool {
        self.live.messages < self.maildrop.count()
    }

    pub(super) fn maildrop(&self) -> &D {
        &self.maildrop
    }

    /// The position of a message that is there and not marked.
    pub(super) fn live(&self, number: MessageNumber) -> Result<Position, Fault> {
        let at = Position(number.position());
        if at.0 >= self.maildrop.count() {
            return Err(Fault::NoSuchMessage);
        }
        if self.is_marked(at) { Err(Fault::Deleted) } else { Ok(at) }
    }

    /// Marks a message as deleted (RFC 1939 §5 DELE).
    pub(super) fn mark(&mut self, number: MessageNumber) -> Result<(), Fault> {
        let at = self.live(number)?;
        if let Some(word) = self.marks.get_mut(word(at)) {
            *word |= bit(at);
        }
        self.live.messages -= 1;
        self.live.octets -= self.maildrop.octets(at);
        Ok(())
    }

    /// Takes all marks off (RFC 1939 §5 RSET).
    pub(super) fn reset(self) -> Self {
        Self::new(self.maildrop)
    }

    /// The messages that are not marked; the numbers of the others are not given to them.
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

    /// The maildrop, and what is to be removed from it.
    pub(super) fn into_marked(self) -> (D, Vec<Position>) {
        let marked =
            (0..self.maildrop.count()).map(Position).filter(|at| self.is_marked(*at)).collect();
        (self.maildrop, marked)
    }

    fn unmarked(&self) -> impl Iterator<Item = Position> {
        (0..self.maildrop.count()).map(Position).filter(|at| !self.is_marked(*at))
    }

    fn is_marked(&self, at: Position) -> bool {
        self.marks.get(word(at)).is_some_and(|word| word & bit(at) != 0)
    }
}

fn word(at: Position) -> usize {
    (at.0 / u64::BITS) as usize
}

fn bit(at: Position) -> u64 {
    1 << (at.0 % u64::BITS)
}
