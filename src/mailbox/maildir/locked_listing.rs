//! What a login to a Maildir lists, for commands that need it without a session.

use std::path::Path;

use super::super::OpenError;
use super::open_maildrop::OpenMaildrop;
use super::separator::Separator;
use super::time_limit::TimeLimit;
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
        OpenMaildrop::try_open(path, separator, threads::mail(), &TimeLimit::bounded()).map(Self)
    }

    /// The messages in the order of the listing.
    pub fn messages(&self) -> impl Iterator<Item = ListedMessage<'_>> {
        self.0.listing.entries().map(|entry| ListedMessage {
            id: entry.unique_id().as_str(),
            file_name: entry.name,
            octets: entry.sizes.octets,
        })
    }

    /// The unique-ids of messages that have been removed, and that clients may still remember.
    pub fn removed_ids(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }
}
