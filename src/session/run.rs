//! The loop of a session: a line, a state that takes it, a reply, the next state.

use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::authorization::Authorization;
use super::context::Context;
use super::dialogue::{Dialogue, Replied};
use super::end::{End, Summary};
use super::env::{Env, Link, Security};
use super::fault::Fault;
use super::language::Language;
use super::state::{Line, Next, State};
use super::stream::Stream;
use super::wire::Deadline;
use crate::credentials::CredentialStore;
use crate::login::Refusal;
use crate::mailbox::Mailbox;
use crate::protocol::{LineLimit, Reply, ReplyText, Secret, WrongProtocol};

/// Runs one session to its end: greets, reads commands, replies to each in its turn.
///
/// - All replies have been sent when it returns, unless the client is gone or does not read.
/// - `stream` is left open: what follows is for the server to do (see [`End::StartTls`]).
/// - `summary` is kept up to date, for the case that the session is cut off.
pub async fn run<S, M, C>(
    stream: &mut S,
    env: &Env<M, C>,
    link: &Link,
    summary: &mut Summary,
) -> End
where
    S: Stream,
    M: Mailbox,
    C: CredentialStore,
{
    let mut dialogue =
        Dialogue::new(stream, &env.policy, env.authenticator.throttle(), link, summary);
    let outcome = tokio::select! {
        biased;
        outcome = converse(&mut dialogue, Context { env, link }) => outcome,
        () = link.evictable.evicted() => Err(End::Evicted),
    };
    match outcome {
        Ok(farewell) => dialogue.wire.finish().await.err().unwrap_or(farewell),
        Err(End::Evicted) => {
            dialogue.dismiss(&Fault::Evicted).await;
            End::Evicted
        }
        Err(end) => {
            if let End::BodyFailed(error) = &end {
                tracing::error!(%error, "a message was not sent to its end");
            }
            // What was promised before the end is still due; the end itself stays the reason.
            if !end.is_deaf() {
                let _gone_as_well = dialogue.wire.flush().await;
            }
            end
        }
    }
}

/// The loop: a line, a state that takes it, a reply, the next state.
async fn converse<M: Mailbox, C: CredentialStore>(
    dialogue: &mut Dialogue<'_>,
    context: Context<'_, M, C>,
) -> Result<End, End> {
    if context.link.security != Security::UpgradedTls {
        // A client shows this as an alert; a refused password makes it ask for another one.
        if let Some(why) = context.env.authenticator.down() {
            let fault = Fault::Refused(Refusal::Unavailable(why));
            dialogue.wire.reply(&Language::default().refuse(&fault));
            return Ok(End::StoresDown);
        }
        let greeting = format!("{} POP3 server ready", context.env.policy.hostname);
        dialogue.wire.reply(&Reply::Ok(ReplyText::new(greeting)));
    }
    meet(dialogue, context).await?;
    let mut state = State::<M::Maildrop>::Authorization(Authorization::default());
    loop {
        let line = read(dialogue, &state, context).await?;
        // However many commands have come at once, other sessions have their turn.
        consume_budget().await;
        if state.is_stopped(context.env) {
            return Ok(End::Shutdown);
        }
        if !state.is_logged_in() && dialogue.exceeds_login() {
            let Replied { .. } = dialogue.answer().fault(&Fault::TooManyCommands);
            return Ok(End::TooManyCommands);
        }
        // Boxed, so that a session that waits holds no room for the work of a command.
        let turn = Box::pin(state.handle(line, dialogue.answer(), context));
        let (Replied { .. }, next) = turn.await?;
        if let Some(end) = dialogue.verdict() {
            return Ok(end);
        }
        state = match next {
            Next::Continue(state) => state,
            Next::StartTls => return Ok(End::StartTls),
            Next::Close => return Ok(End::Quit),
        };
        dialogue.wire.relieve().await?;
    }
}

/// Looks at the first line that the client sends: not everybody who connects speaks POP3.
async fn meet<M: Mailbox, C: CredentialStore>(
    dialogue: &mut Dialogue<'_>,
    context: Context<'_, M, C>,
) -> Result<(), End> {
    dialogue.wire.flush().await?;
    let undecided = |unread: &[u8]| {
        !unread.contains(&b'\n')
            && unread.len() < FIRST_LINE
            && WrongProtocol::recognise(unread).is_none()
    };
    while undecided(dialogue.wire.unread()) {
        let deadline = Deadline { until: context.link.login_deadline, or: End::LoginTimeout };
        dialogue.wire.fill(deadline, stopping(context.env)).await?;
    }
    match WrongProtocol::recognise(dialogue.wire.unread()) {
        Some(protocol) => Err(End::WrongProtocol(protocol)),
        None => Ok(()),
    }
}

/// So much of the first line is waited for, at most, to see who speaks.
const FIRST_LINE: usize = 255;

/// Waits for a whole line.
async fn read<M: Mailbox, C: CredentialStore>(
    dialogue: &mut Dialogue<'_>,
    state: &State<M::Maildrop>,
    context: Context<'_, M, C>,
) -> Result<Line, End> {
    let limit = match state {
        State::Authorization(_) | State::Transaction(_) => LineLimit::Command,
        State::Exchange(_) | State::TokenRefused(_) => LineLimit::Response,
    };
    let mut since = None;
    loop {
        match dialogue.wire.next_line(limit) {
            Ok(Some(line)) => return Ok(Ok(Secret::new(line.to_vec()))),
            Ok(None) => {}
            Err(fault) => return Ok(Err(fault)),
        }
        dialogue.wire.flush().await?;
        match state {
            State::Authorization(_) | State::Exchange(_) | State::TokenRefused(_) => {
                let until = context.link.login_deadline;
                let deadline = Deadline { until, or: End::LoginTimeout };
                dialogue.wire.fill(deadline, stopping(context.env)).await?;
            }
            State::Transaction(transaction) => {
                // Counted from when the client has had the last reply: octets that drip in do not
                // prolong it, only a whole command does (RFC 1939 §3).
                let since = *since.get_or_insert_with(Instant::now);
                let until = since + context.env.policy.idle;
                let deadline = Deadline { until, or: End::IdleTimeout };
                // Who is in the middle of a command is not idle.
                let idle_since = dialogue.wire.unread().is_empty().then_some(since);
                dialogue.wire.fill(deadline, transaction.recalled(idle_since, context.env)).await?;
            }
        }
    }
}

/// Waits until the server is to stop, which ends who has not logged in.
async fn stopping<M, C>(env: &Env<M, C>) -> End {
    env.drain.cancelled().await;
    End::Shutdown
}
