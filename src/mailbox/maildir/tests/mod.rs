//! Tests of the whole Maildir store on real directories. The tests of its parts are beside them.

mod compressed;
mod continuity;
mod creation;
mod faults;
mod foreign_state;
mod guard;
mod histories;
mod identity;
mod listings;
mod messages;
mod quota;
mod removals;
mod separators;
mod support;
mod unchanged;
