//! A configuration file that may have faults, read as far as possible.

use std::collections::BTreeMap;
use std::iter::successors;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::fault::{Fault, Faults, Place};
use super::setting::Settings;
use super::{
    Auth, ClientSettings, Config, Control, Credentials, Guard, HttpListen, KeyPair, LastLogins,
    Limits, Listen, Log, Maildir, Pop3, RunAs, Sandbox, ThrottleSection, Timeouts, Tls, TlsHost,
    TlsMode,
};

/// The valid values of a configuration file, and all its faults.
///
/// - An invalid value is absent, or replaced by its default if it has one.
/// - A misspelt key is a fault, and is read as the intended key.
#[derive(Clone, Debug)]
pub struct PartialConfig {
    pub(super) file: PathBuf,
    pub(super) text: String,
    pub(super) faults: Vec<Fault>,
    pub(super) is_toml: bool,
    /// The octet at which each value begins, by its key, such as `tls.host[0].certificate`.
    pub(super) positions: BTreeMap<String, usize>,
    /// Every effective value.
    pub settings: Settings,
    /// The files that it names, each with its key, such as `tls.host[0].certificate`.
    pub files: Vec<(String, PathBuf)>,
    /// The name in the greeting.
    pub hostname: Option<String>,
    /// The user and group to run as once the ports are bound.
    pub run_as: Option<RunAs>,
    /// The sockets.
    pub listen: Vec<PartialListen>,
    /// Certificates.
    pub tls: Option<PartialTls>,
    /// The location of the mail, and its unique-ids.
    pub maildir: Option<Maildir>,
    /// The guard of unique-ids.
    pub guard: Guard,
    /// Optional parts of the protocol.
    pub pop3: Pop3,
    /// Authentication.
    pub auth: Auth,
    /// Delays after failed logins.
    pub throttle: ThrottleSection,
    /// Credential stores in the order in which they are asked.
    pub credentials: Vec<Option<Credentials>>,
    /// Limits for clients.
    pub limits: Limits,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Format and level of the log.
    pub log: Log,
    /// Restrictions of the process.
    pub sandbox: Sandbox,
    /// The control socket.
    pub control: Control,
    /// Metrics over HTTP, if they are on.
    pub metrics: Option<HttpListen>,
    /// The settings of mail clients over HTTP, if they are on.
    pub web: Option<HttpListen>,
    /// The settings of mail clients, if they are told to them.
    pub client_settings: Option<ClientSettings>,
    /// The file of last logins.
    pub last_logins: LastLogins,
}

/// `[[listen]]`
#[derive(Clone, Debug)]
pub struct PartialListen {
    /// Address and port.
    pub address: Option<SocketAddr>,
    /// The TLS mode.
    pub tls: Option<TlsMode>,
    /// The domain for user names without one.
    pub default_domain: Option<Arc<str>>,
    /// The networks of the proxies.
    pub proxies: Option<Arc<[IpNet]>>,
}

/// `[tls]`
#[derive(Clone, Debug)]
pub struct PartialTls {
    /// For clients that request no host, or one that is not listed.
    pub default: Option<KeyPair>,
    /// The CA certificates for client certificates.
    pub client_ca: Option<PathBuf>,
    /// `[[tls.host]]`
    pub hosts: Vec<PartialHost>,
}

/// `[[tls.host]]`
#[derive(Clone, Debug)]
pub struct PartialHost {
    /// Host names in lower case.
    pub names: Vec<String>,
    /// The certificate for them.
    pub pair: Option<KeyPair>,
    /// The domain for user names without one.
    pub default_domain: Option<Arc<str>>,
}

impl PartialConfig {
    /// The file that it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// All faults, in the order of the file.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether a section has no faults, so that absent keys are absent on purpose.
    ///
    /// - If the file is not valid TOML, any section may be incomplete.
    pub fn is_sound(&self, section: &str) -> bool {
        self.is_toml && !self.faults.iter().any(|fault| fault.is_in(section))
    }

    /// The place of the value of a key, such as `tls.host[0].certificate`. Without such a value, the
    /// place of the section or list around it.
    pub fn place_of(&self, key: &str) -> Place {
        let mut around = successors(Some(key), |key| Some(key.rsplit_once(['.', '['])?.0));
        let octet = around.find_map(|key| self.positions.get(key)).copied().unwrap_or_default();
        Place::of(&self.text, octet)
    }

    /// The sockets for HTTP.
    pub fn http(&self) -> Vec<HttpListen> {
        self.metrics.into_iter().chain(self.web).collect()
    }

    /// The configuration, and all its values.
    ///
    /// # Errors
    /// [`Faults`], all of them.
    pub fn finish(self) -> Result<(Config, Settings), Faults> {
        if !self.faults.is_empty() {
            return Err(Faults::new(&self.file, self.faults));
        }
        let settings = self.settings.clone();
        let config = self.config().map(|config| (config, settings));
        debug_assert!(config.is_some(), "an absent value is a fault");
        config.ok_or_else(|| Faults::new(Path::new(""), Vec::new()))
    }

    /// The configuration, if no required value is absent.
    fn config(self) -> Option<Config> {
        let listen = |PartialListen { address, tls, default_domain, proxies }| {
            Some(Listen { address: address?, tls: tls?, default_domain, proxies })
        };
        Some(Config {
            hostname: self.hostname?,
            run_as: self.run_as,
            listen: self.listen.into_iter().map(listen).collect::<Option<_>>()?,
            tls: match self.tls {
                Some(tls) => Some(tls.finish()?),
                None => None,
            },
            maildir: self.maildir?,
            guard: self.guard,
            pop3: self.pop3,
            auth: self.auth,
            throttle: self.throttle,
            credentials: self.credentials.into_iter().collect::<Option<_>>()?,
            limits: self.limits,
            timeouts: self.timeouts,
            log: self.log,
            sandbox: self.sandbox,
            control: self.control,
            metrics: self.metrics,
            web: self.web,
            client_settings: self.client_settings,
            last_logins: self.last_logins,
        })
    }
}

impl PartialTls {
    fn finish(self) -> Option<Tls> {
        let host = |PartialHost { names, pair, default_domain }| {
            Some(TlsHost { names, pair: pair?, default_domain })
        };
        Some(Tls {
            default: self.default?,
            client_ca: self.client_ca,
            hosts: self.hosts.into_iter().map(host).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_place() {
        let text =
            "hostname = 'a'\n[tls]\ncertificate = 'b'\n[[tls.host]]\n[[tls.host]]\n  names = []\n";
        let config = PartialConfig::parse(text.to_owned(), Path::new(""));
        for (key, line, column) in [
            ("hostname", 1, 12),
            ("tls", 2, 1),
            ("tls.certificate", 3, 15),
            ("tls.private-key", 2, 1),
            ("tls.host[1]", 5, 1),
            ("tls.host[1].names", 6, 11),
            ("tls.host[2].names", 4, 1),
            ("run-as", 1, 1),
        ] {
            assert_eq!(config.place_of(key), Place { line, column }, "{key}");
        }
    }
}
