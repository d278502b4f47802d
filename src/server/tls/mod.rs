//! TLS: certificates that can be replaced while the server runs.
//!
//! - TLS 1.2 and 1.3 with aws-lc-rs. The key of session tickets outlives every reload but one that
//!   changes whose certificates clients may have.
//! - ALPN `pop3`: a client that offers only other protocols is refused, one that offers none is
//!   served.
//! - The certificate is chosen by the name that the client asks for, else the default one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig, version};
use tracing::warn;

use crate::config::{self, KeyPair};

mod clients;
mod hello;
mod inspect;
mod key_kind;
mod nameless;
mod opening;
mod pair;
pub(super) mod peer;
mod pem;
mod refusal;
mod watch;

pub use clients::Clients;
pub use inspect::{Inspection, inspect};
pub(super) use opening::Opening;
pub use pem::PemError;
pub(super) use watch::watch;

/// The TLS side of a server.
#[derive(Debug)]
pub(super) struct Front {
    /// Replaced as a whole, so that no handshake sees a mixture.
    terms: RwLock<Arc<Terms>>,
    files: Mutex<Files>,
}

/// Where the certificates come from, and which state of the files was last tried.
#[derive(Debug)]
struct Files {
    section: config::Tls,
    tried: watch::Stamp,
    seen: watch::Stamp,
}

impl Front {
    /// Reads all certificates; each that needs a look is a warning in the log.
    pub(super) fn new(section: config::Tls) -> Result<Self, FrontError> {
        // Taken before reading: a change in between is then seen as one.
        let stamp = watch::Stamp::of(&section);
        let terms = Terms::load(&section)?;
        let files = Mutex::new(Files { section, seen: stamp.clone(), tried: stamp });
        Ok(Self { terms: RwLock::new(Arc::new(terms)), files })
    }

    /// What the next handshake is made with.
    pub(super) fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the certificates that `section` names; when one is broken, the old ones all stay.
    pub(super) fn reload(&self, section: config::Tls) -> Result<(), FrontError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = watch::Stamp::of(&section);
        self.renew(&section)?;
        *files = Files { section, seen: stamp.clone(), tried: stamp };
        Ok(())
    }

    fn renew(&self, section: &config::Tls) -> Result<(), FrontError> {
        let terms = self.terms().renewed(section)?;
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
        Ok(())
    }

    /// Logs what there is to warn of, say that a certificate expires soon.
    fn warn(&self) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for pair in pairs(&files.section) {
            // One that is broken by now has been reported when it changed.
            let Ok(seen) = inspect(pair, SystemTime::now()) else { continue };
            for warning in seen.all_warnings() {
                warn!("{warning}");
            }
        }
    }

    /// Where one of the files is.
    fn place(&self) -> PathBuf {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.section.default.certificate.clone()
    }

    /// Looks at the files, and reads them again when they have changed and are still since the
    /// last look: a pair that is being written is left alone. `None` when there is nothing new.
    pub(super) fn look(&self) -> Option<Result<(), FrontError>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = watch::Stamp::of(&files.section);
        let still = stamp == files.seen;
        files.seen = stamp.clone();
        if !still || stamp == files.tried {
            return None;
        }
        files.tried = stamp;
        Some(self.renew(&files.section))
    }
}

/// What a handshake is made with, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Terms {
    config: Arc<ServerConfig>,
    table: Arc<Table>,
    clients: Clients,
}

impl Terms {
    fn load(section: &config::Tls) -> Result<Self, FrontError> {
        let (table, clients) = read(section)?;
        Self::new(table, clients)
    }

    /// The terms of `section` for clients that know these ones.
    ///
    /// - Their tickets hold as long as the same certificates of clients are trusted. A resumed
    ///   session has the certificate that was verified in the first one and is not verified again,
    ///   so with others no session may be resumed: new terms have a new key and remember nothing.
    fn renewed(&self, section: &config::Tls) -> Result<Self, FrontError> {
        let (table, clients) = read(section)?;
        if clients != self.clients {
            return Self::new(table, clients);
        }
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::<Table>::clone(&table);
        Ok(Self { config: Arc::new(config), table, clients })
    }

