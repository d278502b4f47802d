//! A SASL exchange within AUTHORIZATION (RFC 5034 §4): another grammar, hence another state.

use tokio::time::{Instant, timeout_at};

use super::authorization::{Authorization, Failed, log_failure};
use super::context::Context;
use super::dialogue::{Answer, Replied};
use super::fault::Fault;
use super::state::{Next, State, Turn};
use crate::credentials::CredentialStore;
use crate::login::{Identity, Refusal, ScramLogin};
use crate::mailbox::Mailbox;
use crate::protocol::sasl::{
    self, Channel, Mechanism, ScramExchange, ScramProof, ServerFinal, Step, TokenClaim,
    TokenDialect,
};
use crate::protocol::{ClaimedName, InitialResponse, Secret};

/// An AUTH command under way.
pub(super) struct Exchange {
    mechanism: Mechanism,
    /// The state to return to after a failed exchange, as if AUTH had not been sent (RFC 5034 §4).
    before: Authorization,
}

/// The progress of an exchange.
#[expect(clippy::large_enum_variant, reason = "the state that it is part of is boxed")]
enum Stage {
    /// The client has yet to say who it is.
    Claim(sasl::Exchange),
    /// The client has yet to prove that it knows the password.
    Proof(ScramExchange, ScramLogin),
    /// The client has proved it, and the server has sent its own proof.
    Proved(Identity, ServerFinal),
}

/// The state of a session that waits for a response in an exchange.
pub(super) struct ExpectResponse {
    exchange: Exchange,
    stage: Stage,
}

impl ExpectResponse {
    /// Takes a line from the client.
    pub(super) async fn handle<M: Mailbox, C: CredentialStore>(
        self,
        line: Secret<Vec<u8>>,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        if line.expose() == b"*" {
            return Ok(self.fail(&Fault::Cancelled, answer));
        }
        match sasl::decode(line.expose()) {
            Ok(response) => self.exchange.step(self.stage, response, answer, context).await,
            Err(error) => Ok(self.fail(&Fault::Response(error), answer)),
        }
    }

    /// Ends the exchange because of a line that cannot be a response.
    pub(super) fn fail<M: Mailbox>(
        self,
        fault: &Fault,
        answer: Answer<'_, '_>,
    ) -> (Replied, Next<M>) {
        let replied = match self.stage {
            Stage::Proof(..) => answer.unproved(fault),
            Stage::Claim(_) | Stage::Proved(..) => answer.fault(fault),
        };
        (replied, self.exchange.before.stay())
    }
}

/// The state of a session that has told the client why its token was refused, and waits for its
/// response.
pub(super) struct TokenRefused {
    before: Authorization,
}

impl TokenRefused {
    /// The login has failed, whatever the response is, even `*` (RFC 7628 §3.2.3).
    pub(super) fn handle<M: Mailbox>(self, answer: Answer<'_, '_>) -> (Replied, Next<M>) {
        (answer.fault(&Fault::Refused(Refusal::BadToken)), self.before.stay())
    }
}

impl Exchange {
    /// An exchange that has not begun.
    pub(super) fn new(mechanism: Mechanism, before: Authorization) -> Self {
        Self { mechanism, before }
    }

    /// Begins it on a connection with these channel bindings, with the initial response of AUTH, if
    /// there is one.
    pub(super) async fn begin<M: Mailbox, C: CredentialStore>(
        self,
        channel: Channel,
        response: InitialResponse,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        let stage = Stage::Claim(self.mechanism.begin(channel));
        match response {
            InitialResponse::Absent => Ok(self.challenge(stage, answer)),
            InitialResponse::Present(response) => match sasl::decode_initial(response.expose()) {
                Ok(response) => self.step(stage, response, answer, context).await,
                Err(error) => Ok((answer.fault(&Fault::Response(error)), self.before.stay())),
            },
        }
    }

    /// Takes a response.
    async fn step<M: Mailbox, C: CredentialStore>(
        self,
        stage: Stage,
        response: Secret<Vec<u8>>,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        let _held = context.link.handle().hold()?;
        match stage {
            Stage::Claim(exchange) => self.claim(exchange.step(response), answer, context).await,
            Stage::Proof(exchange, login) => match exchange.step(&response) {
                Ok(proof) => self.prove(proof, login, answer, context).await,
                Err(error) => Ok((answer.unproved(&Fault::Response(error)), self.before.stay())),
            },
            Stage::Proved(identity, server_final) => match server_final.close(response.expose()) {
                Ok(()) => {
                    let name = ClaimedName::new(identity.username().as_str().as_bytes());
                    self.log_in(&name, async { Ok(identity) }, answer, context).await
                }
                Err(error) => Ok((answer.fault(&Fault::Response(error)), self.before.stay())),
            },
        }
    }

