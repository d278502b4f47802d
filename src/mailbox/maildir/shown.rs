//! The messages as clients see them, where that is not the listing itself: their order and their
//! unique-ids.
//!
//! Below this table, all positions are those of the listing.

use super::super::{Failure, Position};
use super::listing::Listing;
use crate::protocol::UniqueId;

/// The messages that clients see, in their order.
#[derive(Debug, Default)]
pub(super) struct Shown {
    messages: Vec<ShownMessage>,
    /// The unique-ids, one after the other.
    ids: String,
    /// The octets of all messages together.
    total_octets: u64,
}

#[derive(Clone, Copy, Debug)]
struct ShownMessage {
    /// Its position in the listing.
    at: Position,
    /// Where its unique-id ends.
    end: u32,
}

impl Shown {
    /// The table of these messages of a listing.
    ///
    /// # Errors
    /// When there are more octets of unique-ids than can be held.
    pub(super) fn of<'a>(
        listing: &Listing,
        messages: impl Iterator<Item = (Position, UniqueId<'a>)>,
    ) -> Result<Self, Failure> {
        let mut shown = Self::default();
        for (at, id) in messages {
            shown.ids.push_str(id.as_str());
            let end = u32::try_from(shown.ids.len()).map_err(|_| too_many())?;
            shown.messages.push(ShownMessage { at, end });
            // The sum of the whole listing fits.
            let octets = listing.entry(at).sizes.octets;
            shown.total_octets = shown.total_octets.saturating_add(octets);
        }
        shown.messages.shrink_to_fit();
        shown.ids.shrink_to_fit();
        Ok(shown)
    }

    /// The number of messages.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.messages.len()).unwrap_or(u32::MAX)
    }

    /// The octets of all messages together.
    pub(super) fn total_octets(&self) -> u64 {
        self.total_octets
    }

    /// The position in the listing of the message that clients see at `at`.
    #[expect(clippy::indexing_slicing, reason = "callers promise a position of this table")]
    pub(super) fn in_listing(&self, at: Position) -> Position {
        self.messages[at.0 as usize].at
    }

    /// The unique-id of the message that clients see at `at`.
    #[expect(clippy::expect_used, reason = "the table is made of unique-ids")]
    #[expect(clippy::indexing_slicing, reason = "callers promise a position of this table")]
    pub(super) fn unique_id(&self, at: Position) -> UniqueId<'_> {
        let nth = at.0 as usize;
        let start = nth.checked_sub(1).map_or(0, |before| self.messages[before].end);
        let text = self.ids.as_bytes().get(start as usize..self.messages[nth].end as usize);
        text.and_then(|text| UniqueId::try_from(text).ok()).expect("a unique-id")
    }

    /// The memory that this takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.messages.capacity() * size_of::<ShownMessage>() + self.ids.capacity()
    }
}

fn too_many() -> Failure {
    let error = std::io::Error::other("the unique-ids are longer than can be held");
    Failure::new("list the messages", error)
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Form, Namesake, Sizes};
    use super::super::folder::Folder;
    use super::super::listing::Builder;
    use super::*;

    #[test]
    fn messages_have_another_order_and_other_unique_ids() {
        let mut builder = Builder::default();
        for (name, physical) in [("1.a", 10), ("2.b", 20), ("3.c", 30)] {
            let sizes = Sizes { physical, octets: physical, form: Form::Plain };
            let location = (Folder::New, name.as_bytes());
            builder.push(location, None, Namesake::None, sizes).unwrap();
        }
        let listing = builder.finish();
        let id = |text: &'static str| UniqueId::try_from(text.as_bytes()).unwrap();
        let long = Box::leak("x".repeat(255).into_boxed_str());
        let messages = [(2, id("UID1")), (0, id(long))].map(|(at, id)| (Position(at), id));
        let shown = Shown::of(&listing, messages.into_iter()).unwrap();
        assert_eq!((shown.count(), shown.total_octets()), (2, 40));
        let seen = [0, 1].map(Position).map(|at| (shown.in_listing(at), shown.unique_id(at)));
        assert_eq!(seen, messages);
        assert_eq!(shown.memory(), 2 * 8 + 4 + 255);
    }
}
