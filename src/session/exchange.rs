//! A SASL exchange within AUTHORIZATION (RFC 5034 §4): another grammar, hence another state.

use tokio::time::{Instant, timeout_at};

use super::authorization::{Authorization, log_failure};
use super::dialogue::{Answer, Replied};
use super::fault::Fault;
use super::{Context, Link, Next, State, Turn};
use crate::auth::{CredentialStore, Identity, Refusal, ScramLogin};
use crate::mailbox::Mailbox;
use crate::protocol::sasl::{
    self, Channel, Mechanism, ScramExchange, ScramProof, ServerFinal, Step, TokenClaim,
    TokenDialect, TokenGuidance,
};
use crate::protocol::{ClaimedName, InitialResponse, Secret};

/// Waiting for a response in an AUTH exchange.
pub(super) struct Exchange {
    mechanism: Mechanism,
    stage: Stage,
    /// Where a failed exchange leads back to, as if AUTH had not been sent (RFC 5034 §4).
    before: Authorization,
}

/// How far an exchange has come.
#[expect(clippy::large_enum_variant, reason = "the exchange that it is part of is boxed")]
enum Stage {
    /// The client is to say who it is.
    Claim(sasl::Exchange),
    /// The client is to prove that it has the password.
    Proof(ScramExchange, ScramLogin),
    /// The client has proved it; what the server owes it has been sent.
    Proved(Identity, ServerFinal),
}

impl Exchange {
    /// An exchange that has not begun.
    pub(super) fn new(mechanism: Mechanism, channel: Channel, before: Authorization) -> Self {
        Self { mechanism, stage: Stage::Claim(mechanism.begin(channel)), before }
    }

    /// Begins it, with the response that may have come with AUTH.
    pub(super) async fn begin<M: Mailbox, C: CredentialStore>(
        self,
        response: InitialResponse,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        match response {
            InitialResponse::Absent => Ok(self.challenge(answer)),
            InitialResponse::Present(response) => match sasl::decode_initial(response.expose()) {
                Ok(response) => self.step(response, answer, context).await,
                Err(sasl::NotBase64) => Ok(self.fail(&Fault::NotBase64, answer)),
            },
        }
    }

    /// Takes a line from the client.
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
        let replied = match self.stage {
            Stage::Proof(..) => answer.unproved(fault),
            Stage::Claim(_) | Stage::Proved(..) => answer.fault(fault),
        };
        (replied, self.before.stay())
    }

    async fn step<M: Mailbox, C: CredentialStore>(
        self,
        response: Secret<Vec<u8>>,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        let Self { mechanism, stage, before } = self;
        let _held = context.link.place.hold()?;
        match stage {
            Stage::Claim(exchange) => {
                before.claim(mechanism, exchange.step(response), answer, context).await
            }
            Stage::Proof(exchange, login) => match exchange.step(&response) {
                Ok(proof) => before.prove(mechanism, proof, login, answer, context).await,
                Err(fault) => Ok((answer.unproved(&fault.into()), before.stay())),
            },
            Stage::Proved(identity, server_final) => match server_final.close(response.expose()) {
                Ok(()) => {
                    let name = ClaimedName::new(identity.username().as_str().as_bytes());
                    let proved = async { Ok(identity) };
                    before.log_in(&name, mechanism.name(), proved, answer, context).await
                }
                Err(fault) => Ok((answer.fault(&fault.into()), before.stay())),
            },
        }
    }

    fn stay<D>(self) -> Next<D> {
        Next::Continue(State::Exchange(Box::new(self)))
    }

    fn challenge<D>(self, answer: Answer<'_, '_>) -> (Replied, Next<D>) {
        let challenge = match &self.stage {
            Stage::Claim(exchange) => exchange.challenge(),
            Stage::Proof(exchange, _) => exchange.challenge(),
            Stage::Proved(_, server_final) => server_final.challenge(),
        };
        (answer.challenge(challenge), self.stay())
    }
}

/// A client whose token was refused has been told why, and may say something to that.
pub(super) struct Explained {
    before: Authorization,
}

impl Explained {
    /// Whatever it says, and be it `*`, the log-in has failed (RFC 7628 §3.2.3).
    pub(super) fn handle<D>(self, answer: Answer<'_, '_>) -> (Replied, Next<D>) {
        (answer.fault(&Fault::BadToken), self.before.stay())
    }
}

