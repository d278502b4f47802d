//! Unique-ids: those that are made of file names, and those that another server gave to the messages
//! of a Maildir, with its order of the messages. A client that sees them again does not download its
//! mail twice.
//!
//! - `by_name` makes them of file names.
//! - `dovecot_uidlist` and `uidl_format` are Dovecot's, `courier_list` is Courier's, `map` is the
//!   operator's own list.
//! - `keywords` has the names of Dovecot's flags.
//! - `take_over` chooses an id for each message; `order` has the other servers' orders of names.
//! - `export` writes the lists of Dovecot and Courier.
//! - A *base name* is a file name without flags: up to `:`, sizes (`,S=` and `,W=`) included. The
//!   other servers find messages by it.
//!
//! There is no I/O here but reading from a `BufRead`. Lists are read line by line, and only what
//! belongs to existing messages is kept.

pub mod by_name;
mod courier_list;
mod dovecot_uidlist;
mod export;
mod keywords;
mod lines;
mod map;
mod order;
mod take_over;
mod taken_id;
#[cfg(test)]
mod tests;
mod uidl_filter;
mod uidl_format;

/// The file of Dovecot's list.
pub const DOVECOT_LIST: &str = "dovecot-uidlist";

/// The file of Courier's list.
pub const COURIER_LIST: &str = "courierpop3dsizelist";

pub use courier_list::{CourierError, CourierId, CourierList};
pub use dovecot_uidlist::{
    BadLine, DovecotError, DovecotList, DovecotRecord, HeaderError, Problem,
};
pub use export::{Exported, Listed, Omitted, Reason, courier_list, dovecot_list};
pub use keywords::{KeywordError, keyword_letter};
pub use lines::decimal;
pub use map::{IdMap, MapError, MapProblem};
pub use order::displaced;
pub use take_over::{DovecotSource, PassedOver, Source, Taken, take_over};
pub use taken_id::TakenId;
pub use uidl_format::{FormatError, UidlFormat, UidlValues};
