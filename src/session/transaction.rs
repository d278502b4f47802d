//! TRANSACTION: the client reads and marks messages (RFC 1939 §5).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::capabilities::capabilities;
use super::context::Context;
use super::dialogue::Answer;
use super::end::End;
use super::env::Env;
use super::fault::Fault;
use super::finish::Finish;
use super::language::Notice;
use super::listing::{Listing, Totals};
use super::slots::Slot;
use super::state::{Next, State, Turn};
use crate::counters;
use crate::credentials::CredentialStore;
use crate::login::Identity;
use crate::mailbox::{Mailbox, Maildrop};
use crate::protocol::{Command, Extent, MessageNumber, Username};

/// A user who is logged in, with the maildrop locked.
///
/// Dropping it releases the lock and removes nothing; only [`update`](Self::update) removes.
pub(super) struct Transaction<M: Mailbox> {
    pub(super) listing: Listing<M::Maildrop>,
    pub(super) identity: Identity,
    session: Slot<Username, Arc<Notify>>,
}

impl<M: Mailbox> Transaction<M> {
    /// Locks the maildrop of a user (RFC 1939 §4), and waits up to `wait` for another session to end.
    pub(super) async fn open<C: CredentialStore>(
        identity: Identity,
        wait: Duration,
        context: Context<'_, M, C>,
    ) -> Result<Box<Self>, Fault> {
        let env = context.env;
        // Only a client that knows the password learns what follows (RFC 2449 §8.1).
        let limit = identity.sessions().map_or(env.policy.sessions_per_user, NonZeroU32::get);
        let session = env
            .sessions
            .take(identity.username().clone(), limit)
            .ok_or(Fault::TooManySessions(limit))?;
        // Finished in any case: a login that has missed its deadline counts as a session of the user
        // until the store answers. Otherwise the attempts of one user could occupy all threads.
        let mailbox = Arc::clone(&env.mailbox);
        let cancellation = CancellationToken::default();
        let own = cancellation.clone();
        let opening = async move {
            let ask = || session.shared().notify_waiters();
            let maildrop = mailbox.open_within(&identity, &own, wait, ask).await;
            let listing = Listing::new(maildrop.map_err(Fault::Maildrop)?);
            Ok(Box::new(Self { listing, identity, session }))
        };
        let _waiting = cancellation.drop_guard();
        Finish::new(opening.in_current_span()).await
    }

    pub(super) async fn handle<C: CredentialStore>(
        mut self: Box<Self>,
        command: Command,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        if answer.peer_gone() && !matches!(command, Command::Quit) {
            self.without_client(&command)?;
            return Ok((answer.no_reply(), self.stay()));
        }
        let replied = match command {
            Command::Stat => {
                let Totals { messages, octets } = self.listing.totals();
                answer.ok(format!("{messages} {octets}"))
            }
            Command::List(None) => {
                answer
                    .lines(Notice::Totals(self.listing.totals()), self.listing.live_octets())
                    .await?
            }
            Command::List(Some(number)) => match self.listing.live(number) {
                Ok(at) => answer.ok(format!("{number} {}", self.listing.maildrop().octets(at))),
                Err(fault) => answer.fault(&fault),
            },
            Command::Uidl(None) => {
                answer.lines(Notice::UniqueIds, self.listing.live_unique_ids()).await?
            }
            Command::Uidl(Some(number)) => match self.listing.live(number) {
                Ok(at) => answer.ok(format!("{number} {}", self.listing.maildrop().unique_id(at))),
                Err(fault) => answer.fault(&fault),
            },
            Command::Retr(number) => {
                let begun = counters::clock();
                match self.message(number).await {
                    Ok(mut message) => {
                        let notice = Notice::Octets(crate::mailbox::Message::octets(&message));
                        let replied = answer.message(notice, &mut message, Extent::Whole).await?;
                        self.count_retrieval(number, begun);
                        replied
                    }
                    Err(fault) => answer.fault(&fault),
                }
            }
            Command::Top(number, lines) => match self.message(number).await {
                Ok(mut message) => {
                    let extent = Extent::Top(lines);
                    answer.message(Notice::Top, &mut message, extent).await?
                }
                Err(fault) => answer.fault(&fault),
            },
            Command::Dele(number) => match self.listing.mark(number) {
                Ok(()) => {
                    self.show_marks(context);
                    answer.say(Notice::Marked(number))
                }
                Err(fault) => answer.fault(&fault),
            },
            Command::Rset => {
                self.listing.reset();
                self.show_marks(context);
                answer.say(Notice::Totals(self.listing.totals()))
            }
            Command::Noop => answer.ok(""),
            Command::Capa => {
                let capabilities = capabilities(context);
                answer.lines(Notice::Capabilities, capabilities.iter()).await?
            }
            // DEVIATION: RFC 6856 §2 — UTF8 belongs before login; Outlook also sends it after that.
            // DEVIATION: RFC 6856 §2.1 — it has no effect: messages are always sent as they are.
            Command::Utf8 => answer.say(Notice::Utf8),
            Command::Lang(range) => answer.lang(range).await?,
            Command::Quit => return Ok((self.update(answer, context).await?, Next::Close)),
            Command::User(_)
            | Command::Pass(_)
            | Command::AuthMechanisms
            | Command::Auth(..)
            | Command::Stls => answer.fault(&Fault::AlreadyLoggedIn),
        };
        Ok((replied, self.stay()))
    }

