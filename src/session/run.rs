//! The loop of a session: it reads a line, lets the state answer it, and takes the next state.

use std::pin::pin;

use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::authorization::Authorization;
use super::context::Context;
use super::dialogue::{Dialogue, Replied};
use super::end::End;
use super::env::{Env, Link, Security};
use super::fault::Fault;
use super::language::Language;
use super::state::{Line, Next, State};
use super::stream::Stream;
use super::watch::{Speaker, shown};
use crate::credentials::CredentialStore;
use crate::login::Refusal;
use crate::mailbox::Mailbox;
use crate::protocol::{LineLimit, Reply, ReplyText, Secret, WrongProtocol};

/// Runs one session to its end: greets, reads commands, replies to each in its turn.
///
/// - All replies have been sent when it returns, unless the client is gone or does not read.
/// - `stream` is left open: the server decides what follows (see [`End::StartTls`]).
/// - The [`Activity`](super::Activity) of the connection is always up to date, in case the session is
///   cut off.
pub async fn run<M: Mailbox, C: CredentialStore>(
    stream: &mut impl Stream,
    env: &Env<M, C>,
    link: &Link,
) -> End {
    let mut dialogue = Dialogue::new(stream, &env.policy, env.authenticator.throttle(), link);
    let serving = async {
        let end = answer_commands(&mut dialogue, Context { env, link }).await?;
        dialogue.wire.finish().await?;
        Ok(end)
    };
    let outcome = tokio::select! {
        biased;
        outcome = serving => outcome,
        end = link.handle().ended() => Err(end),
    };
    match outcome {
        Ok(end) => end,
        Err(End::Evicted) => {
            dialogue.dismiss(&Fault::Evicted).await;
            End::Evicted
        }
        Err(End::Kicked) => {
            // No reply can come in the middle of another one.
            if link.handle().idle().is_some() {
                dialogue.dismiss(&Fault::Kicked).await;
            }
            End::Kicked
        }
        Err(end) => {
            if let End::BodyFailed(error) = &end {
                tracing::error!(%error, "a message was not sent to its end");
            }
            // Earlier replies are still due. An error of sending them does not replace the reason.
            if !end.is_unreachable() {
                tokio::select! {
                    biased;
                    _gone_as_well = dialogue.wire.flush() => {}
                    _kicked = link.handle().ended() => {}
                }
            }
            end
        }
    }
}

/// Greets, and answers commands until the session ends.
async fn answer_commands<M: Mailbox, C: CredentialStore>(
    dialogue: &mut Dialogue<'_>,
    context: Context<'_, M, C>,
) -> Result<End, End> {
    if context.link.security != Security::UpgradedTls {
        // A client shows this error to its user; after a refused password it asks for another one.
        if let Some(why) = context.env.authenticator.down() {
            let fault = Fault::Refused(Refusal::Unavailable(why));
            dialogue.reply(&Language::default().refuse(&fault));
            return Ok(End::StoresDown);
        }
        let greeting = format!("{} POP3 server ready", context.env.policy.hostname);
        dialogue.reply(&Reply::Ok(ReplyText::new(greeting)));
    }
    check_protocol(dialogue, context).await?;
    let mut state = State::<M>::Authorization(Authorization::default());
    loop {
        let line = read(dialogue, &state, context).await?;
        // Other sessions get their turn, however many commands have arrived at once.
        consume_budget().await;
        if state.is_stopped(context.env) {
            return Ok(End::Shutdown);
        }
        if !state.is_logged_in() && dialogue.exceeds_login() {
            let Replied { .. } = dialogue.answer().fault(&Fault::TooManyCommands);
            return Ok(End::TooManyCommands);
        }
        // Boxed, so that a waiting session holds no memory for the work of a command.
        let turn = Box::pin(state.handle(line, dialogue.answer(), context));
        let (Replied { .. }, next) = turn.await?;
        if let Some(end) = dialogue.limit_reached() {
            return Ok(end);
        }
        state = match next {
            Next::Continue(state) => state,
            Next::StartTls => return Ok(End::StartTls),
            Next::Close => return Ok(End::Quit),
        };
        dialogue.wire.flush_if_full().await?;
    }
}

/// Checks the first line of the client: not all peers speak POP3.
async fn check_protocol<M: Mailbox, C: CredentialStore>(
    dialogue: &mut Dialogue<'_>,
    context: Context<'_, M, C>,
) -> Result<(), End> {
    dialogue.wire.flush().await?;
    context.link.handle().waits(Instant::now());
    let undecided = |unread: &[u8]| {
        !unread.contains(&b'\n')
            && unread.len() < FIRST_LINE
            && WrongProtocol::recognise(unread).is_none()
    };
    while undecided(dialogue.wire.unread()) {
        let deadline = context.link.login_deadline;
        dialogue.wire.fill(deadline, pin!(stopping(context.env))).await?;
    }
    match WrongProtocol::recognise(dialogue.wire.unread()) {
        Some(protocol) => Err(End::WrongProtocol(protocol)),
        None => Ok(()),
    }
}

/// The longest part of the first line that is waited for to recognise the protocol.
const FIRST_LINE: usize = 255;

/// Waits for a complete line.
fn read<M: Mailbox, C: CredentialStore>(
    dialogue: &mut Dialogue<'_>,
    state: &State<M>,
    context: Context<'_, M, C>,
) -> impl Future<Output = Result<Line, End>> {
    let limit = if state.expects_response() { LineLimit::Response } else { LineLimit::Command };
    // A block, because the arguments of an `async fn` take their memory twice.
    async move {
        let mut since = None;
        loop {
            if let Some(line) = dialogue.wire.next_line(limit).transpose() {
                let handle = context.link.handle();
                handle.works();
                let line = line.map(|line| Secret::new(line.to_vec()));
                let text = || shown::from_client(&line, state.expects_response());
                handle.tell(Speaker::Client, text);
                return Ok(line);
            }
            dialogue.wire.flush().await?;
            // Counted from the time of the last reply: only a complete command prolongs it, not single
            // octets (RFC 1939 §3).
            let since = *since.get_or_insert_with(Instant::now);
            context.link.handle().waits(since);
            match state {
                State::Authorization(_) | State::Exchange(_) | State::TokenRefused(_) => {
                    let deadline = context.link.login_deadline;
                    dialogue.wire.fill(deadline, pin!(stopping(context.env))).await?;
                }
                State::Transaction(transaction) => {
                    let deadline = since + context.env.policy.idle;
                    // A client in the middle of a command is not idle.
                    let idle_since = dialogue.wire.unread().is_empty().then_some(since);
                    // Boxed, so that a connection before login holds no memory for it.
                    let mut recalled = Box::pin(transaction.recalled(idle_since, context.env));
                    dialogue.wire.fill(deadline, recalled.as_mut()).await?;
                }
            }
        }
    }
}

/// Waits until the server stops, which ends sessions that have not logged in.
async fn stopping<M, C>(env: &Env<M, C>) -> End {
    env.drain.cancelled().await;
    End::Shutdown
}
