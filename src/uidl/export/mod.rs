//! The lists of Dovecot and Courier, written so that *they* serve the unique-ids that clients know
//! from this server.
//!
//! A list has only what its server reads back as it was written. A message whose unique-id the
//! format cannot express is not in it, and is reported instead.

use std::collections::HashSet;

mod courier;
mod dovecot;
#[cfg(test)]
mod tests;

pub use courier::courier_list;
pub use dovecot::dovecot_list;

/// A message as this server lists it.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The unique-id, which no other message has.
    pub id: &'a [u8],
    /// The file name up to `:`, sizes included.
    pub base_name: &'a [u8],
    /// The octets in LIST.
    pub octets: u64,
}

/// A list for another server.
#[derive(Debug, Default)]
pub struct Exported {
    /// The contents of the file.
    pub text: Vec<u8>,
    /// How many messages it gives a unique-id.
    pub messages: usize,
    /// How many of these the other server lists at another place.
    pub moved: usize,
    /// The messages that are not in it.
    pub omitted: Vec<Omitted>,
}

/// A message that is not in a list, so that the other server will give it a new unique-id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Omitted {
    /// The index of the message in the listing.
    pub position: usize,
    /// Why it is not in the list.
    pub reason: Reason,
}

/// Why a message is not in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Dovecot ignores such files. In Courier's list, a line would end there.
    #[error("its file name has a line break; rename the file")]
    LineBreak,
    /// The other servers find messages by this name.
    #[error("another file has the same name before the flags; rename one of them")]
    SameName,
    /// UIDs have 32 bits.
    #[error("Dovecot's list has no UID left")]
    NoUidLeft,
    /// A record of Courier has two numbers.
    #[error("Courier's unique-ids are UIDn-UIDVALIDITY or the file name")]
    NotOfCourier,
    /// It is not in the listing.
    #[error("the message cannot be read; correct that, and export again")]
    Unreadable,
}

/// Finds the names that a list cannot have.
#[derive(Default)]
struct Names<'a>(HashSet<&'a [u8]>);

impl<'a> Names<'a> {
    fn check(&mut self, base_name: &'a [u8]) -> Result<(), Reason> {
        if base_name.iter().any(|octet| matches!(octet, b'\r' | b'\n')) {
            return Err(Reason::LineBreak);
        }
        if self.0.insert(base_name) { Ok(()) } else { Err(Reason::SameName) }
    }
}
