//! A POP3 session: the states of RFC 1939 §3 and the loop that drives them.
//!
//! The session sees a stream of bytes and the traits of [`mailbox`](crate::mailbox) and
//! [`auth`](crate::auth); it knows neither sockets nor TLS nor files.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::authorization::Authorization;
use self::dialogue::{Answer, Dialogue, Replied};
use self::exchange::{ExpectResponse, TokenRefused};
use self::fault::Fault;
use self::language::Language;
use self::transaction::Transaction;
use self::wire::Patience;
use crate::auth::{Authenticator, CredentialStore, Refusal};
use crate::mailbox::{Mailbox, Maildrop};
use crate::protocol::sasl::{Channel, Mechanism, MechanismSet};
use crate::protocol::{
    Capability, ClaimedName, Command, LineError, LineLimit, Reply, ReplyText, Secret, Stranger,
    Username,
};

mod authorization;
mod dialogue;
mod end;
mod evictable;
mod exchange;
mod fault;
mod finish;
mod language;
mod listing;
mod pace;
mod slots;
mod stream;
mod transaction;
mod update;
mod wanted;
mod wire;

pub use end::{End, Summary};
pub use evictable::{Evictable, Place};
pub use slots::{Slot, Slots};
pub use stream::{SILENCE, Stream, Taken};
pub use wanted::Wanted;

/// What every session of a server shares; made anew when the configuration is reloaded.
pub struct Env<M, C> {
    /// Where mail is. Shared, because a maildrop may take longer to open than anybody waits.
    pub mailbox: Arc<M>,
    /// Who may log in.
    pub authenticator: Authenticator<C>,
    /// The operator's choices.
    pub policy: Policy,
    /// How many sessions each user has.
    pub sessions: Arc<Slots<Username, Wanted>>,
    /// Removals under way; they are finished whatever becomes of their sessions.
    pub removals: TaskTracker,
    /// Cancelled when the server is to stop: nobody logs in any more, and who has, goes on to QUIT.
    pub drain: CancellationToken,
    /// Cancelled when the time for that is over: sessions end after the running command.
    pub grace_over: CancellationToken,
}

/// The operator's choices that a session obeys.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The name in the greeting.
    pub hostname: String,
    /// The domain of names without one, unless the link has another.
    pub default_domain: Option<Arc<str>>,
    /// UTF8 is listed among the capabilities; the command is taken in any case.
    pub utf8: bool,
    /// Passwords are taken without TLS.
    pub allow_cleartext: bool,
    /// The mechanisms that may be offered; what every user of the stores can use when there is
    /// nothing here.
    pub mechanisms: Option<MechanismSet>,
    /// A failed log-in is answered at a multiple of this after it began.
    pub failure_delay: Duration,
    /// Bad commands in a row before the connection is closed.
    pub bad_commands: u32,
    /// Failed log-ins before the connection is closed.
    pub failed_logins: u32,
    /// Sessions of one user, those included that wait for the lock.
    pub sessions_per_user: u32,
    /// How long a connection waits in all for another session of its user to end.
    pub lock_wait: Duration,
    /// A session without marks that has waited so long for a command ends when its user logs in
    /// again.
    pub yield_idle: Duration,
    /// Each message that is removed has a line in the log.
    pub log_removals: bool,
    /// Without a command, after login.
    pub idle: Duration,
    /// In which the client takes next to nothing of what waits for it.
    pub write: Duration,
}

/// The stream that a session runs on, as the server found or made it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Whether passwords are safe on it.
    pub security: Security,
    /// Where the client is.
    pub peer: IpAddr,
    /// The version of TLS, for the log.
    pub tls: Option<&'static str>,
    /// What a mechanism can be bound to.
    pub channel: Channel,
    /// The users that the client has a certificate for.
    pub certificate: Vec<Username>,
    /// The domain of names without one, in place of that of the policy.
    pub default_domain: Option<Arc<str>>,
    /// By when the client has to be logged in.
    pub login_deadline: Instant,
    /// The place of the connection among those that may be ended.
    pub place: Arc<Place>,
}

