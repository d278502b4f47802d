//! Unique-ids that another server gave to the messages of a Maildir, and its order of the messages.
//! A client that sees them again does not download its mail twice.
//!
//! There is no I/O here but reading from a `BufRead`. Lists are read line by line, and only what
//! belongs to existing messages is kept.

mod courier_list;
mod dovecot_uidlist;
mod lines;
mod map;
mod taken_id;
mod uidl_filter;
mod uidl_format;

pub use courier_list::{CourierError, CourierId, CourierList};
pub use dovecot_uidlist::{
    BadLine, DovecotError, DovecotList, DovecotRecord, HeaderError, Problem,
};
pub use map::{IdMap, MapError, MapProblem};
pub use taken_id::{NotTakenId, TakenId};
pub use uidl_format::{FormatError, UidlFormat, UidlValues};