    /// Lets other tasks see the number of marks.
    fn show_marks<C>(&self, context: Context<'_, M, C>) {
        let marked = self.listing.marked();
        context.link.handle().change(|activity| activity.marked = marked);
    }

    /// Carries out a command of a client that is gone: only the marks for QUIT still matter.
    ///
    /// A client that did not get a message that it asked for has not seen what it wants to remove.
    fn without_client(&mut self, command: &Command) -> Result<(), End> {
        match command {
            Command::Dele(number) => match self.listing.mark(*number) {
                Ok(()) | Err(_) => {}
            },
            Command::Rset => self.listing.reset(),
            Command::Retr(_) | Command::Top(..) => return Err(End::PeerClosed),
            Command::Stat
            | Command::List(_)
            | Command::Uidl(_)
            | Command::Noop
            | Command::Capa
            | Command::Utf8
            | Command::Lang(_)
            | Command::User(_)
            | Command::Pass(_)
            | Command::AuthMechanisms
            | Command::Auth(..)
            | Command::Stls
            | Command::Quit => {}
        }
        Ok(())
    }

    /// Waits for a reason to end a session whose client has been silent since `idle_since`, which is
    /// `None` if the client has begun a command.
    ///
    /// A session with marks goes on as long as possible, because its end discards them.
    pub(super) async fn recalled<C>(&self, idle_since: Option<Instant>, env: &Env<M, C>) -> End {
        let Some(since) = idle_since.filter(|_| !self.listing.has_marks()) else {
            env.grace_over.cancelled().await;
            return End::Shutdown;
        };
        tokio::select! {
            () = self.yielding(since + env.policy.yield_idle) => End::Yielded,
            () = stopping(since + IDLE_AT_STOP, env) => End::Shutdown,
        }
    }

    /// Waits until another session of the user wants the maildrop, at `from` or later.
    ///
    /// RFC 1939 §4 allows one session at a time to have a maildrop, and does not say what happens if
    /// that session is idle. Here an idle session ends when the same user logs in again, if its
    /// client loses only the connection by that:
    ///
    /// - It has waited for a command for `maildir.yield-idle`. So no reply is being sent, and the
    ///   system delivers earlier replies before it closes the connection.
    /// - No message is marked as deleted: ending the session would discard the marks, because only
    ///   QUIT removes messages.
    /// - The other session has logged in with the right password, in this process.
    ///
    /// The session of a client that has vanished is usually idle. If the client vanished in the
    /// middle of a message, it cannot be told from a slow one, and gets the time of
    /// `timeouts.write`.
    async fn yielding(&self, from: Instant) {
        loop {
            self.session.shared().notified().await;
            if Instant::now() >= from {
                return;
            }
        }
    }

    pub(super) fn stay(self: Box<Self>) -> Next<M> {
        Next::Continue(State::Transaction(self))
    }

    /// Counts a RETR that began at `begun`.
    fn count_retrieval(&self, number: MessageNumber, begun: Option<Instant>) {
        let (Some(counters), Some(begun)) = (counters::on(), begun) else { return };
        let Ok(at) = self.listing.live(number) else { return };
        let (maildrop, user) = (self.listing.maildrop(), self.identity.username());
        counters.retrieval_time.observe(begun.elapsed());
        counters.retrieved_octets.add(maildrop.octets(at));
        if counters.retrieved_messages.remember(user, maildrop.unique_id(at)) {
            counters.retrieved_again.add(1);
        }
    }

    async fn message(
        &self,
        number: MessageNumber,
    ) -> Result<<M::Maildrop as Maildrop>::Message, Fault> {
        let at = self.listing.live(number)?;
        let message = self.listing.maildrop().message(at).await;
        message.map_err(|error| Fault::Message(number, error))
    }
}

/// Waits until the server stops, and then until `from` or until the grace time is over.
async fn stopping<M, C>(from: Instant, env: &Env<M, C>) {
    env.drain.cancelled().await;
    tokio::select! {
        () = sleep_until(from) => {}
        () = env.grace_over.cancelled() => {}
    }
}

/// A server that stops does not wait for a client that has been silent for this long: an active
/// client sends its next command sooner.
const IDLE_AT_STOP: Duration = Duration::from_secs(5);
