//! The traits of a mail store, however it keeps its messages.
//!
//! [`maildir`] is one implementation; only it knows of files. [`Mailbox::open`] takes the lock and
//! returns a [`Maildrop`]: one immutable listing that holds for the whole session.

use std::future::Future;
use std::io;
use std::time::{Duration, SystemTime};

use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

use crate::login::Identity;
use crate::protocol::UniqueId;

pub mod maildir;
pub mod memory;

/// A store with one maildrop for each user.
pub trait Mailbox: Send + Sync + 'static {
    /// What [`open`](Self::open) returns.
    type Maildrop: Maildrop;

    /// Locks the maildrop of `identity` and takes its listing (RFC 1939 §4).
    ///
    /// Does not wait for another session. The lock is released when the maildrop is dropped.
    ///
    /// `cancellation` is cancelled when the caller no longer waits. That ends no work by itself: a
    /// login whose client has gone still writes the index, so that the next login finds it. Work that
    /// may take very long gives up.
    ///
    /// # Errors
    /// [`OpenError`] when it is locked or cannot be read whole. Never a partial listing.
    fn open(
        &self,
        identity: &Identity,
        cancellation: &CancellationToken,
    ) -> impl Future<Output = Result<Self::Maildrop, OpenError>> + Send;

    /// Opens the maildrop, and waits up to `wait` for another session to end. Calls `ask` before
    /// each further attempt, to ask that session to end.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    fn open_within(
        &self,
        identity: &Identity,
        cancellation: &CancellationToken,
        wait: Duration,
        ask: impl Fn() + Send + Sync,
    ) -> impl Future<Output = Result<Self::Maildrop, OpenError>> + Send {
        async move {
            let mut opened = self.open(identity, cancellation).await;
            if !matches!(opened, Err(OpenError::InUse { .. })) {
                return opened;
            }
            let deadline = Instant::now() + wait;
            let mut pause = FIRST_PAUSE;
            while matches!(opened, Err(OpenError::InUse { .. })) {
                ask();
                if Instant::now() >= deadline {
                    break;
                }
                time::sleep_until(deadline.min(Instant::now() + pause)).await;
                pause = LONGEST_PAUSE.min(pause * 2);
                opened = self.open(identity, cancellation).await;
            }
            opened
        }
    }
}

/// The pauses between attempts to take the lock: short at first, for a client that reconnects
/// while its last session still writes the index.
const FIRST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A locked maildrop: an immutable listing of messages, and access to their contents.
pub trait Maildrop: Send + Sync + Sized + 'static {
    /// What [`message`](Self::message) returns.
    type Message: Message;

    /// The number of messages in the listing. Their positions are `0..count`.
    fn count(&self) -> u32;

    /// The unique-id of a message: the same in every session, and unique in this listing.
    ///
    /// # Panics
    /// When `at` is not a position of this listing. The other methods panic, too.
    fn unique_id(&self, at: Position) -> UniqueId<'_>;

    /// The octets of a message as RETR sends it, before dot-stuffing (RFC 1939 §11).
    fn octets(&self, at: Position) -> u64;

    /// The octets of all messages. A session calls this once.
    fn total_octets(&self) -> u64 {
        (0..self.count()).map(|at| self.octets(Position(at))).sum()
    }

    /// Opens a message for reading, even if it has been moved since the listing was taken.
    ///
    /// # Errors
    /// [`MessageError`] when it is gone or cannot be read.
    fn message(
        &self,
        at: Position,
    ) -> impl Future<Output = Result<Self::Message, MessageError>> + Send;

    /// Removes messages durably. The lock is released soon after the result, once the store has
    /// written its index.
    ///
    /// - A message that is already gone counts as removed. A message that cannot be removed does
    ///   not keep the others.
    /// - Once begun, the removal is finished, even if the caller no longer waits.
    /// - Afterwards, in the background, `observer` gets each message that was removed here.
    ///
    /// # Errors
    /// [`RemovalError`] with the number of messages that remain. They are not removed later.
    fn remove(
        self,
        marked: Vec<Position>,
        observer: Option<RemovalObserver>,
    ) -> impl Future<Output = Result<(), RemovalError>> + Send + 'static;
}

/// A callback that gets each message that has been removed.
pub struct RemovalObserver(Box<dyn Fn(&RemovedMessage<'_>) + Send>);

impl RemovalObserver {
    /// The callback may block for a moment: it is called in the background.
    pub fn new(observe: impl Fn(&RemovedMessage<'_>) + Send + 'static) -> Self {
        Self(Box::new(observe))
    }

    /// Passes a message to the callback.
    pub fn notify(&self, removed: &RemovedMessage<'_>) {
        (self.0)(removed);
    }
}

/// A message that has been removed.
#[derive(Debug)]
pub struct RemovedMessage<'a> {
    /// The unique-id that the client knew it by.
    pub unique_id: &'a str,
    /// Its octets in the listing.
    pub octets: u64,
    /// The Message-ID in its header, if that was cheap to read. The sender chose this text.
    pub message_id: Option<&'a str>,
}

/// The position of a message in the listing of its maildrop, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u32);

/// The stored bytes of one message, read as a stream.
pub trait Message: Send {
    /// The octets as RETR sends them, counted again if the message has changed since it was listed.
    fn octets(&self) -> u64;

    /// The next bytes as they are stored, with their own line ends; empty at the end.
    ///
    /// # Errors
    /// When the message cannot be read up to the size that it had when it was opened.
    fn chunk(&mut self) -> impl Future<Output = io::Result<&[u8]>> + Send;
}

/// Why a maildrop was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another session has locked it.
    #[error("another session has locked the maildrop")]
    InUse {
        /// Since when, if known.
        since: Option<SystemTime>,
    },
    /// It does not exist, or cannot be read completely at the moment.
    #[error(transparent)]
    Unavailable(Failure),
    /// The store does not show it, because clients would download mail again.
    #[error(transparent)]
    Guarded(Failure),
}

/// Why a message was not opened.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It has been removed since the listing was taken.
    #[error("the message has been removed")]
    Gone,
    /// It exists, but cannot be read.
    #[error(transparent)]
    Unreadable(Failure),
}

/// Not all messages could be removed.
#[derive(Debug, thiserror::Error)]
#[error("{remaining} messages remain: {cause}")]
pub struct RemovalError {
    /// How many remain.
    pub remaining: u32,
    /// What went wrong first.
    #[source]
    pub cause: Failure,
}

/// An error of the system with the operation that failed, for the log.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct Failure {
    what: String,
    source: io::Error,
}

impl Failure {
    /// Names what was attempted, say `read /var/vmail/mrose/Maildir/cur`.
    pub fn new(what: impl Into<String>, source: io::Error) -> Self {
        Self { what: what.into(), source }
    }

    /// The error of the system.
    pub fn source(&self) -> &io::Error {
        &self.source
    }
}