    fn new(table: Arc<Table>, clients: Clients) -> Result<Self, FrontError> {
        let resolver = Arc::<Table>::clone(&table);
        let mut config = ServerConfig::builder_with_provider(nameless::provider().into())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_client_cert_verifier(clients.verifier()?)
            .with_cert_resolver(resolver);
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.alpn_protocols = vec![b"pop3".to_vec()];
        Ok(Self { config: Arc::new(config), table, clients })
    }

    /// The domain of users who name none, if the host that their client asks for has one.
    pub(super) fn default_domain(&self, server_name: Option<&str>) -> Option<Arc<str>> {
        self.table.choose(server_name).default_domain.clone()
    }

    /// What turns a stream into a TLS stream.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config).into()
    }

    /// How many octets a client may send before the handshake is over. Only one that has a certificate
    /// has a reason to send more than a few thousand.
    pub(super) fn longest_handshake(&self) -> usize {
        if self.clients.count() > 0 { 64 * 1024 } else { 16 * 1024 }
    }
}

fn read(section: &config::Tls) -> Result<(Arc<Table>, Clients), PemError> {
    Ok((Arc::new(Table::load(section)?), Clients::load(section.client_ca.as_deref())?))
}

/// Why there is no TLS.
#[derive(Debug)]
pub enum FrontError {
    /// A file of certificates or a key cannot be used.
    File(PemError),
    /// The TLS library refuses.
    Library(rustls::Error),
}

impl From<PemError> for FrontError {
    fn from(error: PemError) -> Self {
        Self::File(error)
    }
}

impl From<rustls::Error> for FrontError {
    fn from(error: rustls::Error) -> Self {
        Self::Library(error)
    }
}

impl std::fmt::Display for FrontError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Library(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for FrontError {}

/// Certificates by host name.
#[derive(Debug)]
struct Table {
    default: Arc<Certificate>,
    by_name: HashMap<String, Arc<Certificate>>,
}

/// A certificate with its key.
#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    /// Made once, and not for every connection.
    end_point: Option<Vec<u8>>,
    /// The domain of names without one.
    default_domain: Option<Arc<str>>,
}

impl ResolvesServerCert for Table {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.choose(hello.server_name()).key))
    }
}

impl Table {
    fn load(section: &config::Tls) -> Result<Self, PemError> {
        let default = load_with_warnings(&section.default, None)?;
        let mut by_name = HashMap::new();
        for host in &section.hosts {
            let certified = load_with_warnings(&host.pair, host.default_domain.clone())?;
            for name in &host.names {
                by_name.insert(name.to_ascii_lowercase(), Arc::clone(&certified));
            }
        }
        Ok(Self { default, by_name })
    }

    /// The exact name, else a wildcard for its first label, else the default. Not every client
    /// sends a name, so a missing or an unknown one is never refused.
    fn choose(&self, name: Option<&str>) -> &Arc<Certificate> {
        let Some(name) = name else { return &self.default };
        let name = name.to_ascii_lowercase();
        let wildcard = || name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.by_name
            .get(&name)
            .or_else(|| wildcard().and_then(|pattern| self.by_name.get(&pattern)))
            .unwrap_or(&self.default)
    }
}

/// All pairs of a section, the default one first.
fn pairs(section: &config::Tls) -> impl Iterator<Item = &KeyPair> {
    std::iter::once(&section.default).chain(section.hosts.iter().map(|host| &host.pair))
}

