//! Where mail is: the traits that a store implements, whatever it keeps its messages in.
//!
//! Nothing here is about files; [`maildir`] is one implementation. [`Mailbox::open`] takes the
//! lock and yields a [`Maildrop`]: one immutable listing that holds for the whole session.

use std::error::Error;
use std::future::Future;
use std::time::{Duration, SystemTime};
use std::{fmt, io};

use tokio::time::{self, Instant};

use crate::login::Identity;
use crate::protocol::UniqueId;

mod cancellation;
pub mod maildir;
pub mod memory;

pub use cancellation::{Cancellation, DropGuard};

/// A store of maildrops, one a user.
pub trait Mailbox: Send + Sync + 'static {
    /// What [`open`](Self::open) yields.
    type Maildrop: Maildrop;

    /// Locks the maildrop of `identity` and takes its listing (RFC 1939 §4).
    ///
    /// Waits for no other session. What takes very long may be given up when the `interest` is lost. The lock is released when the maildrop is dropped, on whichever
    /// way.
    ///
    /// # Errors
    /// [`OpenError`] when it is locked or cannot be read whole. Never a partial listing.
    fn open(
        &self,
        identity: &Identity,
        cancellation: &Cancellation,
    ) -> impl Future<Output = Result<Self::Maildrop, OpenError>> + Send;

    /// The same, and waits for another session to end, for as long as `wait`. Before each further
    /// attempt `ask` is called, to ask that session to end.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    fn open_within(
        &self,
        identity: &Identity,
        cancellation: &Cancellation,
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

/// How long a session that waits for the lock pauses between attempts: short at first, for a
/// client that comes back at once, while its last session still writes the index.
const FIRST_PAUSE: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A locked maildrop: an immutable listing of messages, and the way to their bytes.
pub trait Maildrop: Send + Sync + Sized + 'static {
    /// What [`message`](Self::message) yields.
    type Message: Message;

    /// How many messages the listing has; their positions are `0..count`.
    fn count(&self) -> u32;

    /// The unique-id of a message: the same in every session, and unique in this listing.
    ///
    /// # Panics
    /// When `at` is not a position of this listing, as for the other methods.
    fn unique_id(&self, at: Position) -> UniqueId<'_>;

    /// The octets of a message as RETR sends it, before dot-stuffing (RFC 1939 §11).
    fn octets(&self, at: Position) -> u64;

    /// The octets of all messages; asked once a session.
    fn total_octets(&self) -> u64 {
        (0..self.count()).map(|at| self.octets(Position(at))).sum()
    }

    /// Opens a message for reading, wherever the store keeps it by now.
    ///
    /// # Errors
    /// [`MessageError`] when it is gone or cannot be read.
    fn message(
        &self,
        at: Position,
    ) -> impl Future<Output = Result<Self::Message, MessageError>> + Send;

    /// Removes messages for good, makes that durable, and releases the lock.
    ///
    /// - A message that is already gone counts as removed. When some cannot be removed the others
    ///   are removed all the same.
    /// - Once it has begun, it is finished, even if nobody waits for it.
    /// - Then, and without anybody waiting for it, `witness` is shown what was removed here.
    ///
    /// # Errors
    /// [`RemovalError`] with the number of those that remain. These are not removed later either.
    fn remove(
        self,
        marked: Vec<Position>,
        observer: Option<RemovalObserver>,
    ) -> impl Future<Output = Result<(), RemovalError>> + Send + 'static;
}

/// Who is shown each message that has been removed.
pub struct RemovalObserver(Box<dyn Fn(&RemovedMessage<'_>) + Send>);

impl RemovalObserver {
    /// Does so with each message. It may wait a little, and is not called where others wait for it.
    pub fn new(see: impl Fn(&RemovedMessage<'_>) + Send + 'static) -> Self {
        Self(Box::new(see))
    }

    /// Shows it a message.
    pub fn notify(&self, gone: &RemovedMessage<'_>) {
        (self.0)(gone);
    }
}

impl fmt::Debug for RemovalObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemovalObserver")
    }
}

/// A message that is no more.
#[derive(Debug)]
pub struct RemovedMessage<'a> {
    /// As the client knew it.
    pub unique_id: &'a str,
    /// As the listing had them.
    pub octets: u64,
    /// What its header says, where that could be read at no great cost. It is the sender's text.
    pub message_id: Option<&'a str>,
}

/// The place of a message in the listing of its maildrop, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u32);

/// The stored bytes of one message, read as a stream.
pub trait Message: Send {
    /// The octets as RETR sends them, counted anew when the listing's figure has gone stale.
    fn octets(&self) -> u64;

    /// The next bytes as they are stored, with whatever line ends; empty at the end.
    ///
    /// # Errors
    /// When the message cannot be read to the end that it had when it was opened.
    fn chunk(&mut self) -> impl Future<Output = io::Result<&[u8]>> + Send;
}

/// Why a maildrop was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another session has it.
    InUse {
        /// Since when, if that is known.
        since: Option<SystemTime>,
    },
    /// It cannot be read whole at the moment, or it is not there.
    Unavailable(Failure),
}

/// Why a message was not opened.
#[derive(Debug)]
pub enum MessageError {
    /// It has been removed since the listing was taken.
    Gone,
    /// It is there, but cannot be read.
    Unreadable(Failure),
}

/// Not all messages could be removed.
#[derive(Debug)]
pub struct RemovalError {
    /// How many remain.
    pub remaining: u32,
    /// What went wrong first.
    pub cause: Failure,
}

/// What went wrong, for the log: what was done to what, and the error of the system.
#[derive(Debug)]
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.source)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
