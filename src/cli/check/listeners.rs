//! Listeners, SASL mechanisms and the throttle.

use ipnet::IpNet;

use super::Examination;
use super::report::Severity;
use crate::config::{Credentials, HttpListen, PartialListen, ThrottleSection, TlsMode};
use crate::protocol::sasl::Mechanism;
use crate::server::{BindError, PortOwner, try_bind};

impl Examination<'_> {
    /// Describes the listeners and, if `bind` is set, binds them for a moment.
    pub(super) fn listeners(&mut self, bind: bool) {
        if let Some(hostname) = &self.config.hostname {
            self.report.does("greets as", hostname);
        }
        let addresses: Vec<_> = self.config.listen.iter().filter_map(|it| it.address).collect();
        let http: Vec<_> = self.config.http();
        let mut outcomes = if bind { try_bind(&addresses, &http) } else { Vec::new() }.into_iter();
        for (nth, listen) in self.config.listen.iter().enumerate() {
            self.proxies(nth, listen);
            let PartialListen { address: Some(address), tls, .. } = listen else { continue };
            let note = self.bind_note(&format!("listen[{nth}].address"), outcomes.next());
            let how = match (tls, self.config.auth.allow_cleartext) {
                (None, _) => continue,
                (Some(TlsMode::Implicit), _) => "implicit TLS",
                (Some(TlsMode::Starttls), false) => "STLS, passwords only with it",
                (Some(TlsMode::Starttls), true) => "STLS, passwords also in cleartext",
                (Some(TlsMode::Off), true) => "no TLS, passwords in cleartext",
                (Some(TlsMode::Off), false) => "no TLS, passwords only if the proxy has it",
            };
            let proxies = match &listen.proxies {
                Some(proxies) => format!("; only for the proxies {}", joined(proxies)),
                None => String::new(),
            };
            self.report.does("listens on", format!("{address}  {how}{proxies}{note}"));
        }
        for HttpListen { service, address, tls } in http {
            let note = self.bind_note(service.key(), outcomes.next());
            let (what, scheme) = (service.name(), if tls { "https" } else { "http" });
            self.report.does("listens on", format!("{address}  {what}, {scheme}{note}"));
        }
    }

    /// Looks for networks of proxies that have more than proxies in them.
    fn proxies(&mut self, nth: usize, listen: &PartialListen) {
        for (proxy, network) in listen.proxies.iter().flat_map(|all| all.iter()).enumerate() {
            let least = if network.addr().is_ipv4() { LEAST_V4 } else { LEAST_V6 };
            if network.prefix_len() < least {
                let key = format!("listen[{nth}].proxies[{proxy}]");
                self.warn(
                    &key,
                    format!(
                        "{network} is not a network of proxies alone: whoever connects from there \
                         may claim to be any client, and to use TLS; write the addresses of the \
                         proxies"
                    ),
                );
            }
        }
    }

    /// Reports why an address cannot be bound. Returns a note if the server can bind it all the same.
    fn bind_note(&mut self, key: &str, outcome: Option<Result<(), BindError>>) -> String {
        let Some(Err(error)) = outcome else { return String::new() };
        if error.needs_privilege() {
            // The server may be started with this capability.
            return "; not tried, since it needs root or CAP_NET_BIND_SERVICE".to_owned();
        }
        let severity = match error.owner() {
            Some(PortOwner::Restante { pid }) => {
                return format!("; in use by restante (pid {pid})");
            }
            Some(PortOwner::ServiceManager) => return "; bound by the service manager".to_owned(),
            // It may be restante or the service manager. When the service manager runs this check,
            // the server itself reports the error a moment later.
            Some(PortOwner::Unknown) if self.circumstances.is_service => {
                return "; in use".to_owned();
            }
            Some(PortOwner::Unknown) => Severity::Warning,
            Some(PortOwner::Program { .. }) | None => Severity::Error,
        };
        self.add(severity, key, error);
        String::new()
    }

    /// Looks for configured mechanisms that cannot be offered.
    pub(super) fn mechanisms(&mut self) {
        let config = self.config;
        if !config.is_sound("credentials") || !config.is_sound("tls") {
            return;
        }
        let any = |fits: fn(&Credentials) -> bool| config.credentials.iter().flatten().any(fits);
        for (nth, mechanism) in config.auth.mechanisms.iter().flatten().enumerate() {
            let (is_usable, why) = match mechanism {
                Mechanism::Plain | Mechanism::Login => (
                    any(|store| !matches!(store, Credentials::Oauth2(_))),
                    "no credential store verifies passwords",
                ),
                Mechanism::ScramSha1
                | Mechanism::ScramSha1Plus
                | Mechanism::ScramSha256
                | Mechanism::ScramSha256Plus => (
                    any(|store| matches!(store, Credentials::File(_) | Credentials::Sql(_))),
                    "only stores of kind \"file\" and \"sql\" support it",
                ),
                Mechanism::OAuthBearer | Mechanism::XOAuth2 => (
                    any(|store| matches!(store, Credentials::Oauth2(_))),
                    "no store accepts tokens; add one of kind \"oauth2\"",
                ),
                Mechanism::External => (
                    config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
                    "clients are not asked for certificates; write client-ca in [tls]",
                ),
            };
            if !is_usable {
                let key = format!("auth.mechanisms[{nth}]");
                self.warn(&key, format!("no user can log in by this mechanism: {why}"));
            }
        }
    }

    /// Checks that the login timeout leaves time for the delays of the throttle.
    pub(super) fn throttle(&mut self) {
        let ThrottleSection { first_delay, longest_delay, .. } = self.config.throttle;
        let is_sound = self.config.is_sound("throttle") && self.config.is_sound("timeouts");
        if is_sound && !first_delay.is_zero() && self.config.timeouts.login <= 2 * longest_delay {
            self.warn(
                "throttle.longest-delay",
                "twice this time is not less than timeouts.login, so delayed logins are cut off; make \
                 this shorter, or timeouts.login longer",
            );
        }
    }
}

fn joined(networks: &[IpNet]) -> String {
    let networks: Vec<_> = networks.iter().map(IpNet::to_string).collect();
    networks.join(", ")
}

/// The largest networks that one site has: `10.0.0.0/8` and `fc00::/7`.
const LEAST_V4: u8 = 8;
const LEAST_V6: u8 = 7;