fn load_with_warnings(
    pair: &KeyPair,
    default_domain: Option<Arc<str>>,
) -> Result<Arc<Certificate>, PemError> {
    let loaded = pair::load(pair)?;
    for warning in inspect::look_at(pair, &loaded, SystemTime::now()).all_warnings() {
        warn!("{warning}");
    }
    let end_point = loaded.certified.cert.first().and_then(peer::end_point);
    Ok(Arc::new(Certificate { key: loaded.certified, end_point, default_domain }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::TlsHost;
    use crate::server::fixture;

    fn section(dir: &Path) -> config::Tls {
        let host = |file: &str, names: &[&str]| TlsHost {
            names: names.iter().map(|&name| name.into()).collect(),
            pair: fixture::key_pair(dir, file, names),
            default_domain: None,
        };
        config::Tls {
            default: fixture::key_pair(dir, "default", &["localhost"]),
            client_ca: None,
            hosts: vec![host("exact", &["pop.example.org"]), host("wild", &["*.example.org"])],
        }
    }

    fn replace_by(pair: &KeyPair, other: &KeyPair) {
        fs::rename(&other.certificate, &pair.certificate).unwrap();
        fs::rename(&other.private_key, &pair.private_key).unwrap();
    }

    fn default_certificate(front: &Front) -> Vec<u8> {
        front.terms().table.default.key.cert[0].to_vec()
    }

    #[test]
    fn the_certificate_is_chosen_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let table = Table::load(&section(dir.path())).unwrap();
        let file = |name: Option<&str>| {
            let chosen = table.choose(name);
            ["pop.example.org", "*.example.org"]
                .into_iter()
                .find(|&known| Arc::ptr_eq(&table.by_name[known], chosen))
                .unwrap_or("default")
        };
        for (asked, expected) in [
            (Some("pop.example.org"), "pop.example.org"),
            (Some("POP.Example.ORG"), "pop.example.org"),
            (Some("mail.example.org"), "*.example.org"),
            (Some("a.b.example.org"), "default"),
            (Some("example.org"), "default"),
            (Some("elsewhere.example.net"), "default"),
            (None, "default"),
        ] {
            assert_eq!(file(asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_change_is_read_once_it_is_still() {
        let dir = tempfile::tempdir().unwrap();
        let section = section(dir.path());
        let front = Front::new(section.clone()).unwrap();
        let first = default_certificate(&front);
        assert!(front.look().is_none(), "nothing has changed");
        replace_by(&section.default, &fixture::key_pair(dir.path(), "next", &["localhost"]));
        assert!(front.look().is_none(), "it may still be written");
        assert_eq!(default_certificate(&front), first);
        front.look().unwrap().unwrap();
        assert_ne!(default_certificate(&front), first);
        assert!(front.look().is_none(), "read once");
    }

    #[test]
    fn a_broken_change_leaves_the_old_one_and_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let section = section(dir.path());
        let front = Front::new(section.clone()).unwrap();
        let first = default_certificate(&front);
        fs::write(&section.default.certificate, "garbage").unwrap();
        assert!(front.look().is_none());
        assert!(front.look().unwrap().is_err());
        assert!(front.look().is_none(), "reported once a change");
        assert!(front.reload(section.clone()).is_err());
        assert_eq!(default_certificate(&front), first);
        replace_by(&section.default, &fixture::key_pair(dir.path(), "next", &["localhost"]));
        assert!(front.look().is_none());
        front.look().unwrap().unwrap();
        assert_ne!(default_certificate(&front), first);
    }

    #[test]
    fn tickets_hold_until_other_clients_are_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let authority = |stem: &str| fixture::key_pair(dir.path(), stem, &["clients"]).certificate;
        let clients = authority("clients");
        let section = config::Tls { client_ca: Some(clients.clone()), ..section(dir.path()) };
        let front = Front::new(section.clone()).unwrap();
        let ticketer = || Arc::clone(&front.terms().config.ticketer);
        let first = ticketer();
        replace_by(&section.default, &fixture::key_pair(dir.path(), "next", &["localhost"]));
        front.reload(section.clone()).unwrap();
        assert!(Arc::ptr_eq(&ticketer(), &first), "a renewal of the server's own");

        fs::write(&clients, "garbage").unwrap();
        assert!(front.look().is_none(), "it may still be written");
        let error = front.look().unwrap().unwrap_err().to_string();
        assert!(error.contains("clients.crt: has no certificate in it"), "{error}");
        assert!(front.reload(section.clone()).is_err());
        assert!(Arc::ptr_eq(&ticketer(), &first), "the old ones stay");

        fs::rename(authority("others"), &clients).unwrap();
        assert!(front.look().is_none());
        front.look().unwrap().unwrap();
        let second = ticketer();
        assert!(!Arc::ptr_eq(&second, &first));

        front.reload(config::Tls { client_ca: None, ..section }).unwrap();
        assert!(!Arc::ptr_eq(&ticketer(), &second));
    }
}
