//! AUTHORIZATION: the client says who it is (RFC 1939 §4, RFC 2595 §4, RFC 5034 §4).

use tokio::time::{Instant, timeout_at};

use super::context::Context;
use super::dialogue::{Answer, Replied};
use super::end::End;
use super::env::Link;
use super::exchange::Exchange;
use super::fault::Fault;
use super::language::{Language, Notice};
use super::listing::Totals;
use super::state::{Next, State, Turn};
use super::transaction::Transaction;
use crate::counters;
use crate::credentials::{AppPasswordName, CredentialStore};
use crate::login::{Identity, Refusal};
use crate::mailbox::Mailbox;
use crate::protocol::sasl::{Channel, Mechanism};
use crate::protocol::{Capability, ClaimedName, Command, CommandError, InitialResponse, Secret};

/// The state before login, with the name of the last USER command.
#[derive(Default)]
pub(super) struct Authorization {
    claimed: Option<ClaimedName>,
}

impl Authorization {
    pub(super) async fn handle<M: Mailbox, C: CredentialStore>(
        self,
        command: Command,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        match command {
            Command::User(name) => self.user(name, answer, context),
            Command::Pass(password) => self.pass(password, answer, context).await,
            Command::AuthMechanisms => {
                let offered = context.mechanisms().into_iter();
                let replied = answer.lines(Notice::Mechanisms, offered).await?;
                Ok((replied, self.stay()))
            }
            Command::Auth(mechanism, response) => {
                self.auth(mechanism, response, answer, context).await
            }
            Command::Stls => self.stls(answer, context),
            Command::Capa => {
                let capabilities = capabilities(context);
                let replied = answer.lines(Notice::Capabilities, capabilities.iter()).await?;
                Ok((replied, self.stay()))
            }
            Command::Utf8 => Ok((answer.say(Notice::Utf8), self.stay())),
            Command::Lang(range) => {
                let replied = answer.lang(range).await?;
                Ok((replied, self.stay()))
            }
            Command::Quit => Ok((answer.say(Notice::Goodbye), Next::Close)),
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

    /// Accepts any name: the reply does not reveal whether it exists (RFC 1939 §7 USER).
    fn user<M: Mailbox, C: CredentialStore>(
        self,
        name: ClaimedName,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        if let Some(fault) = context.without_passwords() {
            return Ok((answer.fault(&fault), self.stay()));
        }
        let claimed = Some(context.whole(name));
        Ok((answer.say(Notice::SendPass), Self { claimed }.stay()))
    }

    async fn pass<M: Mailbox, C: CredentialStore>(
        self,
        password: Secret<Vec<u8>>,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        if let Some(fault) = context.without_passwords() {
            return Ok((answer.fault(&fault), self.stay()));
        }
        // RFC 1939 §7 PASS: after a failure the client begins again with USER.
        match self.claimed {
            Some(name) => {
                let _held = context.link.handle().hold()?;
                let authenticator = &context.env.authenticator;
                let verified = authenticator.authenticate(&name, password, context.link.peer());
                // Boxed, as all of a login is: other commands need no memory for it.
                let logging_in = Self::default().log_in(&name, USER, verified, answer, context);
                Box::pin(logging_in).await
            }
            None => Ok((answer.fault(&Fault::UserFirst), self.stay())),
        }
    }

    async fn auth<M: Mailbox, C: CredentialStore>(
        self,
        mechanism: Mechanism,
        response: InitialResponse,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        if !context.takes_passwords() {
            return Ok((answer.fault(&Fault::CleartextRefused), self.stay()));
        }
        let offered = context.mechanisms();
        if !offered.contains(&mechanism) {
            let fault = Fault::Command(CommandError::UnknownMechanism);
            return Ok((answer.fault(&fault), self.stay()));
        }
        // If the -PLUS mechanisms are not offered, a client that has not seen them is right.
        let binds = offered.contains(&Mechanism::ScramSha256Plus)
            || offered.contains(&Mechanism::ScramSha1Plus);
        let channel = if binds { context.link.channel.clone() } else { Channel::default() };
        let exchange = Exchange::new(mechanism, self);
        Box::pin(exchange.begin(channel, response, answer, context)).await
    }

    /// Plaintext after STLS may come from an attacker in the middle: the connection ends without a
    /// reply (RFC 2595 §4).
    fn stls<M: Mailbox, C: CredentialStore>(
        self,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        if context.link.security.is_tls() {
            return Ok((answer.fault(&Fault::TlsActive), self.stay()));
        }
        if !context.offers_stls() {
            return Ok((answer.fault(&Fault::NoTls), self.stay()));
        }
        if !answer.unread().is_empty() {
            return Err(End::PlaintextAfterStls);
        }
        Ok((answer.say(Notice::BeginTls), Next::StartTls))
    }

    /// Opens the maildrop of the user whom `proving` identifies. After a failure the state is `self`.
    pub(super) async fn log_in<M: Mailbox, C: CredentialStore>(
        self,
        name: &ClaimedName,
        mechanism: &'static str,
        proving: impl Future<Output = Result<Identity, Refusal>> + Send,
        mut answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        let (mut name, begun) = (name.clone(), Instant::now());
        let (mut proved, lock_wait) = (false, answer.lock_wait());
        let opening = async {
            let identity = proving.await.map_err(Fault::Refused)?;
            proved = true;
            // The client may have given no name, or another spelling of it.
            name = ClaimedName::new(identity.username().as_str().as_bytes());
            Transaction::open(identity, lock_wait, context).await
        };
        let opened = timeout_at(context.link.login_deadline, opening).await;
        match opened.unwrap_or(Err(Fault::TooSlow)) {
            Ok(transaction) => {
                let totals = transaction.listing.totals();
                log_success(&transaction.identity, mechanism, totals, context.link);
                if let Some(counters) = counters::on() {
                    counters.logins.add(("succeeded", mechanism), 1);
                    counters.login_time.observe(begun.elapsed());
                }
                answer.logged_in(&transaction.identity, totals.messages);
                context.env.last_logins.count(transaction.identity.username());
                let replied = answer.say(Notice::Totals(totals));
                Ok((replied, transaction.stay()))
            }
            // The reply reveals that the password was right, so its timing may, too.
            Err(fault) if proved => {
                log_failure(&name, mechanism, &fault, &answer);
                Ok((answer.fault(&fault), self.stay()))
            }
            Err(fault) => {
                let failed = Failed { name: &name, mechanism, begun };
                Ok(self.refuse(&failed, &fault, answer, context).await)
            }
        }
    }

    /// Refuses a login. The time of the reply does not reveal the reason.
    pub(super) async fn refuse<M: Mailbox, C: CredentialStore>(
        self,
        failed: &Failed<'_>,
        fault: &Fault,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> (Replied, Next<M>) {
        log_failure(failed.name, failed.mechanism, fault, &answer);
        context.hold_back(failed.begun).await;
        (answer.fault(fault), self.stay())
    }

    pub(super) fn stay<M: Mailbox>(self) -> Next<M> {
        Next::Continue(State::Authorization(self))
    }
}

/// A login that has failed.
pub(super) struct Failed<'a> {
    pub(super) name: &'a ClaimedName,
    pub(super) mechanism: &'static str,
    pub(super) begun: Instant,
}

/// Logs a login.
fn log_success(identity: &Identity, mechanism: &'static str, totals: Totals, link: &Link) {
    let Totals { messages, octets } = totals;
    tracing::info!(
        user = identity.username().as_str(),
        app_password = identity.app_password().map(AppPasswordName::as_str),
        mechanism,
        tls = link.handle().tls(),
        messages,
        octets,
        "login succeeded"
    );
}

/// The name of a login with USER and PASS in the log.
const USER: &str = "USER";

/// Logs and counts a failed login.
pub(super) fn log_failure(
    name: &ClaimedName,
    mechanism: &'static str,
    fault: &Fault,
    answer: &Answer<'_, '_>,
) {
    if let Some(counters) = counters::on() {
        counters.logins.add((fault.login_outcome(), mechanism), 1);
    }
    if fault.entry().is_some_and(|entry| !answer.logs(entry)) {
        return;
    }
    // config/fail2ban parses this line: the text that the client chose comes last.
    let reply = Language::default().refuse(fault);
    let repeated = matches!(fault, Fault::Refused(Refusal::RepeatedPassword)).then_some(true);
    tracing::info!(%reply, repeated, user = %name, "login failed");
}

/// The capabilities before login (RFC 2449 §5). Those that need a password are listed only if it
/// may be sent now, so that a client that obeys the list never sends it in the clear.
fn capabilities<M: Mailbox, C: CredentialStore>(context: Context<'_, M, C>) -> Vec<Capability> {
    let mut capabilities = super::capabilities::capabilities(context);
    if context.offers_stls() {
        capabilities.push(Capability::Stls);
    }
    capabilities
}
