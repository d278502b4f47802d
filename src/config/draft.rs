//! What can be understood of a configuration file, whatever is wrong with it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::{Fault, Faults, Place};
use super::position::Positions;
use super::setting::Settings;
use super::{
    Auth, Config, Credentials, KeyPair, Limits, Listen, Log, Maildir, Pop3, RunAs, Sandbox,
    Throttle, Timeouts, Tls, TlsHost, TlsMode, build,
};

/// A configuration file as far as it can be understood, and all that is wrong with it.
///
/// - What is wrong is absent, or at its default where it has one.
/// - A misspelt key is a fault, and counts as the key that was meant.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) file: PathBuf,
    pub(super) text: String,
    pub(super) faults: Vec<Fault>,
    pub(super) is_toml: bool,
    pub(super) positions: Positions,
    /// Every value that counts.
    pub settings: Settings,
    /// The files that are named, each by its key, say `tls.host[0].certificate`.
    pub files: Vec<(String, PathBuf)>,
    /// The name in the greeting.
    pub hostname: Option<String>,
    /// Whom to become after binding, when started as root.
    pub run_as: Option<RunAs>,
    /// The sockets.
    pub listen: Vec<DraftListen>,
    /// Certificates.
    pub tls: Option<DraftTls>,
    /// Where the mail is.
    pub maildir: Option<Maildir>,
    /// What the protocol offers.
    pub pop3: Pop3,
    /// How passwords are taken.
    pub auth: Auth,
    /// How guessing is slowed down.
    pub throttle: Throttle,
    /// Credential stores in the order in which they are asked.
    pub credentials: Vec<Option<Credentials>>,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What is logged, and how.
    pub log: Log,
    /// What the process gives up once it has started.
    pub sandbox: Sandbox,
}

/// `[[listen]]`
#[derive(Clone, Debug)]
pub struct DraftListen {
    /// Address and port.
    pub address: Option<SocketAddr>,
    /// How TLS comes about on this socket.
    pub tls: Option<TlsMode>,
    /// The domain of names without one.
    pub default_domain: Option<Arc<str>>,
}

/// `[tls]`
#[derive(Clone, Debug)]
pub struct DraftTls {
    /// For clients that name no host, or one that is not listed.
    pub default: Option<KeyPair>,
    /// Whom a certificate of a client has to come from.
    pub client_ca: Option<PathBuf>,
    /// `[[tls.host]]`
    pub hosts: Vec<DraftHost>,
}

/// `[[tls.host]]`
#[derive(Clone, Debug)]
pub struct DraftHost {
    /// Host names in lower case.
    pub names: Vec<String>,
    /// What to present for them.
    pub pair: Option<KeyPair>,
    /// The domain of names without one.
    pub default_domain: Option<Arc<str>>,
}

impl Draft {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Faults`] when it cannot be read, or is not text.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        let unreadable =
            |place, what| Faults::new(path, vec![Fault { place, key: String::new(), what }]);
        let bytes = fs::read(path).map_err(|error| {
            let remedy = if error.kind() == io::ErrorKind::PermissionDenied {
                "let the user that the server runs as read it"
            } else {
                "name the file with --config"
            };
            unreadable(None, format!("cannot be read ({error}), {remedy}"))
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let readable =
                error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let place = Place::of(&String::from_utf8_lossy(readable), readable.len());
            unreadable(Some(place), "is not UTF-8 from here on, save the file as UTF-8".to_owned())
        })?;
        Ok(Self::parse(text, path))
    }

    /// Takes a text as if it had been read from the file `path`.
    pub fn parse(text: String, path: &Path) -> Self {
        let base = path.parent().unwrap_or(Path::new(""));
        let mut draft = build::build(&text, base);
        (draft.file, draft.text) = (path.to_owned(), text);
        draft
    }

    /// The file that it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// All that is wrong, in the order of the file.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether nothing is wrong in a section, so that what is not there is not meant to be.
    ///
    /// - Where the file is not TOML, no section is sure to be whole.
    pub fn is_sound(&self, section: &str) -> bool {
        self.is_toml && !self.faults.iter().any(|fault| fault.is_in(section))
    }

    /// The place of the value of a key, say `tls.host[0].certificate`; the place of what surrounds
    /// it when the file has no such value.
    pub fn place_of(&self, key: &str) -> Place {
        Place::of(&self.text, self.positions.of(key))
    }

    /// The configuration, and every value of it.
    ///
    /// # Errors
    /// [`Faults`], all of them.
    pub fn finish(self) -> Result<(Config, Settings), Faults> {
        if !self.faults.is_empty() {
            return Err(Faults::new(&self.file, self.faults));
        }
        let settings = self.settings.clone();
        let config = self.config().map(|config| (config, settings));
        debug_assert!(config.is_some(), "nothing is refused without a word");
        config.ok_or_else(|| Faults::new(Path::new(""), Vec::new()))
    }

    /// The configuration, when nothing of it is absent.
    fn config(self) -> Option<Config> {
        let listen = |DraftListen { address, tls, default_domain }| {
            Some(Listen { address: address?, tls: tls?, default_domain })
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
            pop3: self.pop3,
            auth: self.auth,
            throttle: self.throttle,
            credentials: self.credentials.into_iter().collect::<Option<_>>()?,
            limits: self.limits,
            timeouts: self.timeouts,
            log: self.log,
            sandbox: self.sandbox,
        })
    }
}

impl DraftTls {
    fn finish(self) -> Option<Tls> {
        let host = |DraftHost { names, pair, default_domain }| {
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
    fn a_key_is_found_again() {
        let text =
            "hostname = 'a'\n[tls]\ncertificate = 'b'\n[[tls.host]]\n[[tls.host]]\n  names = []\n";
        let draft = Draft::parse(text.to_owned(), Path::new(""));
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
            assert_eq!(draft.place_of(key), Place { line, column }, "{key}");
        }
    }
}
