//! A SASL exchange within AUTHORIZATION (RFC 5034 §4): another grammar, hence another state.

use tokio::time::{Instant, timeout_at};

use super::authorization::Authorization;
use super::dialogue::{Answer, Replied};
use super::fault::Fault;
use super::{Context, Next, State, Turn};
use crate::auth::{CredentialStore, Identity, Refusal, ScramLogin};
use crate::mailbox::Mailbox;
use crate::protocol::sasl::{
    self, Channel, Mechanism, ScramProof, ServerFinal, Step, TokenClaim, TokenDialect,
    TokenGuidance,
};
use crate::protocol::{ClaimedName, InitialResponse, Secret};

/// Waiting for a response in an AUTH exchange.
pub(super) struct Exchange {
    stage: Stage,
    /// Where a failed exchange leads back to, as if AUTH had not been sent (RFC 5034 §4).
    before: Authorization,
}

/// How far an exchange has come.
enum Stage {
    /// The client is to say who it is.
    Claim(sasl::Exchange),
    /// The client is to prove that it has the password.
    Proof(sasl::Exchange, ScramLogin),
    /// The client has proved it; what the server owes it has been sent.
    Proved(Identity, ServerFinal),
    /// The client's token was refused and it has been told why; whatever it says, this is the end
    /// (RFC 7628 §3.2.3).
    Refused(ClaimedName, Fault),
}

