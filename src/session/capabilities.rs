//! The mechanisms by which a client can log in now, and the capabilities that CAPA lists.
//!
//! The handlers use the same functions, so that every listed mechanism is accepted and no other.
//! UTF8 is an exception: it is accepted even where it is not listed.

use super::context::Context;
use super::env::Security;
use super::fault::Fault;
use crate::credentials::CredentialStore;
use crate::protocol::Capability;
use crate::protocol::sasl::Mechanism;

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
    /// Why USER and PASS cannot succeed; `None` if they can.
    pub(super) fn without_passwords(&self) -> Option<Fault> {
        if !self.takes_passwords() {
            Some(Fault::CleartextRefused)
        } else if self.env.authenticator.stores().is_empty() {
            Some(Fault::NoPasswords)
        } else {
            None
        }
    }

    /// The mechanisms by which a client can log in now.
    ///
    /// - By default, those that every user of the stores can use. The operator may name others that
    ///   only some users can use.
    /// - The -PLUS mechanisms only if the operator names them: clients prefer them, and some that fail
    ///   to bind try no other mechanism.
    /// - None before passwords may be sent: a hash of a password can be used to guess it, too.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        use Mechanism::{
            External, Login, OAuthBearer, Plain, ScramSha1, ScramSha1Plus, ScramSha256,
            ScramSha256Plus, XOAuth2,
        };
        if !self.takes_passwords() {
            return Vec::new();
        }
        let authenticator = &self.env.authenticator;
        let offers = authenticator.offers();
        let wanted = self.env.policy.mechanisms.as_ref();
        let binds = self.link.channel.binds();
        let offered = |mechanism: &Mechanism| match mechanism {
            External => !self.link.certificate.is_empty(),
            ScramSha256Plus | ScramSha1Plus => binds && wanted.is_some(),
            ScramSha256 => offers.scram_sha_256 || wanted.is_some(),
            ScramSha1 => offers.scram_sha_1 || wanted.is_some(),
            OAuthBearer | XOAuth2 => !authenticator.token_providers().is_empty(),
            Plain | Login => !authenticator.stores().is_empty(),
        };
        let allowed =
            |mechanism: &Mechanism| wanted.is_none_or(|wanted| wanted.contains(mechanism));
        Mechanism::ALL.into_iter().filter(|one| allowed(one) && offered(one)).collect()
    }
}

/// The capabilities of both states. Those for use before login are listed after it, too
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
    // DEVIATION: RFC 6856 §2 — UTF8 is accepted, but not listed unless the operator enables it:
    // if it is listed, Evolution 3.46 sends it without a line end, and waits for a reply for ever.
    if context.env.policy.utf8 {
        capabilities.push(Capability::Utf8User);
    }
    capabilities.extend([Capability::Lang, Capability::Implementation]);
    capabilities
}
