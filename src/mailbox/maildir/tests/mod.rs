//! The Maildir store as a whole, on real directories; the parts have their tests beside them.

mod compressed;
mod creation;
mod faults;
mod identity;
mod listings;
mod messages;
mod quota;
mod removals;
mod separators;
mod support;
mod unchanged;
