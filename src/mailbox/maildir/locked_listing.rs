//! What a login to a Maildir lists, for commands that need it without a session.

use std::path::Path;
use std::sync::Arc;

use super::super::OpenError;
use super::assign::{Places, Purpose};
use super::open_maildrop::{OpenMaildrop, Terms};
use super::separator::Separator;
use super::time_limit::TimeLimit;
use crate::config::{Guard, GuardMode};
use crate::threads;

/// The listing of a Maildir, which is locked until this is dropped.
#[derive(Debug)]
pub struct LockedListing(OpenMaildrop);

/// A message as a login lists it.
#[derive(Clone, Copy, Debug)]
pub struct ListedMessage<'a> {
    /// The unique-id.
    pub id: &'a str,
    /// The name of its file.
    pub file_name: &'a [u8],
    /// The octets in LIST.
    pub octets: u64,
}

impl LockedListing {
    /// Locks the Maildir at `path` and takes the listing. Nothing is remembered of it.
    ///
    /// # Errors
    /// [`OpenError`] when a login would fail.
    pub fn take(path: &Path, separator: Separator) -> Result<Self, OpenError> {
        let terms = Terms {
            path: path.to_owned(),
            separator,
            pools: threads::mail(),
            settings: Arc::default(),
            places: Places::default(),
            guard: Guard { mode: GuardMode::Off, ..Guard::default() },
        };
        let (maildir, taken, assignment) = terms.assign(Purpose::Preview, &TimeLimit::bounded())?;
        Ok(Self(OpenMaildrop::new(maildir, taken, assignment, terms.pools)))
    }

    /// The messages in the order of the listing.
    pub fn messages(&self) -> impl Iterator<Item = ListedMessage<'_>> {
        self.0.messages().map(|(at, id)| {
            let entry = self.0.listing.entry(at);
            ListedMessage { id: id.as_str(), file_name: entry.name, octets: entry.sizes.octets }
        })
    }

    /// The unique-ids of messages that have been removed, and that clients may still remember.
    pub fn removed_ids(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }
}
