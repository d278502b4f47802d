//! The states of a session (RFC 1939 §3), and what a handler yields.

use super::authorization::Authorization;
use super::context::Context;
use super::dialogue::{Answer, Replied};
use super::end::End;
use super::env::Env;
use super::exchange::{ExpectResponse, TokenRefused};
use super::fault::Fault;
use super::transaction::Transaction;
use crate::credentials::CredentialStore;
use crate::mailbox::{Mailbox, Maildrop};
use crate::protocol::{Command, LineError, Secret};

/// A line without its end, which may carry a password, or what is wrong with it.
pub(super) type Line = Result<Secret<Vec<u8>>, LineError>;

/// Where a session stands; each state owns what is valid in it and nothing else.
pub(super) enum State<D> {
    Authorization(Authorization),
    Exchange(Box<ExpectResponse>),
    TokenRefused(TokenRefused),
    Transaction(Transaction<D>),
}

/// The outcome of a turn: the command has been answered, and this comes next. An error is the
/// end of the session, of which the client is told nothing.
pub(super) type Turn<D> = Result<(Replied, Next<D>), End>;

pub(super) enum Next<D> {
    Continue(State<D>),
    StartTls,
    Close,
}

impl<D: Maildrop> State<D> {
    pub(super) fn is_logged_in(&self) -> bool {
        match self {
            Self::Authorization(_) | Self::Exchange(_) | Self::TokenRefused(_) => false,
            Self::Transaction(_) => true,
        }
    }

    /// Whether the server stops and has no time for a session in this state, however much of what the
    /// client has sent is still to be answered.
    pub(super) fn is_stopped<M, C>(&self, env: &Env<M, C>) -> bool {
        let over = if self.is_logged_in() { &env.grace_over } else { &env.drain };
        over.is_cancelled()
    }

    pub(super) async fn handle<M, C>(
        self,
        line: Line,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<D>
    where
        M: Mailbox<Maildrop = D>,
        C: CredentialStore,
    {
        match self {
            Self::Authorization(state) => match command(line) {
                Ok(command) => state.handle(command, answer, context).await,
                Err(fault) => Ok((answer.fault(&fault), state.stay())),
            },
            Self::Exchange(state) => match line {
                // Boxed, like all of a login: other commands need no room for one.
                Ok(line) => Box::pin(state.handle(line, answer, context)).await,
                Err(fault) => Ok(state.fail(&fault.into(), answer)),
            },
            Self::TokenRefused(state) => Ok(state.handle(answer)),
            Self::Transaction(state) => match command(line) {
                Ok(command) => state.handle(command, answer, context).await,
                Err(fault) => Ok((answer.fault(&fault), state.stay())),
            },
        }
    }
}

fn command(line: Line) -> Result<Command, Fault> {
    Ok(Command::parse(line?.expose())?)
}
