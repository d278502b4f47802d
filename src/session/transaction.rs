//! TRANSACTION: the client reads and marks messages (RFC 1939 §5).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
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
use super::wanted::Wanted;
use crate::credentials::CredentialStore;
use crate::login::Identity;
use crate::mailbox::{Cancellation, Mailbox, Maildrop};
use crate::protocol::{Command, Extent, MessageNumber, Username};

/// A user who is logged in, with the maildrop locked.
///
/// Dropping it releases the lock and removes nothing; only [`update`](Self::update) removes.
pub(super) struct Transaction<D> {
    pub(super) listing: Listing<D>,
    pub(super) identity: Identity,
    session: Slot<Username, Wanted>,
}

impl<D: Maildrop> Transaction<D> {
    /// Locks the maildrop of a user (RFC 1939 §4), and waits for another session to end for as long
    /// as `wait`.
    pub(super) async fn open<M, C>(
        identity: Identity,
        wait: Duration,
        context: Context<'_, M, C>,
    ) -> Result<Self, Fault>
    where
        M: Mailbox<Maildrop = D>,
        C: CredentialStore,
    {
        let env = context.env;
        // What follows is told only to those who know the password (RFC 2449 §8.1).
        let limit = identity.sessions().map_or(env.policy.sessions_per_user, NonZeroU32::get);
        let session = env
            .sessions
            .take(identity.username().clone(), limit)
            .ok_or(Fault::TooManySessions(limit))?;
        // Finished in any case: a login that has run out of time keeps its place among the
        // sessions of the user until the store answers, or one user's tries could take all threads.
        let mailbox = Arc::clone(&env.mailbox);
        let cancellation = Cancellation::default();
        let own = cancellation.clone();
        let opening = async move {
            let ask = || session.shared().tell();
            let listing = Listing::new(mailbox.open_within(&identity, &own, wait, ask).await?);
            Ok(Self { listing, identity, session })
        };
        let _waiting = cancellation.drop_guard();
        Finish::new(opening.in_current_span()).await
    }

    pub(super) async fn handle<M, C>(
        mut self,
        command: Command,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<D>
    where
        M: Mailbox<Maildrop = D>,
        C: CredentialStore,
    {
        if answer.peer_gone() {
            return self.without_client(command, answer, context).await;
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
            Command::Retr(number) => match self.message(number).await {
                Ok(mut message) => {
                    let notice = Notice::Octets(crate::mailbox::Message::octets(&message));
                    answer.message(notice, &mut message, Extent::Whole).await?
                }
                Err(fault) => answer.fault(&fault),
            },
            Command::Top(number, lines) => match self.message(number).await {
                Ok(mut message) => {
                    let extent = Extent::Top(lines);
                    answer.message(Notice::Top, &mut message, extent).await?
                }
                Err(fault) => answer.fault(&fault),
            },
            Command::Dele(number) => match self.listing.mark(number) {
                Ok(()) => answer.say(Notice::Marked(number)),
                Err(fault) => answer.fault(&fault),
            },
            Command::Rset => {
                self.listing.reset();
                answer.say(Notice::Totals(self.listing.totals()))
            }
            Command::Noop => answer.ok(""),
            Command::Capa => {
                let capabilities = capabilities(context);
                answer.lines(Notice::Capabilities, capabilities.iter()).await?
            }
            // DEVIATION: RFC 6856 §2 — UTF8 belongs before login; Outlook sends it after as well.
            // DEVIATION: RFC 6856 §2.1 — it changes nothing: messages are sent as they are anyway.
            Command::Utf8 => answer.say(Notice::Utf8),
            Command::Lang(range) => answer.language(range).await?,
            Command::Quit => return Ok((self.update(answer, context).await?, Next::Close)),
            Command::User(_)
            | Command::Pass(_)
            | Command::AuthMechanisms
            | Command::Auth(..)
            | Command::Stls => answer.fault(&Fault::AlreadyLoggedIn),
        };
        Ok((replied, self.stay()))
    }

    /// Takes a command whose client is gone: only what the QUIT that may follow is to remove matters
    /// any more.
    ///
    /// A client that has asked for mail and not got it has not seen what it wants to be removed.
    async fn without_client<M, C>(
        mut self,
        command: Command,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<D>
    where
        M: Mailbox<Maildrop = D>,
        C: CredentialStore,
    {
        match command {
            Command::Dele(number) => match self.listing.mark(number) {
                Ok(()) | Err(_) => {}
            },
            Command::Rset => self.listing.reset(),
            Command::Quit => return Ok((self.update(answer, context).await?, Next::Close)),
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
            | Command::Stls => {}
        }
        Ok((answer.unheard(), self.stay()))
    }

    /// Waits for a reason to end a session whose client has said nothing since `idle_since`; nothing
    /// stands for one that has begun a command.
    ///
    /// Ending it takes its marks back, so one with marks is left alone as long as the server can.
    pub(super) async fn recalled<M, C>(&self, idle_since: Option<Instant>, env: &Env<M, C>) -> End {
        let Some(since) = idle_since.filter(|_| !self.listing.has_marks()) else {
            env.grace_over.cancelled().await;
            return End::Shutdown;
        };
        tokio::select! {
            () = self.yielding(since + env.policy.yield_idle) => End::Yielded,
            () = stopping(since + IDLE_AT_STOP, env) => End::Shutdown,
        }
    }

    /// Waits until the user has logged in again, at `from` or later.
    async fn yielding(&self, from: Instant) {
        loop {
            self.session.shared().told().await;
            if Instant::now() >= from {
                return;
            }
        }
    }

    pub(super) fn stay(self) -> Next<D> {
        Next::Continue(State::Transaction(self))
    }

    /// Who has logged in.
    pub(super) fn user(&self) -> &Username {
        self.identity.username()
    }

    async fn message(&self, number: MessageNumber) -> Result<D::Message, Fault> {
        let at = self.listing.live(number)?;
        let message = self.listing.maildrop().message(at).await;
        message.map_err(|error| Fault::Message(number, error))
    }
}

/// Waits until the server is to stop and has given the client time until `from`, or no longer can.
async fn stopping<M, C>(from: Instant, env: &Env<M, C>) {
    env.drain.cancelled().await;
    tokio::select! {
        () = sleep_until(from) => {}
        () = env.grace_over.cancelled() => {}
    }
}

/// When the server is to stop, a client that has said nothing for so long is not waited for: one that
/// is at work comes with its next command sooner.
const IDLE_AT_STOP: Duration = Duration::from_secs(5);
