//! Certificates and keys, and the CA certificates for client certificates.

use std::collections::BTreeSet;
use std::fs::File;
use std::iter;
use std::time::SystemTime;

use super::Examination;
use super::report::counted;
use crate::config::{Credentials, KeyPair, PartialTls};
use crate::server::tls;

impl Examination<'_> {
    /// Checks all pairs as of `now`.
    pub(super) fn certificates(&mut self, now: SystemTime) {
        let Some(PartialTls { default, hosts, .. }) = &self.config.tls else { return };
        // Clients are expected to request the name of the greeting, unless a host has it.
        let own =
            self.config.hostname.iter().filter(|own| {
                !hosts.iter().flat_map(|host| &host.names).any(|name| covers(name, own))
            });
        let own: Vec<_> = own.cloned().collect();
        let first = iter::once(("tls".to_owned(), default, &own));
        let others = hosts.iter().enumerate();
        let others =
            others.map(|(nth, host)| (format!("tls.host[{nth}]"), &host.pair, &host.names));
        for (section, pair, names) in first.chain(others) {
            match pair {
                Some(pair) => self.certificate(&section, pair, names, now),
                None => self.rest_of_pair(&section),
            }
        }
    }

    /// Checks one pair, which is for clients that request one of `names`.
    fn certificate(&mut self, section: &str, pair: &KeyPair, names: &[String], now: SystemTime) {
        let (certificate, private_key) =
            (format!("{section}.certificate"), format!("{section}.private-key"));
        let seen = match tls::inspect(pair, now) {
            Ok(seen) => seen,
            Err(faults) => {
                for fault in faults {
                    let is_key = fault.path() == pair.private_key;
                    self.error(if is_key { &private_key } else { &certificate }, fault);
                }
                return;
            }
        };
        for warning in &seen.warnings {
            self.warn(&certificate, warning);
        }
        for warning in &seen.key_warnings {
            self.warn(&private_key, warning);
        }
        let has = listed(&seen.names);
        for name in names.iter().filter(|name| !seen.names.iter().any(|has| covers(has, name))) {
            self.warn(
                &certificate,
                format!(
                    "the certificate is for {has}, not for {name}, so clients that connect to that name \
                     will refuse it; use one for that name"
                ),
            );
        }
        self.report.does("certificate", format!("for {has}, {}", seen.time_left(now)));
    }

    /// Checks that clients that look for their settings are shown a certificate for the names that
    /// they look for.
    pub(super) fn web(&mut self, now: SystemTime) {
        let config = self.config;
        let (Some(web), Some(settings), Some(PartialTls { default: Some(pair), hosts, .. })) =
            (&config.web, &config.client_settings, &config.tls)
        else {
            return;
        };
        // Behind a proxy, the names are those of its certificates.
        let is_reached = web.tls && !web.address.ip().is_loopback();
        if !is_reached || !config.is_sound("tls") || !config.is_sound("client-settings") {
            return;
        }
        let Ok(seen) = tls::inspect(pair, now) else { return };
        let of_domain =
            |domain: &String| ["autoconfig", "autodiscover"].map(|it| format!("{it}.{domain}"));
        let names: BTreeSet<_> =
            settings.domains.iter().flat_map(of_domain).chain(settings.web_host.clone()).collect();
        // Hosts, and the name in the greeting, are compared with their certificates anyway.
        let compared = hosts.iter().flat_map(|host| &host.names).chain(&config.hostname);
        let covering: Vec<_> = compared.chain(&seen.names).collect();
        let missing: Vec<_> = names
            .into_iter()
            .filter(|name| !covering.iter().any(|has| covers(has, name)))
            .collect();
        if let Some(first) = missing.first() {
            let others = missing.len() - 1;
            let more = if others == 0 {
                String::new()
            } else {
                format!(" and {}", counted(others, "other name"))
            };
            self.warn(
                "web.listen",
                format!(
                    "clients that look for settings connect to {first}{more}, but the certificate \
                     that they get is for {}; add the names to it, or write a [[tls.host]]",
                    listed(&seen.names),
                ),
            );
        }
    }

    /// Checks the files of a pair of which only one is known.
    fn rest_of_pair(&mut self, section: &str) {
        let keys = [format!("{section}.certificate"), format!("{section}.private-key")];
        for (key, path) in self.config.files.iter().filter(|(key, _)| keys.contains(key)) {
            if let Err(error) = File::open(path) {
                self.error(key, format!("{}: cannot be read: {error}", path.display()));
            }
        }
    }

    /// Checks the CA certificates for client certificates.
    pub(super) fn clients(&mut self) {
        let Some(path) = self.config.tls.as_ref().and_then(|tls| tls.client_ca.as_ref()) else {
            return;
        };
        let mut stores = self.config.credentials.iter().flatten();
        if self.config.is_sound("credentials") && !stores.any(Credentials::looks_users_up) {
            self.warn(
                "tls.client-ca",
                "no user can log in with a certificate, since no store can look up users without a \
                 password; add one of kind \"file\", \"sql\", or \"ldap\" with base and filter",
            );
        }
        match tls::Clients::load(Some(path)) {
            Ok(clients) => {
                let trusted = counted(clients.count(), "certificate");
                self.report.does("client-ca", format!("{trusted} in {}", path.display()));
            }
            Err(fault) => self.error("tls.client-ca", fault),
        }
    }
}

/// The names of a certificate.
fn listed(names: &[String]) -> String {
    if names.is_empty() { "no host name".to_owned() } else { names.join(", ") }
}

/// Whether the name `has` of a certificate matches the host name `name`. If `name` is a wildcard, only
/// the same wildcard does.
fn covers(has: &str, name: &str) -> bool {
    has.eq_ignore_ascii_case(name)
        || has.strip_prefix("*.").is_some_and(|domain| {
            name.split_once('.')
                .is_some_and(|(label, rest)| label != "*" && rest.eq_ignore_ascii_case(domain))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_certificates() {
        for (has, name, covered) in [
            ("pop.example.org", "POP.example.org", true),
            ("*.example.org", "pop.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "a.pop.example.org", false),
            ("*.example.org", "*.example.org", true),
            ("pop.example.org", "*.example.org", false),
            ("*.org", "*.example.org", false),
            ("*.example.org", "*.a.example.org", false),
        ] {
            assert_eq!(covers(has, name), covered, "{has} {name}");
        }
    }
}
