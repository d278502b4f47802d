//! A mail store in memory, for tests and benchmarks of sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use std::{future, io};

use tokio_util::sync::CancellationToken;

use super::{
    Failure, Mailbox, Maildrop, Message, MessageError, OpenError, Position, RemovalError,
    RemovalObserver, RemovedMessage,
};
use crate::login::Identity;
use crate::protocol::{OctetCounter, UniqueId, Username};

/// Maildrops by user. A clone is another handle to the same mail.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    drops: Arc<Mutex<HashMap<Username, Stored>>>,
}

#[derive(Debug, Default)]
struct Stored {
    messages: Vec<(String, Arc<[u8]>)>,
    opened: Option<SystemTime>,
}

impl MemoryStore {
    /// Puts a message into the maildrop of `user`; the first message creates the maildrop.
    ///
    /// `unique_id` must be a valid unique-id that the maildrop does not have yet.
    pub fn deliver(&self, user: &Username, unique_id: &str, message: impl Into<Arc<[u8]>>) {
        let mut drops = self.drops();
        let stored = drops.entry(user.clone()).or_default();
        stored.messages.push((unique_id.to_owned(), message.into()));
    }

    /// The unique-ids of the messages that a user has now.
    pub fn unique_ids(&self, user: &Username) -> Vec<String> {
        let drops = self.drops();
        let messages = drops.get(user).map_or(&[][..], |stored| &stored.messages);
        messages.iter().map(|(unique_id, _)| unique_id.clone()).collect()
    }

    fn drops(&self) -> MutexGuard<'_, HashMap<Username, Stored>> {
        self.drops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox for MemoryStore {
    type Maildrop = MemoryMaildrop;

    async fn open(
        &self,
        identity: &Identity,
        _cancellation: &CancellationToken,
    ) -> Result<MemoryMaildrop, OpenError> {
        let user = identity.username();
        let mut drops = self.drops();
        let Some(stored) = drops.get_mut(user) else {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            return Err(OpenError::Unavailable(Failure::new(format!("open {user}"), missing)));
        };
        if stored.opened.is_some() {
            return Err(OpenError::InUse { since: stored.opened });
        }
        stored.opened = Some(SystemTime::now());
        let listing = stored.messages.clone();
        drop(drops);
        Ok(MemoryMaildrop { listing, lock: Lock { store: self.clone(), user: user.clone() } })
    }
}

/// A maildrop of a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryMaildrop {
    listing: Vec<(String, Arc<[u8]>)>,
    lock: Lock,
}

/// Releases the maildrop on drop.
#[derive(Debug)]
struct Lock {
    store: MemoryStore,
    user: Username,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(stored) = self.store.drops().get_mut(&self.user) {
            stored.opened = None;
        }
    }
}

impl MemoryMaildrop {
    #[expect(clippy::indexing_slicing, reason = "positions are those of this listing")]
    fn entry(&self, at: Position) -> &(String, Arc<[u8]>) {
        &self.listing[at.0 as usize]
    }
}

impl Maildrop for MemoryMaildrop {
    type Message = MemoryMessage;

    fn count(&self) -> u32 {
        u32::try_from(self.listing.len()).unwrap_or(u32::MAX)
    }

    #[expect(clippy::expect_used, reason = "the caller of deliver gives a valid unique-id")]
    fn unique_id(&self, at: Position) -> UniqueId<'_> {
        UniqueId::try_from(self.entry(at).0.as_bytes()).expect("a valid unique-id")
    }

    fn octets(&self, at: Position) -> u64 {
        octets(&self.entry(at).1)
    }

    async fn message(&self, at: Position) -> Result<MemoryMessage, MessageError> {
        let bytes = Arc::clone(&self.entry(at).1);
        Ok(MemoryMessage { bytes, read: false })
    }

    fn remove(
        self,
        marked: Vec<Position>,
        observer: Option<RemovalObserver>,
    ) -> impl Future<Output = Result<(), RemovalError>> + Send + 'static {
        let gone: Vec<&str> = marked.iter().map(|at| self.entry(*at).0.as_str()).collect();
        if let Some(stored) = self.lock.store.drops().get_mut(&self.lock.user) {
            stored.messages.retain(|(unique_id, _)| !gone.contains(&unique_id.as_str()));
        }
        for at in marked {
            let (unique_id, octets) = (&self.entry(at).0, self.octets(at));
            if let Some(observer) = &observer {
                observer.notify(&RemovedMessage { unique_id, octets, message_id: None });
            }
        }
        future::ready(Ok(()))
    }
}

/// A message of a [`MemoryStore`], read as one chunk.
#[derive(Debug)]
pub struct MemoryMessage {
    bytes: Arc<[u8]>,
    read: bool,
}

impl Message for MemoryMessage {
    fn octets(&self) -> u64 {
        octets(&self.bytes)
    }

    async fn chunk(&mut self) -> io::Result<&[u8]> {
        if std::mem::replace(&mut self.read, true) { Ok(&[]) } else { Ok(&self.bytes) }
    }
}

fn octets(stored: &[u8]) -> u64 {
    let mut counter = OctetCounter::new();
    counter.update(stored);
    counter.finish()
}