impl Link {
    /// A stream to which nothing can be bound, from a client without a certificate, which is the only
    /// one of its server.
    pub fn new(security: Security, peer: IpAddr, login_deadline: Instant) -> Self {
        let (channel, certificate) = (Channel::default(), Vec::new());
        let (tls, default_domain) = (None, None);
        let place = Arc::new(Arc::<Evictable>::default().enter(peer));
        Self { security, peer, tls, channel, certificate, default_domain, login_deadline, place }
    }
}

/// How a stream is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all; STLS is possible when `stls` is so.
    Cleartext {
        /// Whether the server has a certificate for this socket.
        stls: bool,
    },
    /// TLS from the first octet: the session greets.
    ImplicitTls,
    /// TLS after STLS: the client has been greeted (RFC 2595 §4).
    UpgradedTls,
}

impl Security {
    fn is_tls(self) -> bool {
        match self {
            Self::Cleartext { .. } => false,
            Self::ImplicitTls | Self::UpgradedTls => true,
        }
    }
}

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
        () = link.place.evicted() => Err(End::Evicted),
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
            dialogue.wire.reply(&fault.reply(Language::default()));
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
            && Stranger::recognise(unread).is_none()
    };
    while undecided(dialogue.wire.unread()) {
        let patience = Patience { until: context.link.login_deadline, or: End::LoginTimeout };
        dialogue.wire.fill(patience, stopping(context.env)).await?;
    }
    match Stranger::recognise(dialogue.wire.unread()) {
        Some(stranger) => Err(End::Stranger(stranger)),
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
                let patience = Patience { until, or: End::LoginTimeout };
                dialogue.wire.fill(patience, stopping(context.env)).await?;
            }
            State::Transaction(transaction) => {
                // Counted from when the client has had the last reply: octets that drip in do not
                // prolong it, only a whole command does (RFC 1939 §3).
                let since = *since.get_or_insert_with(Instant::now);
                let until = since + context.env.policy.idle;
                let patience = Patience { until, or: End::IdleTimeout };
                // Who is in the middle of a command is not idle.
                let idle_since = dialogue.wire.unread().is_empty().then_some(since);
                dialogue.wire.fill(patience, transaction.recalled(idle_since, context.env)).await?;
            }
        }
    }
}

/// Waits until the server is to stop, which ends who has not logged in.
async fn stopping<M, C>(env: &Env<M, C>) -> End {
    env.drain.cancelled().await;
    End::Shutdown
}

/// A line without its end, which may carry a password, or what is wrong with it.
type Line = Result<Secret<Vec<u8>>, LineError>;

/// Where a session stands; each state owns what is valid in it and nothing else.
enum State<D> {
    Authorization(Authorization),
    Exchange(Box<ExpectResponse>),
    TokenRefused(TokenRefused),
    Transaction(Transaction<D>),
}

/// The outcome of a turn: the command has been answered, and this comes next. An error is the
/// end of the session, of which the client is told nothing.
type Turn<D> = Result<(Replied, Next<D>), End>;

enum Next<D> {
    Continue(State<D>),
    StartTls,
    Close,
}

impl<D: Maildrop> State<D> {
    fn is_logged_in(&self) -> bool {
        match self {
            Self::Authorization(_) | Self::Exchange(_) | Self::TokenRefused(_) => false,
            Self::Transaction(_) => true,
        }
    }

    /// Whether the server stops and has no time for a session in this state, however much of what the
    /// client has sent is still to be answered.
    fn is_stopped<M, C>(&self, env: &Env<M, C>) -> bool {
        let over = if self.is_logged_in() { &env.grace_over } else { &env.drain };
        over.is_cancelled()
    }

    async fn handle<M, C>(
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
                // Boxed, like all of a log-in: other commands need no room for one.
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

/// What a handler may know of the world.
struct Context<'a, M, C> {
    env: &'a Env<M, C>,
    link: &'a Link,
}

impl<M, C> Clone for Context<'_, M, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, C> Copy for Context<'_, M, C> {}

impl<M, C> Context<'_, M, C> {
    /// Whether a password may be sent now (RFC 8314 §4.1).
    fn takes_passwords(&self) -> bool {
        self.link.security.is_tls() || self.env.policy.allow_cleartext
    }

