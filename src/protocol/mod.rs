//! POP3 as values: lines, commands, replies, message bodies (RFC 1939, 2449, 2595, 3206, 5034,
//! 6856).
//!
//! Pure: no I/O, no clock, no randomness, no logging.

mod body;
mod capability;
mod command;
mod invisible;
mod language;
mod line;
mod listing;
mod number;
mod octets;
mod reply;
pub mod sasl;
mod secret;
mod template;
mod unique_id;
mod username;
mod wrong_protocol;

pub use body::{Encoder, Extent, Progress};
pub use capability::Capability;
pub use command::{Command, CommandError, InitialResponse, Takes};
pub use invisible::is_invisible;
pub use language::LanguageRange;
pub use line::{LineDecoder, LineError, LineLimit};
pub use listing::{Line, ScanListing, UniqueIdListing};
pub use number::{BodyLines, MessageNumber, NumberError};
pub use octets::OctetCounter;
pub use reply::{Reply, ReplyText, ResponseCode};
pub use secret::Secret;
pub use template::{Piece, Placeholder, Template, TemplateError};
pub use unique_id::{NotUniqueId, UniqueId};
pub use username::{ClaimedName, NameError, Username};
pub use wrong_protocol::WrongProtocol;