impl Authorization {
    /// Goes on with what the client says of itself.
    async fn claim<M: Mailbox, C: CredentialStore>(
        self,
        mechanism: Mechanism,
        step: Step,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        let authenticator = &context.env.authenticator;
        let nobody = || ClaimedName::new(Vec::new());
        match step {
            Step::Challenge(exchange) => {
                Ok(self.challenge(mechanism, Stage::Claim(exchange), answer))
            }
            Step::Verify(name, password) => {
                let name = context.whole(name);
                let verified = authenticator.authenticate(&name, password, context.link.peer);
                self.log_in(&name, mechanism.name(), verified, answer, context).await
            }
            Step::NeedKeys(awaiting) => {
                let (name, begun) = (context.whole(awaiting.name().clone()), Instant::now());
                let awaiting = awaiting.about(name.clone());
                match in_time(authenticator.begin_scram(awaiting, context.link.peer), context).await
                {
                    Ok((exchange, login)) => {
                        Ok(self.challenge(mechanism, Stage::Proof(exchange, login), answer))
                    }
                    Err(fault) => Ok(self.refuse(&name, &fault, begun, answer, context).await),
                }
            }
            Step::Token(claim) => self.redeem(mechanism, claim, answer, context).await,
            Step::NoToken(dialect) => Ok(self.explain(&nobody(), dialect, answer, context)),
            Step::External(wanted) => {
                let wanted = wanted.map(|name| context.whole(name));
                let Link { certificate, peer, .. } = context.link;
                let certified = authenticator.certify(certificate, wanted.as_ref(), *peer);
                let name = wanted.clone().unwrap_or_else(nobody);
                self.log_in(&name, mechanism.name(), certified, answer, context).await
            }
            Step::Refused(fault) => Ok((answer.fault(&fault.into()), self.stay())),
        }
    }

    /// Verifies the proof of a client, and gives it that of the server (RFC 5802 §3).
    async fn prove<M: Mailbox, C: CredentialStore>(
        self,
        mechanism: Mechanism,
        proof: ScramProof,
        login: ScramLogin,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        let (name, begun) = (proof.name().clone(), Instant::now());
        let proved = context.env.authenticator.end_scram(login, proof, context.link.peer);
        match in_time(proved, context).await {
            Ok((identity, server_final)) => {
                Ok(self.challenge(mechanism, Stage::Proved(identity, server_final), answer))
            }
            Err(fault) => Ok(self.refuse(&name, &fault, begun, answer, context).await),
        }
    }

    /// Finds out whom a token is for; a client whose token is not good is told which one would be.
    async fn redeem<M: Mailbox, C: CredentialStore>(
        self,
        mechanism: Mechanism,
        claim: TokenClaim,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        let TokenClaim { name, token, dialect } = claim;
        let name = name.map(|name| context.whole(name));
        let begun = Instant::now();
        let shown = name.clone().unwrap_or_else(|| ClaimedName::new(Vec::new()));
        let redeeming = context.env.authenticator.redeem(name.as_ref(), &token, context.link.peer);
        match in_time(redeeming, context).await {
            Ok(identity) => {
                let redeemed = async { Ok(identity) };
                self.log_in(&shown, mechanism.name(), redeemed, answer, context).await
            }
            Err(Fault::BadToken) => {
                context.hold_back(begun).await;
                Ok(self.explain(&shown, dialect, answer, context))
            }
            Err(fault) => Ok(self.refuse(&shown, &fault, begun, answer, context).await),
        }
    }

    /// The challenge that says why a token was not taken (RFC 7628 §3.2.2).
    fn explain<M: Mailbox, C: CredentialStore>(
        self,
        name: &ClaimedName,
        dialect: TokenDialect,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> (Replied, Next<M::Maildrop>) {
        // Now: a client that hangs up instead of answering has failed as well.
        log_failure(name, &Fault::BadToken, &answer);
        let guidance = match context.env.authenticator.token_hint() {
            Some(hint) => {
                TokenGuidance { scope: hint.scope, openid_configuration: hint.openid_configuration }
            }
            None => TokenGuidance::default(),
        };
        let replied = answer.challenge(&dialect.refusal(&guidance));
        (replied, Next::Continue(State::Explained(Explained { before: self })))
    }

    fn challenge<D>(
        self,
        mechanism: Mechanism,
        stage: Stage,
        answer: Answer<'_, '_>,
    ) -> (Replied, Next<D>) {
        Exchange { mechanism, stage, before: self }.challenge(answer)
    }
}

/// What comes of a part of a log-in, unless the time for that is over.
async fn in_time<T, M, C>(
    part: impl Future<Output = Result<T, Refusal>>,
    context: Context<'_, M, C>,
) -> Result<T, Fault> {
    match timeout_at(context.link.login_deadline, part).await {
        Ok(outcome) => outcome.map_err(Fault::from),
        Err(_elapsed) => Err(Fault::TooSlow),
    }
}