    /// The name that counts, for stores, throttle and log alike: one account has one name.
    fn whole(&self, name: ClaimedName) -> ClaimedName {
        match self.link.default_domain.as_ref().or(self.env.policy.default_domain.as_ref()) {
            Some(domain) => name.within(domain),
            None => name,
        }
    }

    fn offers_stls(&self) -> bool {
        self.link.security == Security::Cleartext { stls: true }
    }

    /// Makes a client that cannot log in wait until a multiple of the failure delay after `begun`:
    /// how long it took to find out why says nothing then. A server that wants to stop is not held up.
    async fn hold_back(&self, begun: Instant) {
        let delay = self.env.policy.failure_delay;
        if delay.is_zero() {
            return;
        }
        let whole = begun.elapsed().as_nanos().div_ceil(delay.as_nanos()).max(1);
        let until = begun + delay.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX));
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = self.env.drain.cancelled() => {}
        }
    }
}

impl<M, C: CredentialStore> Context<'_, M, C> {
    /// Why USER and PASS lead nowhere, if that is so.
    fn without_passwords(&self) -> Option<Fault> {
        if !self.takes_passwords() {
            Some(Fault::CleartextRefused)
        } else if !self.env.authenticator.offers().passwords {
            Some(Fault::NoPasswords)
        } else {
            None
        }
    }

    /// With which mechanisms a client can log in now.
    ///
    /// - What the stores let every user do, or what the operator wants and the stores let some do.
    /// - The -PLUS mechanisms only when the operator names them: clients choose them before all
    ///   others, and some of those cannot bind after all and never try anything else.
    /// - None before passwords may be sent: a hash of one can be guessed against as well.
    fn mechanisms(&self) -> MechanismSet {
        use Mechanism::{
            External, Login, OAuthBearer, Plain, ScramSha1, ScramSha1Plus, ScramSha256,
            ScramSha256Plus, XOAuth2,
        };
        if !self.takes_passwords() {
            return MechanismSet::default();
        }
        let offers = self.env.authenticator.offers();
        let wanted = self.env.policy.mechanisms;
        let binds = self.link.channel.binds();
        let offered = |mechanism: &Mechanism| match mechanism {
            External => !self.link.certificate.is_empty(),
            ScramSha256Plus | ScramSha1Plus => binds && wanted.is_some(),
            ScramSha256 => offers.scram_sha_256 || wanted.is_some(),
            ScramSha1 => offers.scram_sha_1 || wanted.is_some(),
            OAuthBearer | XOAuth2 => offers.tokens,
            Plain | Login => offers.passwords,
        };
        let allowed = |mechanism: &Mechanism| wanted.is_none_or(|set| set.contains(*mechanism));
        Mechanism::ALL.into_iter().filter(|one| allowed(one) && offered(one)).collect()
    }
}

/// The capabilities of both states. What can be used before login is listed after it as well
/// (RFC 2449 §5, RFC 5034 §3).
fn capabilities<M, C: CredentialStore>(context: Context<'_, M, C>) -> Vec<Capability> {
    let mut capabilities = vec![Capability::Top, Capability::Uidl];
    if context.without_passwords().is_none() {
        capabilities.push(Capability::User);
    }
    let mechanisms = context.mechanisms();
    if !mechanisms.is_empty() {
        capabilities.push(Capability::Sasl(mechanisms));
    }
    capabilities.extend([
        Capability::RespCodes,
        Capability::AuthRespCode,
        Capability::Pipelining,
        Capability::ExpireNever,
    ]);
    // DEVIATION: RFC 6856 §2 — UTF8 is taken and not listed, unless the operator wants it to be:
    // Evolution 3.46 sends it without a line end where it is, and waits for a reply for ever.
    if context.env.policy.utf8 {
        capabilities.push(Capability::Utf8User);
    }
    capabilities.extend([Capability::Lang, Capability::Implementation]);
    capabilities
}
