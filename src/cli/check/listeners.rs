//! What is offered on which sockets: whether they can be bound, and the ways to log in there.

use super::Examination;
use super::report::Severity;
use crate::config::{Credentials, DraftListen, Throttle, TlsMode};
use crate::protocol::sasl::Mechanism;
use crate::server::{BindError, PortOwner, try_bind};

impl Examination<'_> {
    /// Looks at the sockets; binds them for a moment, if that is asked for.
    pub(super) fn listeners(&mut self, bind: bool) {
        if let Some(hostname) = &self.draft.hostname {
            self.report.does("greets as", hostname);
        }
        let addresses: Vec<_> = self.draft.listen.iter().filter_map(|it| it.address).collect();
        let mut outcomes = if bind { try_bind(&addresses) } else { Vec::new() }.into_iter();
        for (nth, DraftListen { address, tls, .. }) in self.draft.listen.iter().enumerate() {
            let Some(address) = address else { continue };
            let note = match outcomes.next() {
                Some(Err(error)) => self.not_bound(&format!("listen[{nth}].address"), &error),
                Some(Ok(())) | None => String::new(),
            };
            let how = match (tls, self.draft.auth.allow_cleartext) {
                (None, _) => continue,
                (Some(TlsMode::Implicit), _) => "implicit TLS",
                (Some(TlsMode::Starttls), false) => "STLS, no password without it",
                (Some(TlsMode::Starttls), true) => "STLS, passwords without it too",
                (Some(TlsMode::Off), _) => "no TLS, passwords in the clear",
            };
            self.report.does("listens on", format!("{address}  {how}{note}"));
        }
    }

    /// Says what keeps an address from being bound; what is no obstacle to the server is a note.
    fn not_bound(&mut self, key: &str, error: &BindError) -> String {
        if error.wants_privilege() {
            // Who starts the server may have it.
            return "; not tried, only root or CAP_NET_BIND_SERVICE may".to_owned();
        }
        let severity = match error.owner() {
            Some(PortOwner::Restante { pid }) => {
                return format!("; in use by restante (pid {pid})");
            }
            Some(PortOwner::ServiceManager) => return "; bound by the service manager".to_owned(),
            // It may be restante's, or the service manager's. Started by the service manager, the
            // server will say so itself in a moment.
            Some(PortOwner::Unknown) if self.is_service => return "; in use".to_owned(),
            Some(PortOwner::Unknown) => Severity::Warning,
            Some(PortOwner::Program { .. }) | None => Severity::Error,
        };
        self.add(severity, key, error.to_string());
        String::new()
    }

    /// Looks for mechanisms that are to be offered and cannot be.
    pub(super) fn mechanisms(&mut self) {
        let draft = self.draft;
        if !draft.is_sound("credentials") || !draft.is_sound("tls") {
            return;
        }
        let any = |fits: fn(&Credentials) -> bool| draft.credentials.iter().flatten().any(fits);
        for (nth, mechanism) in draft.auth.mechanisms.iter().flatten().enumerate() {
            let (is_of_use, why) = match mechanism {
                Mechanism::Plain | Mechanism::Login => (
                    any(|store| !matches!(store, Credentials::Oauth2(_))),
                    "no store takes passwords",
                ),
                Mechanism::ScramSha1
                | Mechanism::ScramSha1Plus
                | Mechanism::ScramSha256
                | Mechanism::ScramSha256Plus => (
                    any(|store| matches!(store, Credentials::File(_) | Credentials::Sql(_))),
                    "only stores of kind \"file\" and \"sql\" have keys for it",
                ),
                Mechanism::OAuthBearer | Mechanism::XOAuth2 => (
                    any(|store| matches!(store, Credentials::Oauth2(_))),
                    "no store takes tokens, add one of kind \"oauth2\"",
                ),
                Mechanism::External => (
                    draft.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
                    "clients are not asked for certificates, write client-ca in [tls]",
                ),
            };
            if !is_of_use {
                let key = format!("auth.mechanisms[{nth}]");
                self.warn(&key, format!("nobody can log in by this mechanism: {why}"));
            }
        }
    }

    /// Looks at whether strangers can wait for their turn.
    pub(super) fn throttle(&mut self) {
        let Throttle { first_delay, longest_delay, .. } = self.draft.throttle;
        let is_sound = self.draft.is_sound("throttle") && self.draft.is_sound("timeouts");
        if is_sound && !first_delay.is_zero() && self.draft.timeouts.login <= 2 * longest_delay {
            self.warn(
                "throttle.longest-delay",
                "twice as long is not less than timeouts.login: logins that have to wait are cut \
                 off, shorten it or lengthen that",
            );
        }
    }
}
