//! What a client may do now: with which mechanisms it can log in, and what CAPA lists.
//!
//! The handlers ask the same functions, so that what is listed is accepted, and the reverse.

use super::context::Context;
use super::env::Security;
use super::fault::Fault;
use crate::credentials::CredentialStore;
use crate::protocol::Capability;
use crate::protocol::sasl::{Mechanism, MechanismSet};

impl<M, C> Context<'_, M, C> {
    /// Whether a password may be sent now (RFC 8314 §4.1).
    pub(super) fn takes_passwords(&self) -> bool {
        self.link.security.is_tls() || self.env.policy.allow_cleartext
    }

    pub(super) fn offers_stls(&self) -> bool {
        self.link.security == Security::Cleartext { stls: true }
    }
}

impl<M, C: CredentialStore> Context<'_, M, C> {
    /// Why USER and PASS lead nowhere, if that is so.
    pub(super) fn without_passwords(&self) -> Option<Fault> {
        if !self.takes_passwords() {
            Some(Fault::CleartextRefused)
        } else if self.env.authenticator.stores().is_empty() {
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
    pub(super) fn mechanisms(&self) -> MechanismSet {
        use Mechanism::{
            External, Login, OAuthBearer, Plain, ScramSha1, ScramSha1Plus, ScramSha256,
            ScramSha256Plus, XOAuth2,
        };
        if !self.takes_passwords() {
            return MechanismSet::default();
        }
        let authenticator = &self.env.authenticator;
        let offers = authenticator.offers();
        let wanted = self.env.policy.mechanisms;
        let binds = self.link.channel.binds();
        let offered = |mechanism: &Mechanism| match mechanism {
            External => !self.link.certificate.is_empty(),
            ScramSha256Plus | ScramSha1Plus => binds && wanted.is_some(),
            ScramSha256 => offers.scram_sha_256 || wanted.is_some(),
            ScramSha1 => offers.scram_sha_1 || wanted.is_some(),
            OAuthBearer | XOAuth2 => !authenticator.token_providers().is_empty(),
            Plain | Login => !authenticator.stores().is_empty(),
        };
        let allowed = |mechanism: &Mechanism| wanted.is_none_or(|set| set.contains(*mechanism));
        Mechanism::ALL.into_iter().filter(|one| allowed(one) && offered(one)).collect()
    }
}

/// The capabilities of both states. What can be used before login is listed after it as well
/// (RFC 2449 §5, RFC 5034 §3).
pub(super) fn capabilities<M, C: CredentialStore>(context: Context<'_, M, C>) -> Vec<Capability> {
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
