//! AUTHORIZATION: the client says who it is (RFC 1939 §4, RFC 2595 §4, RFC 5034 §4).

use tokio::time::timeout_at;

use super::dialogue::{Answer, Replied};
use super::fault::Fault;
use super::transaction::Transaction;
use super::{Context, End, Next, State, Turn};
use crate::auth::CredentialStore;
use crate::mailbox::Mailbox;
use crate::protocol::sasl::{self, Mechanism, Step};
use crate::protocol::{Capability, ClaimedName, Command, InitialResponse, Secret};

/// Waiting for a command; the name is what the last USER said.
#[derive(Default)]
pub(super) struct Authorization {
    claimed: Option<ClaimedName>,
}

/// Waiting for a response in an AUTH exchange: another grammar, hence another state.
pub(super) struct Exchange {
    exchange: sasl::Exchange,
    /// Where a failed exchange leads back to, as if AUTH had not been sent (RFC 5034 §4).
    before: Authorization,
}

impl Authorization {
    pub(super) async fn handle<M: Mailbox, C: CredentialStore>(
        self,
        command: Command,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        match command {
            Command::User(name) => self.user(name, answer, context),
            Command::Pass(password) => self.pass(password, answer, context).await,
            Command::AuthMechanisms => {
                let offered = if context.takes_passwords() { &Mechanism::ALL[..] } else { &[] };
                let replied = answer.lines("mechanisms follow", offered.iter()).await?;
                Ok((replied, self.stay()))
            }
            Command::Auth(mechanism, response) => {
                self.auth(mechanism, response, answer, context).await
            }
            Command::Stls => self.stls(answer, context),
            Command::Capa => {
                let capabilities = capabilities(context);
                let replied = answer.lines("capabilities follow", capabilities.iter()).await?;
                Ok((replied, self.stay()))
            }
            Command::Quit => Ok((answer.ok("goodbye"), Next::Close)),
            Command::Stat
            | Command::List(_)
            | Command::Uidl(_)
            | Command::Retr(_)
            | Command::Top(..)
            | Command::Dele(_)
            | Command::Noop
            | Command::Rset => Ok((answer.fault(&Fault::LogInFirst), self.stay())),
        }
    }

    /// Any name is welcome: whether it exists is not told before the password (RFC 1939 §7 USER).
    fn user<M: Mailbox, C: CredentialStore>(
        self,
        name: ClaimedName,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        if !context.takes_passwords() {
            return Ok((answer.fault(&Fault::CleartextRefused), self.stay()));
        }
        let claimed = Some(name);
        Ok((answer.ok("send PASS"), Self { claimed }.stay()))
    }

    async fn pass<M: Mailbox, C: CredentialStore>(
        self,
        password: Secret<Vec<u8>>,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        if !context.takes_passwords() {
            return Ok((answer.fault(&Fault::CleartextRefused), self.stay()));
        }
        // RFC 1939 §7 PASS: after a failure the client begins again with USER.
        match self.claimed {
            Some(name) => Self::default().log_in(name, password, answer, context).await,
            None => Ok((answer.fault(&Fault::UserFirst), self.stay())),
        }
    }

    async fn auth<M: Mailbox, C: CredentialStore>(
        self,
        mechanism: Mechanism,
        response: InitialResponse,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        if !context.takes_passwords() {
            return Ok((answer.fault(&Fault::CleartextRefused), self.stay()));
        }
        let exchange = Exchange { exchange: mechanism.begin(), before: self };
        match response {
            InitialResponse::Absent => Ok(exchange.challenge(answer)),
            InitialResponse::Present(response) => match sasl::decode_initial(response.expose()) {
                Ok(response) => exchange.step(response, answer, context).await,
                Err(sasl::NotBase64) => Ok(exchange.fail(&Fault::NotBase64, answer)),
            },
        }
    }

    /// What came in the clear behind STLS was put there by somebody in the middle: no reply, the
    /// connection ends (RFC 2595 §4).
    fn stls<M: Mailbox, C: CredentialStore>(
        self,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        if context.link.security.is_tls() {
            return Ok((answer.fault(&Fault::TlsActive), self.stay()));
        }
        if !context.offers_stls() {
            return Ok((answer.fault(&Fault::NoTls), self.stay()));
        }
        if !answer.unread().is_empty() {
            return Err(End::PlaintextAfterStls);
        }
        Ok((answer.ok("begin TLS now"), Next::StartTls))
    }

    /// Verifies the password and opens the maildrop; on failure the state is `self`.
    async fn log_in<M: Mailbox, C: CredentialStore>(
        self,
        name: ClaimedName,
        password: Secret<Vec<u8>>,
        mut answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        let opening = Transaction::open(&name, password, context);
        let opened = timeout_at(context.link.login_deadline, opening).await;
        match opened.unwrap_or(Err(Fault::TooSlow)) {
            Ok(transaction) => {
                answer.logged_in(transaction.user(), transaction.listing.totals().messages);
                let replied = answer.ok(transaction.totals_in_words());
                Ok((replied, transaction.stay()))
            }
            Err(fault) => {
                tracing::info!(user = %name, reply = %fault.reply(), "log-in failed");
                context.hold_back().await;
                Ok((answer.fault(&fault), self.stay()))
            }
        }
    }

    pub(super) fn stay<D>(self) -> Next<D> {
        Next::Continue(State::Authorization(self))
    }
}

impl Exchange {
    /// Takes a line from the client (RFC 5034 §4).
    pub(super) async fn handle<M: Mailbox, C: CredentialStore>(
        self,
        line: Secret<Vec<u8>>,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        if line.expose() == b"*" {
            return Ok(self.fail(&Fault::Cancelled, answer));
        }
        match sasl::decode(line.expose()) {
            Ok(response) => self.step(response, answer, context).await,
            Err(sasl::NotBase64) => Ok(self.fail(&Fault::NotBase64, answer)),
        }
    }

    /// Ends the exchange because of a line that cannot be a response.
    pub(super) fn fail<D>(self, fault: &Fault, answer: Answer<'_, '_>) -> (Replied, Next<D>) {
        (answer.fault(fault), self.before.stay())
    }

    async fn step<M: Mailbox, C: CredentialStore>(
        self,
        response: Secret<Vec<u8>>,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        let Self { exchange, before } = self;
        match exchange.step(response) {
            Step::Challenge(exchange) => Ok(Self { exchange, before }.challenge(answer)),
            Step::Verify(name, password) => before.log_in(name, password, answer, context).await,
            Step::ForAnother => Ok((answer.fault(&Fault::ForAnother), before.stay())),
            Step::Malformed => Ok((answer.fault(&Fault::MalformedResponse), before.stay())),
        }
    }

    fn challenge<D>(self, answer: Answer<'_, '_>) -> (Replied, Next<D>) {
        let replied = answer.challenge(self.exchange.challenge());
        (replied, Next::Continue(State::Exchange(self)))
    }
}

/// What CAPA lists before login (RFC 2449 §5). What needs a password is listed when one may be
/// sent now, so that a client which does as it is told never sends it in the clear.
fn capabilities<M: Mailbox, C: CredentialStore>(context: Context<'_, M, C>) -> Vec<Capability> {
    let mut capabilities = super::capabilities(context);
    if context.offers_stls() {
        capabilities.push(Capability::Stls);
    }
    capabilities
}