impl Exchange {
    /// Begins an exchange, with the response that may have come with AUTH.
    pub(super) async fn begin<M: Mailbox, C: CredentialStore>(
        mechanism: Mechanism,
        response: InitialResponse,
        before: Authorization,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        // Where the -PLUS mechanisms are not listed, a client that says so tells the truth.
        let channel =
            if context.binds() { context.link.channel.clone() } else { Channel::default() };
        let exchange = Self { stage: Stage::Claim(mechanism.begin(channel)), before };
        match response {
            InitialResponse::Absent => Ok(exchange.challenge(answer)),
            InitialResponse::Present(response) => match sasl::decode_initial(response.expose()) {
                Ok(response) => exchange.step(response, answer, context).await,
                Err(sasl::NotBase64) => Ok(exchange.fail(&Fault::NotBase64, answer)),
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
        let Self { stage, before } = self;
        // Not even by cancelling does a client get around a failed log-in.
        if let Stage::Refused(name, fault) = stage {
            let begun = Instant::now();
            return Ok(before.refuse(&name, &fault, begun, answer, context).await);
        }
        let exchange = Self { stage, before };
        if line.expose() == b"*" {
            return Ok(exchange.fail(&Fault::Cancelled, answer));
        }
        match sasl::decode(line.expose()) {
            Ok(response) => exchange.step(response, answer, context).await,
            Err(sasl::NotBase64) => Ok(exchange.fail(&Fault::NotBase64, answer)),
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
        let Self { stage, before } = self;
        let authenticator = &context.env.authenticator;
        let (exchange, login) = match stage {
            Stage::Claim(exchange) => (exchange, None),
            Stage::Proof(exchange, login) => (exchange, Some(login)),
            Stage::Proved(identity, server_final) => {
                return match server_final.close(response.expose()) {
                    Ok(()) => {
                        let name = ClaimedName::new(identity.username().as_str().as_bytes());
                        before.log_in(&name, async { Ok(identity) }, answer, context).await
                    }
                    Err(fault) => Ok((answer.fault(&fault.into()), before.stay())),
                };
            }
            Stage::Refused(_, fault) => return Ok((answer.fault(&fault), before.stay())),
        };
        match (exchange.step(response), login) {
            (Step::Challenge(exchange), _) => {
                Ok(Self { stage: Stage::Claim(exchange), before }.challenge(answer))
            }
            (Step::Verify(name, password), _) => {
                let verified = authenticator.authenticate(&name, password, context.link.peer);
                before.log_in(&name, verified, answer, context).await
            }
            (Step::NeedKeys(awaiting), _) => {
                let (name, begun) = (awaiting.name().clone(), Instant::now());
                match in_time(authenticator.begin_scram(awaiting), context).await {
                    Ok((exchange, login)) => {
                        Ok(Self { stage: Stage::Proof(exchange, login), before }.challenge(answer))
                    }
                    Err(fault) => Ok(before.refuse(&name, &fault, begun, answer, context).await),
                }
            }
            (Step::Prove(proof), Some(login)) => before.prove(proof, login, answer, context).await,
            (Step::Token(claim), _) => before.redeem(claim, answer, context).await,
            (Step::NoToken(dialect), _) => {
                let nobody = ClaimedName::new(Vec::new());
                Ok(before.explain(nobody, dialect, answer, context))
            }
            (Step::External(wanted), _) => {
                let names = &context.link.certificate;
                let name = wanted.clone().unwrap_or_else(|| ClaimedName::new(Vec::new()));
                let certified = authenticator.certify(names, wanted.as_ref());
                before.log_in(&name, certified, answer, context).await
            }
            (Step::Refused(fault), _) => Ok((answer.fault(&fault.into()), before.stay())),
            // No exchange has a proof before it has had keys.
            (Step::Prove(_), None) => Ok((answer.fault(&Fault::MalformedResponse), before.stay())),
        }
    }

    fn stay<D>(self) -> Next<D> {
        Next::Continue(State::Exchange(Box::new(self)))
    }

    fn challenge<D>(self, answer: Answer<'_, '_>) -> (Replied, Next<D>) {
        let replied = match &self.stage {
            Stage::Claim(exchange) | Stage::Proof(exchange, _) => {
                answer.challenge(exchange.challenge())
            }
            Stage::Proved(_, server_final) => answer.challenge(server_final.challenge()),
            Stage::Refused(_, fault) => answer.fault(fault),
        };
        (replied, self.stay())
    }
}

impl Authorization {
    /// Verifies the proof of a client, and gives it that of the server (RFC 5802 §3).
    async fn prove<M: Mailbox, C: CredentialStore>(
        self,
        proof: ScramProof,
        login: ScramLogin,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        let (name, begun) = (proof.name().clone(), Instant::now());
        let proved = context.env.authenticator.end_scram(login, proof, context.link.peer);
        match in_time(proved, context).await {
            Ok((identity, server_final)) => {
                let stage = Stage::Proved(identity, server_final);
                Ok(Exchange { stage, before: self }.challenge(answer))
            }
            Err(fault) => Ok(self.refuse(&name, &fault, begun, answer, context).await),
        }
    }

    /// Finds out whom a token is for; a client whose token is not good is told which one would be.
    async fn redeem<M: Mailbox, C: CredentialStore>(
        self,
        claim: TokenClaim,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> Turn<M::Maildrop> {
        let TokenClaim { name, token, dialect } = claim;
        let begun = Instant::now();
        let shown = name.clone().unwrap_or_else(|| ClaimedName::new(Vec::new()));
        let redeeming = context.env.authenticator.redeem(name.as_ref(), &token, context.link.peer);
        match in_time(redeeming, context).await {
            Ok(identity) => self.log_in(&shown, async { Ok(identity) }, answer, context).await,
            Err(Fault::BadToken) => {
                context.hold_back(begun).await;
                Ok(self.explain(shown, dialect, answer, context))
            }
            Err(fault) => Ok(self.refuse(&shown, &fault, begun, answer, context).await),
        }
    }

    /// The challenge that says why a token was not taken (RFC 7628 §3.2.2).
    fn explain<M: Mailbox, C: CredentialStore>(
        self,
        name: ClaimedName,
        dialect: TokenDialect,
        answer: Answer<'_, '_>,
        context: Context<'_, M, C>,
    ) -> (Replied, Next<M::Maildrop>) {
        let guidance = match context.env.authenticator.token_hint() {
            Some(hint) => {
                TokenGuidance { scope: hint.scope, openid_configuration: hint.openid_configuration }
            }
            None => TokenGuidance::default(),
        };
        let replied = answer.challenge(&dialect.refusal(&guidance));
        let stage = Stage::Refused(name, Fault::BadToken);
        (replied, Exchange { stage, before: self }.stay())
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
