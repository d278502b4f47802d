//! The states of a session (RFC 1939 §3), and the result of a handler.

use super::authorization::Authorization;
use super::context::Context;
use super::dialogue::{Answer, Replied};
use super::end::End;
use super::env::Env;
use super::exchange::{ExpectResponse, TokenRefused};
use super::fault::Fault;
use super::transaction::Transaction;
use crate::credentials::CredentialStore;
use crate::mailbox::Mailbox;
use crate::protocol::{Command, LineError, Secret};

/// A line without its end, which may contain a password, or the error in it.
pub(super) type Line = Result<Secret<Vec<u8>>, LineError>;

/// The state of a session. Each state owns only what is valid in it.
pub(super) enum State<M: Mailbox> {
    Authorization(Authorization),
    Exchange(Box<ExpectResponse>),
    TokenRefused(TokenRefused),
    Transaction(Box<Transaction<M>>),
}

/// The result of a handler: the command has been answered, and this is next. An error ends the
/// session without a reply.
pub(super) type Turn<M> = Result<(Replied, Next<M>), End>;

pub(super) enum Next<M: Mailbox> {
    Continue(State<M>),
    StartTls,
    Close,
}

impl<M: Mailbox> State<M> {
    pub(super) fn is_logged_in(&self) -> bool {
        match self {
            Self::Authorization(_) | Self::Exchange(_) | Self::TokenRefused(_) => false,
            Self::Transaction(_) => true,
        }
    }

    /// Whether the next line is a response in a SASL exchange (RFC 5034 §4), and no command.
    pub(super) fn expects_response(&self) -> bool {
        match self {
            Self::Authorization(_) | Self::Transaction(_) => false,
            Self::Exchange(_) | Self::TokenRefused(_) => true,
        }
    }

    /// Whether the server is stopping and ends a session in this state, even if commands of the client
    /// are still to be answered.
    pub(super) fn is_stopped<C>(&self, env: &Env<M, C>) -> bool {
        let over = if self.is_logged_in() { &env.grace_over } else { &env.drain };
        over.is_cancelled()
    }

    pub(super) async fn handle<C: CredentialStore>(
        self,
        line: Line,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        match self {
            Self::Authorization(state) => match command(line) {
                Ok(command) => state.handle(command, answer, context).await,
                Err(fault) => Ok((answer.fault(&fault), state.stay())),
            },
            Self::Exchange(state) => match line {
                // Boxed, as all of a login is: other commands need no memory for it.
                Ok(line) => Box::pin(state.handle(line, answer, context)).await,
                Err(fault) => Ok(state.fail(&Fault::Line(fault), answer)),
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
    let line = line.map_err(Fault::Line)?;
    Command::parse(line.expose()).map_err(Fault::Command)
}
