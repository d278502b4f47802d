//! UPDATE: removes the marked messages (RFC 1939 §6). No other file removes mail.

use tracing::Level;

use super::context::Context;
use super::dialogue::{Answer, Replied};
use super::end::End;
use super::env::Env;
use super::fault::Fault;
use super::language::Notice;
use super::transaction::Transaction;
use crate::counters;
use crate::credentials::CredentialStore;
use crate::mailbox::{Mailbox, Maildrop, RemovalObserver};
use crate::protocol::Username;

impl<M: Mailbox> Transaction<M> {
    /// Removes the marked messages durably, and then replies; the index is written and the lock
    /// released after that. Without marks, the lock is released before the reply, unless the index
    /// has to be corrected first.
    ///
    /// - If messages that the client has asked for before cannot be sent, the session ends and no
    ///   message is removed.
    /// - It consumes the state, so it cannot run twice.
    /// - The removal is a separate task. It is finished even if the session ends, and the server does
    ///   not end before it.
    pub(super) async fn update<C: CredentialStore>(
        self,
        mut answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Result<Replied, End> {
        let left = self.listing.totals().messages;
        let (maildrop, positions) = self.listing.into_marked();
        let marked = u32::try_from(positions.len()).unwrap_or(u32::MAX);
        if marked == 0 {
            drop(maildrop);
            return Ok(answer.say(Notice::NothingRemoved(left)));
        }
        answer.flush_mail().await?;
        context.link.handle().begin_update()?;
        let observer = observer(self.identity.username().clone(), context.env);
        let removal = context.env.removals.spawn(maildrop.remove(positions, observer)).await;
        let failed = match removal {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some((error.remaining, Some(error.cause))),
            Err(_panicked) => Some((marked, None)),
        };
        let remaining = failed.as_ref().map_or(0, |(remaining, _)| *remaining);
        let (removed, left_over) = (u64::from(marked - remaining), u64::from(left + remaining));
        context.link.handle().end_update(removed, left_over);
        if let Some(counters) = counters::on() {
            counters.removed.add(removed);
            counters.not_removed.add(u64::from(remaining));
        }
        Ok(match failed {
            None => answer.say(Notice::Removed(marked, left)),
            Some((remaining, cause)) => {
                answer.fault(&Fault::NotRemoved { remaining, marked, cause })
            }
        })
    }
}

/// Logs each message that was removed; `None` if the policy or the log level excludes that.
fn observer<M, C>(user: Username, env: &Env<M, C>) -> Option<RemovalObserver> {
    if !env.policy.log_removals || !tracing::enabled!(Level::INFO) {
        return None;
    }
    // The server does not end before all messages are logged.
    let telling = env.removals.token();
    Some(RemovalObserver::new(move |gone| {
        let _telling = &telling;
        let (user, unique_id) = (user.as_str(), gone.unique_id);
        let (octets, message_id) = (gone.octets, gone.message_id);
        tracing::info!(user, unique_id, octets, message_id, "message removed");
    }))
}