    /// Handles what the client has said of itself.
    async fn claim<M: Mailbox, C: CredentialStore>(
        self,
        step: Step,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        let authenticator = &context.env.authenticator;
        let unnamed = || ClaimedName::new(Vec::new());
        match step {
            Step::Challenge(exchange) => Ok(self.challenge(Stage::Claim(exchange), answer)),
            Step::Verify(name, password) => {
                let name = context.whole(name);
                let verified = authenticator.authenticate(&name, password, context.link.peer());
                self.log_in(&name, verified, answer, context).await
            }
            Step::NeedKeys(awaiting) => {
                let (name, begun) = (context.whole(awaiting.name().clone()), Instant::now());
                let awaiting = awaiting.about(name.clone());
                match in_time(authenticator.begin_scram(awaiting, context.link.peer()), context)
                    .await
                {
                    Ok((exchange, login)) => {
                        Ok(self.challenge(Stage::Proof(exchange, login), answer))
                    }
                    Err(fault) => Ok(self.refuse(&name, begun, &fault, answer, context).await),
                }
            }
            Step::Token(claim) => self.redeem(claim, answer, context).await,
            Step::NoToken(dialect) => Ok(self.explain(&unnamed(), dialect, answer, context)),
            Step::External(wanted) => {
                let wanted = wanted.map(|name| context.whole(name));
                let (certificate, peer) = (&context.link.certificate, context.link.peer());
                let certified = authenticator.certify(certificate, wanted.as_ref(), peer);
                let name = wanted.clone().unwrap_or_else(unnamed);
                self.log_in(&name, certified, answer, context).await
            }
            Step::Refused(error) => Ok((answer.fault(&Fault::Response(error)), self.before.stay())),
        }
    }

    /// Verifies the proof of a client, and sends that of the server (RFC 5802 §3).
    async fn prove<M: Mailbox, C: CredentialStore>(
        self,
        proof: ScramProof,
        login: ScramLogin,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        let (name, begun) = (proof.name().clone(), Instant::now());
        let proved = context.env.authenticator.end_scram(login, proof, context.link.peer());
        match in_time(proved, context).await {
            Ok((identity, server_final)) => {
                Ok(self.challenge(Stage::Proved(identity, server_final), answer))
            }
            Err(fault) => Ok(self.refuse(&name, begun, &fault, answer, context).await),
        }
    }

    /// Finds out whom a token is for. A client with an invalid token is told which one to get.
    async fn redeem<M: Mailbox, C: CredentialStore>(
        self,
        claim: TokenClaim,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        let TokenClaim { name, token, dialect } = claim;
        let name = name.map(|name| context.whole(name));
        let begun = Instant::now();
        let shown = name.clone().unwrap_or_else(|| ClaimedName::new(Vec::new()));
        let redeeming =
            context.env.authenticator.redeem(name.as_ref(), &token, context.link.peer());
        match in_time(redeeming, context).await {
            Ok(identity) => self.log_in(&shown, async { Ok(identity) }, answer, context).await,
            Err(Fault::Refused(Refusal::BadToken)) => {
                context.hold_back(begun).await;
                Ok(self.explain(&shown, dialect, answer, context))
            }
            Err(fault) => Ok(self.refuse(&shown, begun, &fault, answer, context).await),
        }
    }

    /// The challenge that says why a token was refused (RFC 7628 §3.2.2).
    fn explain<M: Mailbox, C: CredentialStore>(
        self,
        name: &ClaimedName,
        dialect: TokenDialect,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> (Replied, Next<M>) {
        // Logged now: a client that hangs up instead of answering has failed, too.
        let fault = Fault::Refused(Refusal::BadToken);
        log_failure(name, self.mechanism.name(), &fault, &answer);
        let guidance = context.env.authenticator.token_guidance();
        let replied = answer.challenge(&dialect.refusal(&guidance));
        (replied, Next::Continue(State::TokenRefused(TokenRefused { before: self.before })))
    }

    /// Ends the exchange with a refusal.
    async fn refuse<M: Mailbox, C: CredentialStore>(
        self,
        name: &ClaimedName,
        begun: Instant,
        fault: &Fault,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> (Replied, Next<M>) {
        let failed = Failed { name, mechanism: self.mechanism.name(), begun };
        self.before.refuse(&failed, fault, answer, context).await
    }

    /// Ends the exchange with the login of the user whose identity `proving` yields.
    async fn log_in<M: Mailbox, C: CredentialStore>(
        self,
        name: &ClaimedName,
        proving: impl Future<Output = Result<Identity, Refusal>> + Send,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M> {
        self.before.log_in(name, self.mechanism.name(), proving, answer, context).await
    }

    fn challenge<M: Mailbox>(self, stage: Stage, answer: Answer<'_, '_>) -> (Replied, Next<M>) {
        let challenge = match &stage {
            Stage::Claim(exchange) => exchange.challenge(),
            Stage::Proof(exchange, _) => exchange.challenge(),
            Stage::Proved(_, server_final) => server_final.challenge(),
        };
        let replied = answer.challenge(challenge);
        let state = ExpectResponse { exchange: self, stage };
        (replied, Next::Continue(State::Exchange(Box::new(state))))
    }
}

/// The result of a part of a login, or an error after the login deadline.
async fn in_time<T, M, C>(
    part: impl Future<Output = Result<T, Refusal>>,
    context: Context<'_, M, C>,
) -> Result<T, Fault> {
    match timeout_at(context.link.login_deadline, part).await {
        Ok(outcome) => outcome.map_err(Fault::Refused),
        Err(_elapsed) => Err(Fault::TooSlow),
    }
}
