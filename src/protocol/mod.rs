//! POP3 as values: lines, commands, replies, message bodies (RFC 1939, 2449, 5034).
//!
//! Pure: no I/O, no clock, no randomness, no logging.

mod secret;
mod unique_id;
mod username;

pub use secret::Secret;
pub use unique_id::{NotUniqueId, UniqueId};
pub use username::{ClaimedName, NameFault, Username};
